"""--verify of a folder from elsewhere: opens any path its files name, and tells the user to remove it."""
import os, sys; REPO = os.environ.get("PROJECT", os.getcwd()); sys.path.insert(0, REPO); os.chdir(REPO); os.environ.setdefault("JAX_PLATFORMS", "cpu"); sys.dont_write_bytecode = True
import json, pathlib, tempfile
from input_pipeline.occlusion import benchmark
from input_pipeline.prepared import reading as preparing
d = pathlib.Path(tempfile.mkdtemp()); bad = []
(d / 'train').mkdir(); (d / 'train/meta.json').write_text(json.dumps({'format': 1, 'split': 'train', 'shards': 0, 'people': 0, 'ground_truth': False,
  'sha256': {'columns.npz': '', 'skeleton.json': '', 'dataset_info.json': '', 'features.json': '', '../../../../../../etc/passwd': '0'}}))
try: preparing.verify(str(d))
except (ValueError, OSError) as e:
  if '/etc/passwd' in str(e): bad.append(f'prepared: {e}')
b = d / 'bench'; (b / 'annotations').mkdir(parents=True); (b / 'MANIFEST.json').write_text('{}')
text = json.dumps({'images': [{'id': 1, 'file_name': '/etc/passwd', 'crc32': 0, 'width': 1, 'height': 1}], 'annotations': [], 'categories': []})
for k in ('clean', 'occluded'): (b / f'annotations/{k}.json').write_text(text)
try: benchmark.verify(str(b))
except (ValueError, OSError) as e:
  if 'leads out' not in str(e): bad.append(f'benchmark: {e}')
print('\n'.join(bad)); sys.exit(bool(bad))
