"""Every benchmark with rows, one after the other, and benchmarks/RESULTS.md of what they gave.

  python benchmarks/run_all.py [--quick] [--only loop,compile] [--out FILE]

Each part runs in a process of its own. One that fails is told by its last line, with the rows it
had given by then; the others go on. Run it on an idle machine: what other jobs take shows in most
numbers, and the load at the start of each part is written down. With --quick the numbers are small
and mean nothing; they go to benchmarks/RESULTS_quick.md.
"""
import datetime
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import report

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ('input_pipeline', 'train_step', 'compile', 'evaluation', 'loop', 'world', 'metrics')


def measure(part, quick, path):
  """Runs a part in this process; writes its rows, and what it ran on, to `path` line by line."""
  with open(path, 'w', encoding='utf-8') as f:
    def write(**what):
      f.write(json.dumps(what) + '\n')
      f.flush()

    write(load=os.getloadavg()[0])
    for row in importlib.import_module(f'benchmarks.{part}').rows(quick):
      what, value, *rest = row
      print(report.line(row), flush=True)
      write(row=(what, float(value), *rest))
    write(versions=report.versions(), device=report.device())


def run(part, quick):
  """{'rows', 'load', 'versions', 'device', 'error'} of a part, as far as there are."""
  command = [sys.executable, str(HERE / 'run_all.py'), '--part', part]
  out = {'rows': []}
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'rows')
    done = subprocess.run([*command, '--out', str(path), *(['--quick'] if quick else [])],
                          stderr=subprocess.PIPE, text=True)
    for line in path.read_text().splitlines() if path.exists() else ():
      found = json.loads(line)
      if 'row' in found:
        out['rows'].append(found['row'])
      else:
        out |= found
  if done.returncode:
    lines = done.stderr.strip().splitlines() or [f'ended with code {done.returncode}']
    out['error'] = lines[-1]
  return out


def page(results, quick=False):
  """The results {part: what `run` gives} as markdown."""
  versions = {k: v for result in results.values() for k, v in result.get('versions', {}).items()}
  devices = {result['device'] for result in results.values() if result.get('device')}
  lines = ['# Measured', '']
  if quick:
    lines += ['By `--quick`: to see that it runs; **the numbers mean nothing**.', '']
  lines += [
    f'{datetime.date.today()}, by `python benchmarks/run_all.py`.', '',
    f'- {report.processor()}, {os.cpu_count()} cores; {", ".join(devices) or "no device used"}',
    f'- {", ".join(f"{name} {version}" for name, version in versions.items())}']
  for part, result in results.items():
    lines += ['', f'## {part}', '', *_part(result)]
  return '\n'.join(lines) + '\n'


def _part(result):
  if 'load' in result:
    yield f'Load {result["load"]:.1f} at the start.'
  if 'error' in result:
    yield ''
    yield f'**Failed**: `{result["error"].replace("`", "")}`'
  if result['rows']:
    yield ''
    yield '| what | value | reference or floor | target | |'
    yield '| --- | ---: | --- | --- | --- |'
  for what, value, unit, reference, target in result['rows']:
    cells = what, f'{value:,.2f} {unit}'.strip(), reference, target, report.verdict(value, target)
    yield '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'


def main():
  parser = report.parser(__doc__)
  parser.add_argument('--only', help=f'of {", ".join(PARTS)}, comma-separated; default all')
  parser.add_argument('--out', help='the file to write, instead of RESULTS.md beside this script')
  parser.add_argument('--part', help='run this one here; what the script calls itself with')
  given = parser.parse_args()
  if given.part:
    measure(given.part, given.quick, given.out)
    return
  for part in given.only.split(',') if given.only else ():
    if part not in PARTS:
      parser.error(f"'{part}' is none of {', '.join(PARTS)}")
  out = pathlib.Path(given.out or HERE / f'RESULTS{"_quick" if given.quick else ""}.md')
  results = {}
  for part in given.only.split(',') if given.only else PARTS:
    if given.only or (HERE / f'{part}.py').exists():
      print(f'\n{part}', flush=True)
      results[part] = run(part, given.quick)
      print(results[part].get('error', ''), flush=True)
      out.write_text(page(results, given.quick))  # what was measured survives an interruption
  print(f'written to {out}')
  failed = [part for part, result in results.items() if 'error' in result]
  sys.exit(f'failed: {", ".join(failed)}' if failed else 0)


if __name__ == '__main__':
  main()
