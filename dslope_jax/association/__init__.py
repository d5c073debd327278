"""Groups the peaks of joint maps into people, near ones first, and reads their depths.

Depth-aware part association of SMAP (Zhen et al., ECCV 2020), which HUPOR (Liu et al., ECCV 2022)
uses too: each peak of the pelvis is a person, and people choose their other joints along the limbs,
the nearest person first. Joints and limbs are those of `skeletons.MPI15`.

Pixel (x, y) of a map stands at (4 x, 4 y) of the network's picture.
"""
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.association import depths
from dslope_jax.association.limbs import grow, limb_scores
from dslope_jax.association.parts import PELVIS
from dslope_jax.association.peaks import find_peaks
from dslope_jax.skeletons import MPI15


class Thresholds(NamedTuple):
  """What counts as found, for maps whose joints have the height 1 and whose fields the length 1.

  peak: a joint is higher than this, which is 0 or more. point: least field along a limb at a point
  that supports it. support: a limb needs more than this share of such points. short_limb: score of
  a limb whose field says nothing, as it is shorter than `shortest` pixels of the maps or, as
  published, than a share of the maps' size that is a pixel of the published ones. penalty: weight
  of a limb's excess length. sure_pelvis: height from which on the pelvis' own depth is believed.
  usable_anchor: the same of the joints that stand in for it. offset: pixels added to peaks, in x
  and y. strict: a peak is higher than all its neighbours, so that of two equal pixels none is; else
  the first one is.
  whole_pixels: relative depth is read at whole pixels of the network's picture, which shifts it.
  """
  peak: float = 0.1
  point: float = 0.05
  support: float = 0.95
  short_limb: float = 1 / 30
  penalty: float = 1 / 3
  sure_pelvis: float = 0.5
  usable_anchor: float = 0.33
  offset: float = 0.0
  strict: bool = False
  whole_pixels: bool = False
  shortest: float = 1.09  # fields of shorter limbs than a pixel are not drawn


# `reference`: of the released code, whose maps are sums of three scales and of the mirrored
# picture's. Its offset also moves where fields are read, by half a pixel.
THRESHOLDS = {'default': Thresholds(),
              'reference': Thresholds(0.2, 0.05, 0.95, 0.1, 1.0, 3.0, 2.0, 0.5, True, True, 0.0)}


@functools.partial(jax.jit, static_argnames=('max_people', 'max_peaks'))
def associate(maps, relative_depth, anchor_depth, *, thresholds=THRESHOLDS['default'], focal=None,
              max_people=20, max_peaks=32):
  """People of a batch of pictures, near to far.

  maps: (B,h,w,43) heights of 15 joints, then x and y of the fields of 14 limbs, from a limb's first
    joint to its second. relative_depth: (B,h,w,14) cm, depth of a limb's second joint less that of
    its first. anchor_depth: (B,h,w,7) depth over focal length (cm, pixels of the network's
    picture) of the joints `parts.ANCHORS`.
  thresholds: a `Thresholds`; other numbers compile nothing anew.
  focal: (B,) focal lengths in pixels of the network's picture, or None. With them a joint that
    stands in for a doubtful pelvis gives its depth less its relative depth; without, as published,
    its depth.
  max_people: P. max_peaks: peaks kept of each joint, the highest ones.

  Returns a dict of joints (B,P,15,4): x and y in pixels of the maps, depth relative to the pelvis
  (cm), height of the peak, all 0 for a joint that was not found; root_depth (B,P), of the pelvis,
  in the unit of anchor_depth; valid (B,P), the rows that hold a person, which come first; overflow
  (B,) int32, how many peaks and people found no room. The order is that of the depth read at the
  pelvis, even where root_depth is from other joints. No gradient passes through any of it.
  """
  inverse_focal = jnp.zeros(len(maps)) if focal is None else 1 / jnp.asarray(focal, jnp.float32)
  one = functools.partial(_associate, thresholds=thresholds, max_people=max_people,
                          max_peaks=max_peaks)
  arrays = (jax.lax.stop_gradient(a.astype(jnp.float32))
            for a in (maps, relative_depth, anchor_depth))
  return jax.vmap(one)(*arrays, inverse_focal)


def _associate(maps, relative_depth, anchor_depth, inverse_focal, *, thresholds, max_people,
               max_peaks):
  """`associate` of one picture."""
  joints = MPI15.num_keypoints
  peaks = find_peaks(maps[..., :joints], thresholds, max_peaks)
  scores = limb_scores(maps[..., joints:], peaks.places, thresholds)
  depth = depths.at_pelvis(anchor_depth, peaks.places[PELVIS] - thresholds.offset)
  found = peaks.heights[PELVIS] > 0
  near = jnp.lexsort((depth, ~found))[:max_people]
  valid = found[near]
  rows = grow(jnp.where(valid, near, -1), depth[near], peaks, scores, thresholds)
  there, at = rows >= 0, (np.arange(joints), jnp.maximum(rows, 0))
  places = jnp.where(there[..., None], peaks.places[at], 0)
  heights = jnp.where(there, peaks.heights[at], 0)
  cells = places - thresholds.offset
  relative = depths.relative(relative_depth, cells, there, thresholds)
  root = depths.root(anchor_depth, cells, heights, relative * inverse_focal, thresholds)
  out = {'joints': jnp.concatenate([places, relative[..., None], heights[..., None]], -1),
         'root_depth': jnp.where(valid, root, 0), 'valid': valid}
  spare = max_people - len(near)  # more people than peaks are asked for
  out = {name: jnp.pad(x, [(0, spare)] + [(0, 0)] * (x.ndim - 1)) for name, x in out.items()}
  return out | {'overflow': peaks.missed + jnp.maximum(found.sum() - max_people, 0)}
