"""A tiny run is damaged, killed, starved of disk and watched: what its checkpoints survive.

  python benchmarks/damage.py                65 damages of a checkpoint, each on a copy
  python benchmarks/damage.py --kills        10 SIGKILLs, without data workers and with two
  python benchmarks/damage.py --full-disk    disks of 2, 5 and 14 MB (Linux, as root: mounts tmpfs)
  python benchmarks/damage.py --long         600 steps: the memory of the process

Prints a table; exit code 1 where numbers were wrong without a word, or a run ended otherwise than
it should. Everything is drawn from --seed. docs/reliability.md keeps the record.
"""
import argparse
import collections
import contextlib
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import jax
import numpy as np

import train
from configs import quickstart
from dslope_jax.errors import UserError
from dslope_jax.training import checkpointing, train_state

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEPS = 40
OPTIONS = {
  'duration': f'{STEPS} steps', 'data.loader.num_people': 64, 'evals.val.loader.num_people': 16,
  'batch_size': 8, 'data.bank.num_people': 20, 'log_every': '5 steps', 'eval_every': '20 steps',
  'save_every': '5 steps', 'system.model.width': 8, 'system.model.stem_width': 16}
DAMAGES = {'truncated': 20, 'bit flipped': 16, 'file missing': 10, 'page of zeros': 8,
           'hole to the end': 6, 'folder emptied': 5}
PAGE = 4096


def start(workdir, **options):
  """A process of train.py; its output is one text."""
  values = OPTIONS | {name.replace('__', '.'): value for name, value in options.items()}
  values = {name.replace('val.loader', 'val.data.loader'): v for name, v in values.items()}
  return subprocess.Popen(
    [sys.executable, 'train.py', '--config', 'configs/quickstart.py', '--workdir', str(workdir),
     *(f'--config.{name}={value}' for name, value in values.items())],
    cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process):
  output, _ = process.communicate(timeout=900)
  return process.returncode, output


def whole_run(folder):
  """(workdir of an uninterrupted run, a state to restore into)."""
  workdir = folder / 'whole'
  code, output = finish(start(workdir))
  if code:
    sys.exit(f'the run that is to be damaged fails:\n{output}')
  config = quickstart.get_config()
  config.update(json.loads((workdir / 'config.json').read_text()))
  config.data.size = tuple(config.data.size)
  run = train._set_up(config, str(folder / 'scratch'), True)
  return workdir, train_state.create(run.task.system, run.optimizer, seed=1,
                                     example=run.task.example, ema=config.ema_decay > 0)


def restored(workdir, state):
  """All arrays of the newest checkpoint that can be read, and what was printed."""
  with contextlib.redirect_stdout(io.StringIO()) as said:
    checkpoints = checkpointing.Checkpoints(workdir)
    try:
      found = checkpoints.restore(state)
    finally:
      checkpoints.close()
  return jax.device_get(found), said.getvalue()


def same(one, other):
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def damage(folder, kind, rng):
  """Damages one file or folder of a checkpoint; returns its name."""
  files = sorted(f for f in folder.rglob('*') if f.is_file())
  if kind == 'folder emptied':
    file = rng.choice(sorted({f.parent for f in files}))
    for inner in file.iterdir():
      shutil.rmtree(inner) if inner.is_dir() else inner.unlink()
    return file.name
  # Small files are many, and the numbers are in the large ones: every other damage is of those.
  large = [f for f in files if f.stat().st_size > 5 * PAGE]
  file = rng.choice(large if rng.random() < 0.5 else [f for f in files if f.stat().st_size])
  content = bytearray(file.read_bytes())
  place = rng.randrange(len(content))
  page = place // PAGE * PAGE
  if kind == 'truncated':
    content = content[:place]
  elif kind == 'bit flipped':
    content[place] ^= 1 << rng.randrange(8)
  elif kind == 'page of zeros':
    content[page:page + PAGE] = bytes(len(content[page:page + PAGE]))
  elif kind == 'hole to the end':
    content[page:] = bytes(len(content) - page)
  file.unlink() if kind == 'file missing' else file.write_bytes(content)
  return file.name


def damages(folder, rng):
  """Rows (damage, reader, outcome, whether that is right)."""
  workdir, state = whole_run(folder)
  kept = [STEPS - 5, STEPS]
  truth = {}
  for step in kept:
    one = folder / f'only_{step}'
    shutil.copytree(workdir / 'checkpoints' / str(step), one / 'checkpoints' / str(step))
    truth[step] = restored(one, state)[0]
  wanted = {kind: getattr(state, kind) for kind in ('params', 'batch_stats')}

  def resumed(copy):
    found, said = restored(copy, state)
    return found, int(found.step), said

  def evaluated(copy):
    with contextlib.redirect_stdout(io.StringIO()) as said:
      weights, step = checkpointing.restore_weights(copy, wanted)
    return weights, step, said.getvalue()

  for kind, count in DAMAGES.items():
    for _ in range(count):
      copy = pathlib.Path(tempfile.mkdtemp(dir=folder))
      for step in kept:
        shutil.copytree(workdir / 'checkpoints' / str(step), copy / 'checkpoints' / str(step))
      damage(copy / 'checkpoints' / str(STEPS), kind, rng)
      for reader, read in (('evaluation', evaluated), ('training', resumed)):  # this one moves it
        yield kind, reader, *_outcome(read, copy, truth)
      shutil.rmtree(copy)


