"""Maps of joints, limbs and depths of several people, which SMAP and HUPOR are trained on (Zhen et
al., SMAP: Single-Shot Multi-Person Absolute 3D Pose Estimation, 2020; Liu et al., Explicit
Occlusion Reasoning for Multi-person 3D Human Pose Estimation, 2022).

Arrays are NHWC, with K joints and L limbs:
  maps: (...,h,w,K+2L), heatmaps of the joints, peak 1; then x and y of each limb's field, the unit
    vector from its first joint to its second (part affinity fields, Cao et al., 2017).
  relative_depth: (...,h,w,L), depth of a limb's second joint less that of its first, cm.
Pixel (x, y) of a map stands at (4 x, 4 y) of the picture.
"""
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.association.parts import ANCHORS, STRIDE
from dslope_jax.skeletons import MPI15
from dslope_jax.visibility import VISIBLE, is_labelled

# Of the five scales: pixels of the heatmaps' square kernels, and half width of the limbs.
KERNELS = np.array([15, 11, 9, 7, 5])
HALF_WIDTHS = np.array([3, 2, 1, 1, 1])
# Kernels of OpenCV from the centre on; those of 15 and 11 pixels follow the formula, with _sigma.
_TABLES = {9: (1, 51 / 60, 30 / 60, 13 / 60, 4 / 60), 7: (1, 28 / 36, 14 / 36, 4 / 36),
           5: (1, 4 / 6, 1 / 6)}


def peaks(num_keypoints: int, limbs: int) -> np.ndarray:
  """(K+2L,) heights of the published maps, which are 1 in ours."""
  return np.repeat(np.float32([255, 127]), [num_keypoints, 2 * limbs])


def mirrored(maps, anchors=ANCHORS) -> dict:
  """Maps of the mirrored picture, turned back, from a dict of maps, relative_depth and, where it
  has it, anchor_depth (...,h,w,A): columns in reverse, left and right exchanged, and x of the
  fields negated.

  Pixels of maps meet if column x of the mirrored picture was W - 4 - x, see `mirror_picture`.
  """
  joints, limbs = MPI15.flip_order, list(MPI15.limbs)
  sides = [limbs.index((joints[a], joints[b])) for a, b in limbs]
  of_anchors = [list(anchors).index(joints[a]) for a in anchors]
  fields = len(joints) + np.stack([np.multiply(2, sides), np.multiply(2, sides) + 1], 1).ravel()
  order = {'maps': np.concatenate([joints, fields]), 'relative_depth': np.array(sides),
           'anchor_depth': np.array(of_anchors)}
  out = {name: maps[name][..., ::-1, order[name]] for name in order if name in maps}
  sign = np.concatenate([np.ones(len(joints)), np.tile([-1, 1], len(limbs))])
  return out | {'maps': out['maps'] * sign.astype(out['maps'].dtype)}


def mirror_picture(images, fill=128):
  """Pictures (B,H,W,C) whose columns x and W - 4 - x are exchanged, so that the pixels of maps,
  which stand at every fourth column, meet those of the mirrored maps."""
  kept = images[:, :, :images.shape[2] - STRIDE + 1][:, :, ::-1]
  return jnp.pad(kept, ((0, 0), (0, 0), (0, STRIDE - 1), (0, 0)), constant_values=fill)


def encode(people, size, *, scales=(0, 1, 2, 3, 4), visible_only=True, limbs=MPI15.limbs,
           anchors=ANCHORS, reference=False) -> dict:
  """Draws the targets of a batch of pictures.

  people: dict of joints (B,P,K,2), pixels of the network's picture; depth (B,P,K), cm, 0 where it
    is unknown; visibility (B,P,K); and focal (B,), focal length in pixels of the network's picture.
    People are filled up by visibility 0. Also, where they are given, heights (B,P,K) of the peaks,
    and lost (B,P,L), limbs that are left out.
  size: (W, H) of the picture; maps are (H/4, W/4).
  scales: numbers of the S scales, coarse to fine; or (B,S), other ones for each picture.
  visible_only: draw joints of v = 2, and limbs between two of them; False: of v = 1 and 2.
  reference: as published: coordinates and depths are cut to whole numbers, people side by side
    change each other's heatmaps, which have the peak 255, and fields the length 127.

  Returns a dict of maps (B,S,h,w,K+2L) and relative_depth (B,S,h,w,L), the mean where the same limb
  of several people crosses; and anchors (B,A,P,3): row and column in the maps, and depth over focal
  length (cm), 0 for none. The published order is by decreasing depth.
  """
  joints, depth = (people[name].astype(jnp.float32) for name in ('joints', 'depth'))
  known = people['visibility']
  known = known == VISIBLE if visible_only else is_labelled(known)
  scales = jnp.asarray(scales)
  scales = jnp.broadcast_to(scales, (len(joints), scales.shape[-1]))
  shape = size[1] // STRIDE, size[0] // STRIDE
  whole = jnp.trunc if reference else lambda x: x
  points = whole(joints) / STRIDE
  lost = people.get('lost', np.zeros((1, 1, len(limbs)), bool))
  heatmaps = _blurred(points, known, shape, scales) if reference else bells(
    points, known * people.get('heights', 1), shape, scales)
  fields, relative = _limbs(points, whole(depth), known, lost, np.array(limbs), shape, scales)
  maps = jnp.concatenate([heatmaps, fields], -1)
  if reference:
    maps = maps * peaks(joints.shape[2], len(limbs))
  return {'maps': maps, 'relative_depth': relative,
          'anchors': _anchors(people, known, np.array(anchors), shape, reference)}


