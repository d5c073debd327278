"""What devices say to each other in one training step: every collective, and what it is for.

  python benchmarks/collectives.py [--config configs/ccoco_hrnet.py] [--merge] [--json FILE]

The step is compiled for 8 CPU devices as train.py compiles it (minutes for an HRNet; nothing is
run), and two programs are read: the one that XLA's partitioner makes, which names the layer of
every collective, and the final one, to see that nothing is added later. With --merge the compiler
may put reductions together in the final one, as it does in training; that takes many minutes for
an HRNet, and differs from one kind of device to another.
"""
import argparse
import collections
import json
import math
import os
import pathlib
import re
import runpy
import sys
import tempfile
from typing import NamedTuple

if __name__ == '__main__':  # before jax counts its devices
  os.environ |= {'JAX_NUM_CPU_DEVICES': '8', 'JAX_PLATFORMS': 'cpu'}

import jax

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from dslope_jax import systems
from dslope_jax.training import optimizers, sharding, train_state
from dslope_jax.training.train_step import make_train_step

PER_DEVICE, KEYPOINTS = 32, 17
BYTES = {'bf16': 2, 'f16': 2, 'f32': 4, 'f64': 8, 's32': 4, 'u32': 4, 'u8': 1, 'pred': 1}
_COLLECTIVE = re.compile(
  r'\s*(?:ROOT )?%\S+ = (.+?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute'
  r'|collective-broadcast)(?:-start)?\(')


class Collective(NamedTuple):
  kind: str  # 'all-reduce' ...
  shapes: list  # [(dtype, (sides)), ...] of what it puts out
  name: str  # of the operation it comes from: 'jit(step)/transpose(jvp(Model))/bn1/reduce_sum'

  @property
  def bytes(self):
    return sum(BYTES[dtype] * math.prod(sides) for dtype, sides in self.shapes)


def load_config(path):
  """The ConfigDict of a config file; words may follow after a colon."""
  path, _, argument = path.partition(':')
  return runpy.run_path(path)['get_config'](argument)


def build_system(config):
  return systems.build(**config.system.to_dict(), num_keypoints=KEYPOINTS)


def expected(system, size):
  """{what for: (number of reductions, numbers in them)}, from the shapes of the weights alone.

  Every norm layer reduces its mean, then its variance; backward the gradients of its scale and
  its bias, of which that of its input is made.
  """
  weights = train_state.weight_shapes(system, size)
  parameters = jax.tree.leaves(weights['params'])
  means = jax.tree.leaves(weights['batch_stats'])[::2]  # of mean and var
  channels = sum(x.size for x in means)
  return {
    'gradients': (len(parameters) - 2 * len(means), sum(x.size for x in parameters) - 2 * channels),
    'norm, forward': (2 * len(means), 2 * channels),
    'norm, backward': (2 * len(means), 2 * channels)}


def compile_step(config, system, merge):
  """(program of the partitioner, final program) as text."""
  optimizer, schedules = optimizers.build(config.optim.to_dict(), system.networks, 1000, 100.0)
  size, mesh = tuple(config.data.size), sharding.make_mesh()
  state = jax.eval_shape(lambda: train_state.create(system, optimizer, seed=0, size=size))
  step = make_train_step(system, optimizer, trainable=tuple(schedules), seed=config.seed,
                         accumulate=config.accumulate, ema_decay=config.ema_decay)
  jax.config.update('jax_enable_compilation_cache', False)  # a kept program is not partitioned anew
  lowered = sharding.jit_step(step, mesh).lower(state, batch_shapes(size))
  with tempfile.TemporaryDirectory() as folder:
    options = {'xla_dump_to': folder, 'xla_dump_hlo_as_text': True,
               'xla_dump_hlo_pass_re': 'spmd.*',
               'xla_backend_optimization_level': 0}  # machine code is not what is read here
    if not merge:
      options['xla_disable_hlo_passes'] = 'cpu-all-reduce-combiner'
    compiled = lowered.compile(compiler_options=options)
    partitioned, = pathlib.Path(folder).glob('*jit_step*.after_spmd-partitioning*.txt')
    return partitioned.read_text(), compiled.as_text()


