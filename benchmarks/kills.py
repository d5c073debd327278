"""Kills a run of several processes at random moments and compares its end with that of another.

  python benchmarks/kills.py [--processes 2] [--kills 10] [--steps 40] [--seed 0]

Trains the smallest network there is, on a CPU, once without interruption and once with kills: each
time one process, drawn at random, gets SIGKILL some steps after the start, and all are started
again when the others have ended, too. Prints how long the others took and what they said.
"""
import argparse
import pathlib
import random
import socket
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tests import runs, tiny

CONFIG = 'plain'


def start(workdir, given):
  """All processes of a run that saves every step."""
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  several = (f'--coordinator=localhost:{port}', f'--processes={given.processes}')
  steps = (f'--config.duration={given.steps} steps', '--config.save_every=1 steps',
           f'--config.eval_every={given.steps} steps')
  return [runs.start(workdir, *steps, *(several if given.processes > 1 else ()),
                     f'--process={i}', config=f'tests/tiny.py:{CONFIG}')
          for i in range(given.processes)]


def newest(workdir):
  """The newest checkpoint that is complete; 0 without."""
  folder = workdir / 'checkpoints'
  return max((int(p.name) for p in folder.glob('*') if p.name.isdecimal()), default=0)


def kill_one(workdir, given, draw):
  """Starts a run and kills one of its processes; a line about the others."""
  before = newest(workdir)
  target = min(before + draw.randint(1, 5), given.steps - 1)
  processes = start(workdir, given)
  while newest(workdir) < target:  # what a killed run left half written does not count
    assert processes[0].poll() is None, runs.finish(processes[0])
    time.sleep(0.005)
  time.sleep(draw.uniform(0, 0.3))
  victim = draw.randrange(given.processes)
  processes[victim].kill()
  begin = time.monotonic()
  ends = [runs.finish(p) for i, p in enumerate(processes) if i != victim]
  seconds = time.monotonic() - begin
  for code, output in ends:
    if code != 1 or 'Traceback' in output or output.count('error: another process') != 1:
      raise SystemExit(f'exit code {code}:\n{output}')
  return f'process {victim} killed at step {newest(workdir)}, others ended after {seconds:.1f} s'


def main(given):
  draw, folder = random.Random(given.seed), pathlib.Path(tempfile.mkdtemp())
  for code, output in map(runs.finish, start(folder / 'whole', given)):
    assert code == 0, output
  for number in range(given.kills):
    print(f'{number + 1}: {kill_one(folder / "killed", given, draw)}', flush=True)
  for code, output in map(runs.finish, start(folder / 'killed', given)):
    assert code == 0, output
  whole, killed = (runs.weights(folder / name, tiny.get_config(CONFIG), given.steps)
                   for name in ('whole', 'killed'))
  difference = runs.largest_difference(whole, killed)
  print(f'{given.kills} kills of {given.processes} processes: the largest difference of a weight '
        f'after {given.steps} steps is {difference}')
  return difference


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--processes', type=int, default=2)
  parser.add_argument('--kills', type=int, default=10)
  parser.add_argument('--steps', type=int, default=40)
  parser.add_argument('--seed', type=int, default=0)
  sys.exit(main(parser.parse_args()) > 0)
