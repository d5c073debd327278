"""Names from annotation files go to the terminal raw: escape sequences, line breaks, a megabyte."""
import os, sys
REPO = os.environ.get("PROJECT", os.getcwd())
sys.path.insert(0, REPO)
os.chdir(REPO)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.dont_write_bytecode = True
import pathlib, tempfile
from input_pipeline.sources import coco
from tests.data_sets import write_coco
bad = []
for name in ('\x1b[2J\x1b[31mX.jpg', 'a\nerror: all is well.jpg', 'a' * 1_000_000):
  try:
    coco.load('train', root=write_coco(pathlib.Path(tempfile.mkdtemp()) / 'c', edit=lambda t: t['images'][0].update(file_name=name)))
  except (ValueError, OSError) as e:
    m = str(e)
    if '\x1b' in m or '\n' in m or len(m) > 5000:
      bad.append(f'{name[:30]!r}: message of {len(m)} characters, {m.count(chr(10)) + 1} lines, raw escape: {chr(27) in m}')
print('\n'.join(bad))
sys.exit(bool(bad))
