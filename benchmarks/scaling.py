"""Scaling on paper: what a training step costs on 8 to 256 chips, and what its hosts must do.

  python benchmarks/scaling.py [--utilisation 0.3] [--originals 300] [--prepared 700] ...

Nothing is measured and nothing compiled: bytes and reductions follow from the shapes of the
weights (benchmarks/collectives.py counts them in the compiled step), operations from
benchmarks/flops.py; speeds of chips and links are the vendors'. docs/scaling.md shows what this
prints for the paired HRNet-W32, 256x192, bfloat16.
"""
import argparse
import math
import pathlib
import sys
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks import collectives, flops

CONFIG = 'configs/ccoco_hrnet.py'
COUNTS, BATCHES = (8, 16, 32, 64, 128, 256), (32, 64)
CHAIN = 280  # reductions of the paired HRNet-W32 that need one another's results, as counted


class Chip(NamedTuple):
  name: str
  peak: float  # TFLOP/s, bfloat16, dense
  link: float  # GB/s out of a chip, one way, all links together
  sides: int  # of the torus; 0: GPUs, eight of a host on NVLink
  on_host: int
  network: float = 0.0  # GB/s one way to other hosts, per GPU


# From the vendors' documentation: peak compute, interconnect bandwidth (there given for both ways
# together, except v4's), chips of a host; H100 and H200 in their SXM form in a DGX system.
CHIPS = [Chip('TPU v4', 275, 300, 3, 4), Chip('TPU v5e', 197, 200, 2, 8),
         Chip('TPU v5p', 459, 600, 3, 4), Chip('TPU v6e', 918, 400, 2, 8),
         Chip('H100, H200', 989, 450, 0, 8, 50)]


def assumptions():
  """The parser of everything that is assumed, not known."""
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  add = lambda name, default, text: parser.add_argument(
    f'--{name}', type=float, default=default, help=f'{text} (default {default})')
  add('utilisation', 0.3, 'share of the peak that the step reaches')
  add('start_us', 2, 'TPU: microseconds to start a reduction')
  add('hop_us', 1, 'TPU: microseconds from a chip to the next')
  add('gpu_us', 10, 'GPU: microseconds of a small reduction on one host')
  add('gpu_level_us', 5, 'GPU: microseconds more for every doubling of hosts')
  add('originals', 300, 'pairs per second and host core, from original pictures')
  add('prepared', 500, 'pairs per second and host core, from crops prepared beforehand')
  add('jpeg_kb', 160, 'kB of an original picture (train2017: 18 GB, 118,287 pictures)')
  return parser


class Step(NamedTuple):
  """A paired training step, whatever the number of chips."""
  flops: float  # of a pair
  gradients: int  # bytes that are reduced
  norms: int
  layers: int  # batch norms of both networks
  pair: int  # bytes of a pair on its way to a device


def describe(config):
  """The Step of a config of two equal networks."""
  system, size = collectives.build_system(config), tuple(config.data.size)
  reductions = collectives.expected(system, size)
  model = {k: v for k, v in config.system.model.to_dict().items() if k not in ('name', 'dtype')}
  _, weighted, between = flops.measure(config.system.model.name, model, size)
  wide = collectives.BYTES[{'bfloat16': 'bf16', 'float32': 'f32'}[config.system.model.dtype]]
  count, numbers = reductions['norm, forward']
  shapes = collectives.batch_shapes(size).values()
  return Step(
    # A multiply-add is two operations; backward costs twice what forward does.
    flops=len(system.networks) * 3 * 2 * (weighted + between),
    gradients=wide * reductions['gradients'][1],
    norms=4 * (numbers + reductions['norm, backward'][1]), layers=count // 2,
    pair=sum(math.prod(x.shape[1:]) * x.dtype.itemsize for x in shapes))


def ring(size, n):
  """What each of n chips sends to reduce so many bytes."""
  return 2 * (n - 1) / n * size


