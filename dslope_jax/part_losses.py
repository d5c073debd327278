"""Losses of the networks that put out maps of joints, limbs and depths, see `part_maps`: arrays in,
scalars out. Source: the published code of SMAP (Zhen et al., 2020) and HUPOR (Liu et al., 2022)."""
import jax
import jax.numpy as jnp

from dslope_jax.part_maps import peaks

_COARSE = 1 / 4  # weight of all units of a stage but the finest
_WEIGHTS = {'maps': 0.1, 'relative_depth': 5.0, 'anchor_depth': 10.0}
# Of the finest unit only the worst joints, vector fields (x and y apart) and relative depths count.
_HARDEST = {'joints': 8, 'fields': 16, 'depths': 8}


def detection_loss(stages, labels, valid=None, ignore=None, *, reference=False):
  """Loss of `smap.Model`, and its terms of the finest units, unweighted sums over the stages.

  stages: the network's. labels: `part_maps.encode` with all five scales; unit u (0 is coarse) is
  compared with scale u, in the last stage with u + 1. valid: (B,K+3L), heatmaps, fields, relative
  depths, 0 for what is not labelled. ignore: (B,h,w) bool, where no error of a map is taken, or
  None. reference: as published: maps have the peaks 255 and 127, and of each anchor only the first
  7 people count.

  Returns a scalar and a dict of scalars: maps, relative_depth, anchor_depth.
  """
  terms = detection_terms(stages, labels, valid, ignore, reference=reference)
  return _total(terms), {name: sum(stage[-1][name] for stage in terms) for name in _WEIGHTS}


def detection_terms(stages, labels, valid=None, ignore=None, *, reference=False) -> list:
  """For each stage and unit a dict of the unweighted terms of `detection_loss`."""
  rows = labels['anchors'][:, :, :7] if reference else labels['anchors']
  terms = _map_terms(stages, labels, valid, ignore, reference)
  return [[unit_terms | {'anchor_depth': sparse_l1(unit['anchor_depth'], rows)}
           for unit_terms, unit in zip(*pair, strict=True)]
          for pair in zip(terms, stages, strict=True)]


def map_loss(stages, labels, valid=None, ignore=None, *, reference=False):
  """The part of `reasoning_loss` that is of maps, of the network's stages."""
  return _total(_map_terms(stages, labels, valid, ignore, reference))


def reasoning_loss(outputs, labels, distillation, valid=None, ignore=None, *, reference=False):
  """Loss of `dsed.Model`, and its unweighted terms.

  outputs: the network's, called with `visible` and `full`. labels: `part_maps.encode` of joints
  that are visible or hidden, with all five scales. distillation: weight of the distance between the
  students' and the teachers' features, see `distillation_weight`. The rest is as for
  `detection_loss`.

  Returns a scalar and a dict of scalars: of each unit maps0, ..., relative_depth0, ..., and of each
  level of the encoders level1, ..., sums over the stages.
  """
  terms = _map_terms(outputs['stages'], labels, valid, ignore, reference)
  levels = [sum(level) for level in zip(*(
    [_distance(s, t) for s, t in zip(*pair, strict=True)]
    for pair in zip(outputs['student'], outputs['teacher'], strict=True)), strict=True)]
  total = distillation * sum(levels) + _total(terms)
  named = {f'{name}{u}': sum(stage[u][name] for stage in terms)
           for u, unit in enumerate(terms[0]) for name in unit}
  return total, named | {f'level{n}': level for n, level in enumerate(levels, start=1)}


def distillation_weight(step, steps):
  """From 0 at the first of so many steps up to 1 after a quarter of them."""
  return jnp.minimum(1, 4 * step / steps)


def sparse_l1(pred, rows):
  """Mean distance of maps (B,h,w,A) from the depths of all people at their anchors' pixels; 0
  without any. rows: (B,A,P,3), row, column and depth, 0 for none."""
  places = rows[..., :2].astype(jnp.int32)
  batch, anchor = (jnp.arange(n) for n in rows.shape[:2])
  found = pred[batch[:, None, None], places[..., 0], places[..., 1], anchor[:, None]]
  there = rows[..., 2] > 0
  distance = jnp.where(there, jnp.abs(found - rows[..., 2]), 0)
  return distance.sum() / jnp.maximum(there.sum(), 1)


def _total(terms):
  """The weighted sum of the terms of all units."""
  return sum((1 if u == len(stage) - 1 else _COARSE)
             * sum(_WEIGHTS[name] * value for name, value in unit.items())
             for stage in terms for u, unit in enumerate(stage))


def _map_terms(stages, labels, valid, ignore, reference):
  """For each stage and unit a dict of its terms maps and relative_depth."""
  limbs = labels['relative_depth'].shape[-1]
  joints = labels['maps'].shape[-1] - 2 * limbs
  count = joints + 2 * limbs
  scale = {'maps': 1 if reference else peaks(joints, limbs), 'relative_depth': 1}
  valid = jnp.ones((1, count + limbs)) if valid is None else valid
  weights = {'maps': valid[:, :count], 'relative_depth': valid[:, count:]}

  kept = 1 if ignore is None else ~ignore[..., None]

  def of(unit, label, finest):
    off = {name: (unit[name] - labels[name][:, label]) * scale[name] for name in scale}
    errors = {name: (kept * jnp.square(off[name])).mean((1, 2)) * weights[name]
              for name in scale}  # (B,C)
    if not finest:
      return {name: error.mean() for name, error in errors.items()}
    maps = errors['maps']
    return {'maps': _hardest(maps[:, :joints], 'joints') + _hardest(maps[:, joints:], 'fields'),
            'relative_depth': _hardest(errors['relative_depth'], 'depths')}

  return [[of(unit, u + (i == len(stages) - 1), u == len(stage) - 1)
           for u, unit in enumerate(stage)] for i, stage in enumerate(stages)]


def _hardest(errors, what):
  """Mean of the worst errors (B,C) of each sample."""
  return jax.lax.top_k(errors, min(_HARDEST[what], errors.shape[-1]))[0].mean()


def _distance(student, teacher):
  """Mean squared difference of a level's features; no gradient reaches the teacher's."""
  wide = jnp.promote_types(student.dtype, jnp.float32)
  teacher = jax.lax.stop_gradient(teacher).astype(wide)
  return jnp.square(student.astype(wide) - teacher).mean()
