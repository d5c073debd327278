"""What the benchmarks share: rows (what, value, unit, reference, target) and how they are printed,
and the training step of a config."""
import argparse
import os
import pathlib
import platform
import re
import runpy
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEYPOINTS = 17
_MODULES = {'NumPy': 'numpy', 'OpenCV': 'cv2', 'JAX': 'jax', 'PyTorch': 'torch'}


def parser(doc):
  """The parser that every benchmark with rows starts from."""
  out = argparse.ArgumentParser(description=doc,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
  out.add_argument('--quick', action='store_true', help='small numbers, to see that it runs')
  return out


def show(rows):
  """Prints rows as they come, between the line of the machine and its device."""
  versions = {'Python': platform.python_version()} | {
    name: sys.modules[module].__version__ for name, module in _MODULES.items()
    if module in sys.modules}
  print(f'{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, '
        + ', '.join(f'{name} {version}' for name, version in versions.items()), flush=True)
  for what, value, unit, reference, target in rows:
    print(f'{what:<44}{value:10.2f} {unit:<20}{reference:<40}{target}', flush=True)
  bridge = sys.modules.get('jax._src.xla_bridge')
  if bridge and bridge.backends_are_initialized():  # asking JAX would start a device
    devices = sys.modules['jax'].devices()
    print(f'on {len(devices)} x {devices[0].device_kind} ({devices[0].platform})')


def take_turns(sides, rounds):
  """({side: median seconds by the clock}, {side: least CPU seconds}) of one call."""
  clock, cpu = ({name: [] for name in sides} for _ in range(2))
  for function in sides.values():
    function()  # compiles, or finds its kernels
    function()
  for _ in range(rounds):
    for name, function in sides.items():
      before, busy = time.perf_counter(), time.process_time()
      function()
      clock[name].append(time.perf_counter() - before)
      cpu[name].append(time.process_time() - busy)
  return ({name: statistics.median(values) for name, values in clock.items()},
          {name: min(values) for name, values in cpu.items()})


def _processor():
  """The model name of the CPU, where Linux knows it."""
  try:
    found = re.search(r'^model name\s*: (.+)$', pathlib.Path('/proc/cpuinfo').read_text(), re.M)
  except OSError:
    found = None
  return found[1].strip() if found else platform.processor() or platform.machine()


def load_config(path):
  """The ConfigDict of a config file, from the root of the repository; words follow a colon."""
  path, _, argument = path.partition(':')
  return runpy.run_path(str(ROOT / path))['get_config'](argument)


def build_system(config):
  from dslope_jax import skeletons, systems
  from dslope_jax.systems.base import Facts
  return systems.build(Facts(skeletons.COCO, tuple(config.data.size)), **config.system.to_dict())


def make_step(config):
  """(function that makes a fresh state, the step as train.py compiles it, not compiled yet)."""
  from dslope_jax.training import optimizers, sharding, train_state
  from dslope_jax.training.train_step import make_train_step
  system, size = build_system(config), tuple(config.data.size)
  optimizer, schedules = optimizers.build(config.optim.to_dict(), system.networks, 1000, 100.0)
  step = make_train_step(system, optimizer, trainable=tuple(schedules), seed=0)
  return (lambda: train_state.create(system, optimizer, seed=0, example=batch_shapes(size, 1)),
          sharding.jit_step(step, sharding.make_mesh()))


def batch_shapes(size, per_device):
  """Shapes of a global batch of crops of (W, H), as the data stream makes them."""
  import jax

  from dslope_jax import skeletons
  from dslope_jax.systems.base import Facts
  from dslope_jax.tasks import top_down
  n = per_device * jax.device_count()
  one = top_down.example(Facts(skeletons.COCO, size))
  return {name: jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype) for name, x in one.items()}