def torus(n, sides):
  """Chips along each side, n a power of two: 32 is 4 x 8 or 2 x 4 x 4."""
  doublings = int(math.log2(n))
  return [2 ** ((doublings + i) // sides) for i in range(sides)]


def latency(chip, n, given):
  """Seconds of a reduction of next to nothing over n chips."""
  if not chip.sides:
    return 1e-6 * (given.gpu_us + given.gpu_level_us * math.log2(max(n / chip.on_host, 1)))
  # Half way round every ring to gather the sum, half way to give it back.
  return 1e-6 * (given.start_us + given.hop_us * sum(torus(n, chip.sides)))


def transfer(chip, size, n):
  """Seconds to reduce so many bytes at the full speed of the links."""
  if chip.sides or n <= chip.on_host:
    return ring(size, n) / (1e9 * chip.link)
  # Within a host first; then every GPU reduces its part with those of the other hosts.
  return (ring(size, chip.on_host) / (1e9 * chip.link)
          + ring(size / chip.on_host, n // chip.on_host) / (1e9 * chip.network))


def seconds(step, chip, n, batch, given, waits=None):
  """(computing, waiting for small reductions, moving bytes), nothing at the same time.

  A batch norm is waited for three times: for the mean, then the variance; backward for the
  gradients of scale and bias together.
  """
  return (batch * step.flops / (given.utilisation * 1e12 * chip.peak),
          (3 * step.layers if waits is None else waits) * latency(chip, n, given),
          transfer(chip, step.gradients + step.norms, n))


def times(step, given):
  """Lines of the table of step times."""
  names = [chip.name for chip in CHIPS]
  lines = ['| chips | global batch | gradients, MB | norms, MB | ' + ' | '.join(names)
           + ' |', '|' + ' --- |' * (4 + len(names))]
  for n in COUNTS:
    cells = [f'{n}', ', '.join(f'{n * b:,}' for b in BATCHES),
             f'{ring(step.gradients, n) / 1e6:.1f}', f'{ring(step.norms, n) / 1e6:.2f}']
    for chip in CHIPS:
      parts = [seconds(step, chip, n, b, given) for b in BATCHES]
      cells.append(', '.join(f'{1e3 * sum(p):.0f} ({p[0] / sum(p):.0%})' for p in parts))
    lines.append('| ' + ' | '.join(cells) + ' |')
  return lines


def hosts(step, given):
  """Lines of the table of what a chip needs."""
  lines = ['| | computing, ms | waits, ms | bytes, ms | pairs/s | MB/s to the chip | JPEG, MB/s | '
           'cores of a host |', '|' + ' --- |' * 8]
  for chip in CHIPS:
    each = [seconds(step, chip, n, BATCHES[0], given) for n in (COUNTS[0], COUNTS[-1])]
    computing = [1e3 * seconds(step, chip, COUNTS[0], b, given)[0] for b in BATCHES]
    rate = BATCHES[0] / each[0][0]
    cores = [math.ceil(rate * chip.on_host / speed) for speed in (given.originals, given.prepared)]
    cells = [chip.name, ', '.join(f'{c:.1f}' for c in computing),
             ', '.join(f'{1e3 * e[1]:.0f}' for e in each),
             ', '.join(f'{1e3 * e[2]:.1f}' for e in each), f'{rate:,.0f}',
             f'{rate * step.pair / 1e6:.0f}', f'{rate * given.jpeg_kb / 1e3:.0f}',
             f'{cores[0]} or {cores[1]} for {chip.on_host} chips']
    lines.append('| ' + ' | '.join(cells) + ' |')
  return lines


def mends(step, given, n=64, batch=64):
  """What fewer waits would bring, in a line."""
  waits = 3 * step.layers, CHAIN, 0
  shares = []
  for chip in CHIPS:
    parts = [seconds(step, chip, n, batch, given, w) for w in waits]
    shares.append(f'{chip.name} ' + ', '.join(f'{p[0] / sum(p):.0%}' for p in parts))
  return (f'Share of computing on {n} chips, {batch} pairs each, with '
          + ', '.join(f'{w:,}' for w in waits) + ' waits: ' + '; '.join(shares) + '.')


def report(step, given):
  """Everything that docs/scaling.md takes over."""
  facts = (f'A pair: {step.flops / 1e9:.1f} GFLOP, {step.pair:,} bytes to the device. A step '
           f'reduces {step.gradients:,} bytes of gradients and {step.norms:,} of batch norms, the '
           f'latter in {3 * step.layers:,} waits ({step.layers} layers, 3 each).')
  return '\n'.join([facts, '', *times(step, given), '', mends(step, given), '',
                    *hosts(step, given)])


if __name__ == '__main__':
  options = assumptions().parse_args()
  print(report(describe(collectives.load_config(CONFIG)), options))
