"""Parameters and multiply-adds of every network, beside the published figures.

  python benchmarks/flops.py

Counted in the traced program of one 256x192 image (nothing is compiled): convolutions and matrix
products; products of two activations (attention) apart, since papers leave them out or not. The
published figures of ResNet and HRNet come from other rules of counting, too.
"""
import math
import pathlib
import sys

import jax

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from dslope_jax import models
from dslope_jax.models.cpu_forms import plain_forms

# Name, arguments, published millions of parameters and GFLOPs at 256x192 (papers' tables).
NETWORKS = [
  ('hrnet', dict(width=32), 28.5, 7.1), ('hrnet', dict(width=48), 63.6, 14.6),
  ('simple_baseline', dict(depth=50), 34.0, 8.9), ('simple_baseline', dict(depth=101), 53.0, 12.4),
  ('simple_baseline', dict(depth=152), 68.6, 15.7), ('hrformer', dict(size='small'), 7.8, 2.8),
  ('hrformer', dict(size='base'), 43.2, 12.2), ('vitpose', dict(size='small'), 24.3, None),
  ('vitpose', dict(size='base'), 90.0, None), ('vitpose', dict(size='large'), 308.5, None),
  ('vitpose', dict(size='huge'), 637.2, None), ('lite_hrnet', dict(depth=18), 1.1, 0.205),
  ('lite_hrnet', dict(depth=30), 1.8, 0.319)]


def _is_program(value):
  return hasattr(value, 'jaxpr') or hasattr(value, 'eqns')


def count(jaxpr, of_weights):
  """(multiply-adds with weights, between activations); of_weights: variables made of weights."""
  total = [0, 0]
  of_weights = of_weights | set(jaxpr.constvars)
  for eqn in jaxpr.eqns:
    for sub in filter(_is_program, jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_program)):
      sub = getattr(sub, 'jaxpr', sub)
      known = {v for v, outer in zip(sub.invars, eqn.invars[-len(sub.invars):], strict=False)
               if not hasattr(outer, 'val') and outer in of_weights}
      total = [a + b for a, b in zip(total, count(sub, known), strict=True)]
    inputs = [v for v in eqn.invars if not hasattr(v, 'val')]
    if all(v in of_weights for v in inputs):
      of_weights.update(eqn.outvars)
    if eqn.primitive.name == 'conv_general_dilated':
      kernel = eqn.invars[1].aval.shape
      dilation = math.prod(eqn.params['lhs_dilation'])  # zeros between pixels cost nothing
      total[0] += math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel[:3]) // dilation
    elif eqn.primitive.name == 'dot_general':
      (contract, _), _ = eqn.params['dimension_numbers']
      depth = math.prod(eqn.invars[0].aval.shape[d] for d in contract)
      has_weight = any(not hasattr(v, 'val') and v in of_weights for v in eqn.invars)
      total[0 if has_weight else 1] += math.prod(eqn.outvars[0].aval.shape) * depth
  return total


def measure(name, kwargs, size=(192, 256)):
  """(parameters, multiply-adds with weights, between activations) for one image of (W, H)."""
  module = models.build(name, num_keypoints=17, **kwargs)
  image = jax.ShapeDtypeStruct((1, size[1], size[0], 3), 'float32')
  variables = jax.eval_shape(module.lazy_init, jax.random.key(0), image)
  with plain_forms():  # a program for any platform has those for CPU besides
    program = jax.make_jaxpr(lambda v, x: module.apply(v, x)['heatmaps'])(variables, image).jaxpr
  parameters = sum(x.size for x in jax.tree.leaves(variables['params']))
  return parameters, *count(program, set(program.invars[:-1]))


def main():
  print(f'{"":<34}{"M parameters":>13}{"published":>10}{"GMACs":>9}{"+ attention":>12}'
        f'{"published":>10}')
  for name, kwargs, millions, giga in NETWORKS:
    parameters, plain, attention = measure(name, kwargs)
    arguments = ', '.join(f'{k}={v}' for k, v in kwargs.items())
    print(f'{name + " " + arguments:<34}{parameters / 1e6:13.2f}{millions:10.1f}'
          f'{plain / 1e9:9.3f}{(plain + attention) / 1e9:12.3f}{giga or "-":>10}')


if __name__ == '__main__':
  main()
