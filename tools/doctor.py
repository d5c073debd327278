"""Checks the training and validation sets of a config for faults of pictures and annotations.

  python tools/doctor.py --config configs/ccoco_hrnet.py --config.data.root=COCO
    [--out doctor/ccoco_hrnet] [--num_workers 4] [--no_pictures] [--strict]

Every picture is decoded and every pose compared with all others; nothing is changed. Prints a line
for each finding: what is seen, how often, the first annotations (or pictures), and the mend. In the
folder --out: findings.json, and contact_sheet.jpg with people of each finding to look at. The
findings are listed in docs/data.md. Exit code 0 if nothing or only warnings were found, 1 if there
are errors; with --strict 1 if there are warnings.
"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

from absl import flags

from dslope_jax import doctor
from dslope_jax.cli import checked, default_workdir, define_config, start
from dslope_jax.errors import UserError, counted


def main(_):
  flag = flags.FLAGS
  if not flag.config:
    raise UserError('give --config, whose data sets are checked')
  out = flag.out or os.path.join('doctor', os.path.basename(default_workdir()))
  found = doctor.examine(flag.config, not flag.no_pictures, flag.num_workers)
  doctor.write(found, out)
  severities = []
  for name, diagnosis in found.items():
    source = diagnosis.source
    size = counted(len(source), 'person') if source is not None else 'not examined'
    print(f"{name}: {size}, {counted(len(diagnosis.suspects), 'finding')}")
    for suspects in diagnosis.suspects:
      severities.append(suspects.finding.severity)
      print('  ' + doctor.line(suspects.finding))
  print(f"written to '{out}'", flush=True)
  if 'error' in severities or (flag.strict and severities):
    sys.exit(1)


if __name__ == '__main__':
  define_config()
  flags.DEFINE_string('out', None, 'folder to write to, default doctor/<config name>')
  flags.DEFINE_integer('num_workers', 0, 'processes that decode pictures', lower_bound=0)
  flags.DEFINE_bool('no_pictures', False, 'look at annotations only; pictures need not be there')
  flags.DEFINE_bool('strict', False, 'exit with code 1 for warnings, too')
  start(checked()(main))
