"""Lists of the keys of published networks: what must hold for each of them."""
import jax
import numpy as np

from dslope_jax.weights import architecture, pytorch


def taken_and_given_back(entries, name, arguments, count, dropped=(), size=(64, 64)):
  """The state dict of a list: its network is found by its keys, all of them are converted but the
  `dropped` ones, `count` parameters come out, and the same keys when it is written again.
  size: (W, H) of pictures."""
  given = {key: np.broadcast_to(np.float32(0), shape) for key, shape, _ in entries
           if not key.endswith('num_batches_tracked')}
  assert architecture.identify({f'module.{k}': v for k, v in given.items()}) == (name, arguments)
  converted = pytorch.convert_any(name, arguments, given, size)
  assert sorted(converted.dropped) == sorted(dropped) and not converted.fresh
  assert sum(x.size for x in jax.tree.leaves(converted.variables['params'])) == count
  back = pytorch.to_state_dict(name, jax.tree.map(lambda x: x[..., :0], converted.variables))
  assert sorted([*back, *converted.dropped]) == sorted(given)
  return given
