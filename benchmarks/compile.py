"""How long the training step takes to compile, and that nothing is compiled twice.

  python benchmarks/compile.py [--quick]

The step of the paired HRNet-W32, 256x192 (configs/ccoco_hrnet.py), float32 on a CPU and bfloat16
elsewhere, four pairs a device, as train.py compiles it: in a process of its own, with an empty
folder of kept programs (cold) and then with the same folder (warm; a large program for CPU is not
kept). Seconds by the clock; seconds of CPU, which other jobs on the machine do not lengthen, beside
them. Then a short run of a tiny network with logging, evaluation and saving, every compilation of
which is counted.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import shared
from dslope_jax.training.train_step import compile_step

CONFIGS = {'HRNet-W32': 'configs/ccoco_hrnet.py', 'tiny': 'tests/tiny.py:plain'}
PER_DEVICE = 4
HITS = '/jax/compilation_cache/cache_hits'


def rows(quick=False, processes=True):
  """(what, value, unit, reference, target) of all that is measured here.

  processes: measure the seconds, too, in two processes one after the other.
  """
  if processes:  # first: here no device is in use yet
    name = 'tiny' if quick else 'HRNet-W32'
    with tempfile.TemporaryDirectory() as folder:
      for kind, limit in (('cold', 60), ('warm', 10)):
        yield from _seconds(f'{name}, {kind}', _in_process(name, folder), limit)
  yield from _counts()


def _seconds(name, result, limit):
  trace, backend = result['trace'], result['compile']
  yield f'{name}: trace and lower', trace[0], 's', f'{trace[1]:.2f} s of CPU', ''
  yield (f'{name}: compile', backend[0], 's',
         f'{backend[1]:.2f} s of CPU, {result["hits"]} program(s) kept', f'<= {limit}')


def _in_process(name, folder):
  """What `once` gives in a fresh process with this folder of kept programs."""
  done = subprocess.run([sys.executable, __file__, '--once', name], text=True, capture_output=True,
                        env=os.environ | {'JAX_COMPILATION_CACHE_DIR': folder})
  if done.returncode:
    raise RuntimeError((done.stderr.strip() or 'no message').splitlines()[-1])
  return json.loads(done.stdout.splitlines()[-1])


def once(name):
  """{'trace', 'compile': (seconds by the clock, of CPU), 'hits': programs that had been kept}."""
  config, hits = shared.load_config(CONFIGS[name]), []
  config.system.model.dtype = 'float32' if jax.default_backend() == 'cpu' else 'bfloat16'
  make_state, step = shared.make_step(config)
  state, batch = jax.eval_shape(make_state), shared.batch_shapes(config.data.size, PER_DEVICE)
  jax.monitoring.register_event_listener(
    lambda event, **_: hits.append(event) if event == HITS else None)
  marks = [(time.perf_counter(), time.process_time())]
  lowered = step.lower(state, batch)
  marks.append((time.perf_counter(), time.process_time()))
  compile_step(lowered, state.params)
  marks.append((time.perf_counter(), time.process_time()))
  trace, backend = np.diff(marks, axis=0).tolist()
  return {'trace': trace, 'compile': backend, 'hits': len(hits)}


def _counts():
  from benchmarks import probes  # reads train.py, which the process above need not
  config, probe = shared.load_config(CONFIGS['tiny']), probes.Probe()
  config.duration, config.log_every = '8 steps', '2 steps'
  config.eval_every = config.save_every = '4 steps'
  for spec in config.optim.values():  # as in the published configs
    spec.update(dict(schedule='multistep', boundaries=('1000 steps',)))
  with tempfile.TemporaryDirectory() as workdir:
    probe.run(config, workdir, counting=False)
  reference = '8 steps, 2 evaluations, 2 saves'
  named = {name: [(after, seconds) for after, other, seconds in probe.compiled if other == name]
           for name in ('jit(step)', 'jit(predict)')}
  early = [seconds for after, name, seconds in probe.compiled
           if not after and name != 'jit(step)']
  yield 'programs compiled in a run', len(probe.compiled), '', reference, ''
  yield 'programs compiled before the step', len(early), '', f'{sum(early):.1f} s', ''
  for name, found in named.items():
    yield f'compilations of {name}', len(found), '', f'{sum(s for _, s in found):.1f} s', '<= 1'
  yield ('compilations of the step after step 1', sum(after > 0 for after, _ in named['jit(step)']),
         '', reference, '0')
  # Logging, evaluation and saving have each been there once by then.
  yield ('compilations of anything after step 5', sum(after > 4 for after, *_ in probe.compiled),
         '', reference, '0')


def main():
  parser = shared.parser(__doc__)
  parser.add_argument('--once', choices=CONFIGS, help='measure in this process, print json')
  given = parser.parse_args()
  if given.once:
    print(json.dumps(once(given.once)))
  else:
    shared.show(rows(given.quick))


if __name__ == '__main__':
  main()
