"""What the benchmarks share: rows (what, value, unit, reference, target), how they are printed, and
the line that says what they were measured on."""
import argparse
import os
import pathlib
import platform
import re
import sys

_MODULES = {'NumPy': 'numpy', 'OpenCV': 'cv2', 'JAX': 'jax', 'PyTorch': 'torch'}


def parser(doc):
  """The parser that every benchmark with rows starts from."""
  out = argparse.ArgumentParser(description=doc,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
  out.add_argument('--quick', action='store_true', help='small numbers, to see that it runs')
  return out


def show(rows):
  """Prints rows as they come, between the line of the machine and its device."""
  print(machine(), flush=True)
  for row in rows:
    print(line(row), flush=True)
  if device():
    print(f'on {device()}')


def line(row):
  what, value, unit, reference, target = row
  return f'{what:<44}{value:10.2f} {unit:<20}{reference:<40}{target}'


def machine():
  """One line: what the numbers were measured on. Starts no device."""
  return (f'{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, '
          + ', '.join(f'{name} {version}' for name, version in versions().items()))


def processor():
  """The model name of the CPU, where Linux knows it."""
  try:
    found = re.search(r'^model name\s*: (.+)$', pathlib.Path('/proc/cpuinfo').read_text(), re.M)
  except OSError:
    found = None
  return found[1].strip() if found else platform.processor() or platform.machine()


def versions():
  """{name: version} of Python and of what this process has imported so far."""
  return {'Python': platform.python_version()} | {
    name: sys.modules[module].__version__ for name, module in _MODULES.items()
    if module in sys.modules}


def device():
  """'1 x cpu (cpu)', or '' where this process has not used one; asking JAX would start it."""
  bridge = sys.modules.get('jax._src.xla_bridge')
  if not (bridge and bridge.backends_are_initialized()):
    return ''
  devices = sys.modules['jax'].devices()
  return f'{len(devices)} x {devices[0].device_kind} ({devices[0].platform})'


def verdict(value, target):
  """'met' or 'missed'; '' without a target. Judged by the two decimals that are printed.

  target: '>= 300', '< 3', '0' (no more than that); words may follow.
  """
  match = re.match(r'(<=|>=|<|>)? ?(-?\d+(?:\.\d+)?)', target)
  if not match:
    return ''
  value, limit = round(value, 2), float(match[2])
  met = {'<=': value <= limit, '>=': value >= limit, '<': value < limit, '>': value > limit,
         None: value <= limit}
  return 'met' if met[match[1]] else 'missed'