def _outcome(read, copy, truth):
  try:
    found, step, said = read(copy)
  except UserError as error:
    return f'refused: {str(error)[:90]}', False
  except Exception as error:  # what the table is to tell
    return f'TRACEBACK: {type(error).__name__} {str(error)[:90]}', False
  right = truth[step]
  if isinstance(found, dict):
    right = {kind: getattr(right, kind) for kind in found}
  if not same(found, right):
    return 'WRONG NUMBERS', False
  if step == STEPS:
    return f'right numbers of step {STEPS}', True
  told = f'checkpoint {STEPS}' in said and len(said.splitlines()) == 1
  return f'step {step} is used, told in one line' if told else 'SILENT FALL-BACK', told


def kills(folder, rng):
  """Rows (workers, what happened, whether the last checkpoint is that of the uninterrupted run)."""
  workdir, state = whole_run(folder)
  truth, _ = restored(workdir, state)
  for workers in (0, 2):
    killed, reached = folder / f'killed_{workers}', []
    for step in sorted(rng.sample(range(1, STEPS - 1), 10)):
      process = start(killed, save_every='1 step', data__num_workers=workers)
      while newest(killed) < step and process.poll() is None:
        time.sleep(0.005)
      time.sleep(rng.uniform(0, 0.3))  # often while a checkpoint is written
      process.kill()
      finish(process)
      reached.append(newest(killed))
    code, output = finish(start(killed, data__num_workers=workers))
    right = code == 0 and same(restored(killed, state)[0], truth)
    yield (f'{workers} workers', f'killed 10 times, at checkpoints {reached}',
           f'the last checkpoint is {"bit-identical" if right else "ANOTHER: " + output[-300:]}',
           right)


def newest(workdir):
  """The newest checkpoint, written or being written; 0 for none."""
  found = (workdir / 'checkpoints').glob('[0-9]*')
  return max((int(path.name.split('.')[0]) for path in found), default=0)


def full_disk(folder, rng):
  """Rows (size, what happened, whether that is right)."""
  workdir, state = whole_run(folder)
  truth, _ = restored(workdir, state)
  for size in (2, 5, 14):
    disk = folder / f'disk_{size}'
    disk.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}m', 'none', disk], check=True)
    try:
      code, output = finish(start(disk / 'run'))
      errors = [line for line in output.splitlines() if line.startswith('error:')]
      clean = code == 1 and len(errors) == 1 and 'Traceback' not in output
      left = newest(disk / 'run')
      subprocess.run(['mount', '-o', 'remount,size=300m', disk], check=True)
      again, later = finish(start(disk / 'run'))
      right = again == 0 and same(restored(disk / 'run', state)[0], truth)
    finally:
      subprocess.run(['umount', disk], check=True)
    yield (f'{size} MB', f'exit code {code}, {output.count("Traceback")} tracebacks, at checkpoint '
           f'{left}: {errors[0][:70] if errors else output[-200:]}',
           f'with room again: {"bit-identical" if right else "ANOTHER " + later[-300:]}',
           clean and right)


def long(folder, rng):
  """Rows (step, resident memory): flat after the first 200 steps."""
  process, sizes = start(folder / 'long', duration='600 steps', eval_every='50 steps',
                         save_every='50 steps', data__num_workers=2), {}
  log = folder / 'long' / 'metrics.jsonl'
  while process.poll() is None:
    time.sleep(0.2)
    with contextlib.suppress(OSError, IndexError, ValueError):  # not there yet, a line half written
      step = json.loads(log.read_text().splitlines()[-1])['step'] // 100 * 100
      status = pathlib.Path(f'/proc/{process.pid}/status').read_text()
      size = int(status.split('VmRSS:')[1].split()[0]) / 1024
      if step and step not in sizes:
        sizes[step] = size
        yield f'step {step}', f'{size:.0f} MiB', '', True
  code, output = finish(process)
  grown = max(sizes.values()) / sizes.get(200, 1)
  yield 'end', f'exit code {code}', f'{grown - 1:+.1%} since step 200', code == 0 and grown < 1.1


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  which = parser.add_mutually_exclusive_group()
  for name in (kills, full_disk, long):
    which.add_argument('--' + name.__name__.replace('_', '-'), dest='record',
                       action='store_const', const=name)
  parser.add_argument('--seed', type=int, default=0)
  given = parser.parse_args()
  record, counts, right = given.record or damages, collections.Counter(), True
  with tempfile.TemporaryDirectory() as folder:
    for *cells, good in record(pathlib.Path(folder), random.Random(given.seed)):
      right = right and good
      if given.record:
        print('| ' + ' | '.join(cells) + ' |', flush=True)
      else:
        counts[tuple(cells)] += 1
  for kind, number in DAMAGES.items() if counts else ():
    found = ['; '.join(f'{count}: {outcome}' for (*what, outcome), count in counts.items()
                       if what == [kind, reader]) for reader in ('evaluation', 'training')]
    print(f'| {kind} | {number} | ' + ' | '.join(found) + ' |')
  sys.exit(not right)


if __name__ == '__main__':
  os.chdir(ROOT)
  main()