def _sigma(kernel):
  """OpenCV's width of a Gaussian for kernels of so many pixels."""
  return 0.3 * ((kernel - 1) / 2 - 1) + 0.8


def bells(points, heights, shape, scales):
  """Heatmaps (B,S,h,w,K): the highest of the Gaussians of all people.

  points: (B,P,K,2), pixels of the maps. heights: (B,P,K), 0 for none. shape: (h, w). scales: (B,S).
  """
  kernel = jnp.asarray(KERNELS, jnp.float32)[scales][:, :, None, None, None]

  def profile(center, n):  # (B,S,P,n,K)
    d = jnp.arange(n)[:, None] - center[:, None, :, None]
    inside = jnp.abs(d) <= (kernel - 1) / 2
    return jnp.where(inside, jnp.exp(-jnp.square(d / _sigma(kernel)) / 2), 0)

  rows, columns = (profile(points[..., 1 - i], n) for i, n in enumerate(shape))
  rows = rows * heights[:, None, :, None]
  return (rows[..., None, :] * columns[..., None, :, :]).max(2)


def _blurred(points, known, shape, scales):
  """Heatmaps (B,S,h,w,K) as published: a dot for each joint, blurred, and scaled to the peak 1."""
  rows, columns = (jnp.trunc(points[..., 1 - i])[:, :, None] == jnp.arange(n)[:, None]
                   for i, n in enumerate(shape))  # (B,P,n,K)
  dots = ((rows & known[:, :, None])[..., None, :] & columns[..., None, :, :]).any(1)
  down, across = (jnp.asarray([_blur(n, kernel) for kernel in KERNELS], jnp.float32)[scales]
                  for n in shape)
  maps = jnp.einsum('bsyh,bhwk,bsxw->bsyxk', down, dots.astype(jnp.float32), across,
                    precision='highest')
  peak = maps.max((2, 3), keepdims=True)
  return maps / jnp.where(peak > 0, peak, 1)


def _blur(n, kernel):
  """(n,n) matrix that blurs n pixels, mirrored at the edge pixels, as OpenCV does."""
  reach = (kernel - 1) // 2
  half = _TABLES.get(kernel, np.exp(-np.square(np.arange(reach + 1) / _sigma(kernel)) / 2))
  sources = np.pad(np.arange(n), reach, mode='reflect')
  matrix = np.zeros((n, n))
  for shift in range(-reach, reach + 1):
    np.add.at(matrix, (np.arange(n), sources[reach + shift:][:n]), half[abs(shift)])
  return matrix


def _limbs(points, depth, known, lost, limbs, shape, scales):
  """Fields (B,S,h,w,2L) and relative depths (B,S,h,w,L) of points (B,P,K,2) in the maps."""
  start, end = points[:, :, limbs[:, 0]], points[:, :, limbs[:, 1]]  # (B,P,L,2)
  way = end - start
  length = jnp.linalg.norm(way, axis=-1)
  drawn = known[:, :, limbs].all(-1) & (length >= 1) & ~lost
  half = jnp.asarray(HALF_WIDTHS, jnp.float32)[scales][:, :, None, None]  # (B,S,1,1)
  low = jnp.round(jnp.minimum(start, end)[:, None] - half[..., None])  # (B,S,P,L,2)
  high = jnp.round(jnp.maximum(start, end)[:, None] + half[..., None])
  y, x = (jnp.arange(n)[:, None] for n in shape)
  within = lambda place, i: (place >= low[..., None, :, i]) & (place < high[..., None, :, i])
  # Distances from the line, times its length, as the difference of a row and a column.
  column = ((x - start[:, :, None, :, 0]) * way[:, :, None, :, 1])[:, None, :, None]
  row = ((y - start[:, :, None, :, 1]) * way[:, :, None, :, 0])[:, None, :, :, None]
  near = jnp.abs(column - row) < (half * length[:, None])[..., None, None, :]
  inside = (within(y, 1) & drawn[:, None, :, None])[..., None, :] & within(
    x, 0)[..., None, :, :] & near  # (B,S,P,h,w,L)
  unit = way / jnp.maximum(length, 1)[..., None]
  ends = depth[:, :, limbs]
  values = jnp.ones_like(length), unit[..., 0], unit[..., 1], ends[..., 1] - ends[..., 0]
  # One sum of all four, so that the compiler keeps nothing of P maps.
  count, across, down, relative = jax.lax.reduce(
    [jnp.where(inside, value[:, None, :, None, None], 0) for value in values], [np.float32(0)] * 4,
    lambda a, b: jax.tree.map(jnp.add, a, b), (2,))
  count = jnp.maximum(count, 1)
  fields = jnp.stack([across, down], -1) / count[..., None]
  return fields.reshape(*fields.shape[:-2], -1), relative / count


def _anchors(people, known, anchors, shape, reference):
  """(B,A,P,3) row, column and depth of anchor joints; zeros where there is none in the picture."""
  places = people['joints'][:, :, anchors, ::-1].astype(jnp.float32) / STRIDE  # (B,P,A,2)
  depth = people['depth'][:, :, anchors] / people['focal'][:, None, None]
  inside = ((places >= 0) & (places < jnp.array(shape))).all(-1)
  there = known[:, :, anchors] & inside & (depth > 0)
  rows = jnp.concatenate([places, depth[..., None]], -1) * there[..., None]
  rows = rows.swapaxes(1, 2)
  if reference:
    order = jnp.argsort(-rows[..., 2], axis=-1)
    rows = jnp.take_along_axis(rows, order[..., None], 2)
  return rows