def batch_shapes(size, per_device=PER_DEVICE):
  """Shapes of a global batch of crops of (W, H), as the data stream makes them."""
  n, (w, h) = per_device * jax.device_count(), size
  shapes = dict(image=((h, w, 3), 'uint8'), occluded_image=((h, w, 3), 'uint8'),
                keypoints=((KEYPOINTS, 2), 'float32'), visibility=((KEYPOINTS,), 'uint8'),
                covered=((KEYPOINTS,), 'bool'))
  return {k: jax.ShapeDtypeStruct((n, *shape), dtype) for k, (shape, dtype) in shapes.items()}


def read(program):
  """Every Collective of a program's text."""
  out = []
  for line in program.splitlines():
    match = _COLLECTIVE.match(line)
    if match:
      shapes = [(dtype, tuple(map(int, filter(None, sides.split(',')))))
                for dtype, sides in re.findall(r'(\w+)\[([\d,]*)\]', match[1])]
      name = re.search(r'op_name="([^"]*)"', line)
      out.append(Collective(match[2], shapes, name[1] if name else ''))
  return out


def chain(program):
  """How many collectives of a program need one another's results: its longest chain."""
  length = {}
  for line in program.splitlines():
    match = re.match(r'\s+(?:ROOT )?(%\S+) = (.*)', line)
    if match:  # a name is defined before it is used
      before = (length.get(name, 0) for name in re.findall(r'%[\w.-]+', match[2]))
      length[match[1]] = max(before, default=0) + bool(_COLLECTIVE.match(line))
  return max(length.values())


def norm_layers(system, size):
  """Paths of all batch norms, '/'-joined, without the network's name."""
  stats = train_state.weight_shapes(system, size)['batch_stats']
  return {'/'.join(key.key for key in path[1:-1])
          for path, _ in jax.tree_util.tree_leaves_with_path(stats)}


def purpose(collective, norms):
  """What a collective of the partitioned program is for; 'other' is what nobody expects."""
  match = re.fullmatch(r'jit\(step\)/(transpose\()?jvp\((\w*)\)\)?/(?:(.+)/)?\w+', collective.name)
  if collective.kind != 'all-reduce' or not match:
    return 'other'
  backward, model, layer = match.groups()
  if layer in norms:
    return 'norm, backward' if backward else 'norm, forward'
  if backward and layer:
    return 'gradients'
  return 'terms' if not model and collective.bytes == 4 else 'other'


def count(config, merge=False):
  """What `main` prints, as a dict that json takes."""
  system, size = build_system(config), tuple(config.data.size)
  texts = compile_step(config, system, merge)
  programs = [read(text) for text in texts]
  norms, found = norm_layers(system, size), collections.defaultdict(list)
  for collective in programs[0]:
    found[purpose(collective, norms)].append(collective)
  return {
    'devices': jax.device_count(),
    'expected': expected(system, size),
    'counted': {name: [len(each), sum(c.bytes for c in each),
                       sorted({dtype for c in each for dtype, _ in c.shapes})]
                for name, each in found.items()},
    'kinds': [collections.Counter(c.kind for c in program) for program in programs],
    'bytes': [sum(c.bytes for c in program) for program in programs],
    'chains': [chain(text) for text in texts],
    'other': [c.name for c in found['other']]}


def table(result):
  """The counts as lines of markdown."""
  lines = ['| reductions of | expected | numbers | counted | bytes | as |', '|' + ' --- |' * 6]
  for name, (number, size, dtypes) in result['counted'].items():
    wanted = ' | '.join(f'{n:,}' for n in result['expected'].get(name, ())) or ' | '
    lines.append(f'| {name} | {wanted} | {number:,} | {size:,} | {", ".join(dtypes)} |')
  lines.append('')
  for i, name in enumerate(('partitioned', 'final')):
    kinds = ', '.join(f'{number:,} {kind}' for kind, number in result['kinds'][i].items())
    lines.append(f'{name} program: {kinds}, {result["bytes"][i]:,} bytes; longest chain '
                 f'{result["chains"][i]:,}')
  return '\n'.join(lines)


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--config', default='configs/ccoco_hrnet.py')
  parser.add_argument('--merge', action='store_true',
                      help='let the compiler put reductions together')
  parser.add_argument('--json', help='write the counts to this file, too')
  given = parser.parse_args()
  result = count(load_config(given.config), given.merge)
  print(table(result))
  if given.json:
    pathlib.Path(given.json).write_text(json.dumps(result))


if __name__ == '__main__':
  main()
