"""Hand-made pictures of several people: dots in the colours of their joints, on grey."""
import numpy as np

from dslope_jax.association.parts import ANCHORS, BONES, STEPS
from dslope_jax.skeletons import MPI15
from dslope_jax.systems.base import Facts

SIZE = 192, 128
FACTS = Facts(MPI15, SIZE)
FOCAL = 150.0  # pixels of the network's picture
CAMERA = np.float32([300, 300, 190, 130, 0.5, 1.0, -1.0])  # middle at (96, 64)
NETWORKS = dict(
  detector=dict(name='smap', stages=1, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=8),
  reasoner=dict(name='dsed', stages=1, widths=(8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=8),
  refiner=dict(name='refine_net', widths=(16, 16)))
_COLOURS = np.random.default_rng(0).integers(0, 256, (15, 3))


def bodies(rng, count):
  """(count,15,3) cm from the pelvis, upright."""
  body = np.zeros((count, 15, 3))
  for limb, start, end in np.concatenate(STEPS):
    up = -1 if end in (0, 1) else 0.2 if start == 2 or end in (3, 9) else 1
    side = {1: 0.3, -1: -0.3}.get(int(MPI15.sides[end]), 0)
    way = rng.normal((side, up, 0), 0.15, (count, 3))
    body[:, end] = body[:, start] + BONES[limb] * way / np.linalg.norm(way, axis=-1)[:, None]
  return body


def batch(pictures=2, people=2, room=4, seed=0, hidden=0.2):
  """A batch of the task `bottom_up`: people side by side, some joints hidden."""
  rng = np.random.default_rng(seed)
  rows = np.zeros((pictures, room, 15, 6), np.float32)
  for picture in rows:
    depth = rng.uniform(280, 420, people)
    x = (np.arange(people) + 0.5 - people / 2) * 75 * depth / 350
    points = bodies(rng, people) + np.stack([x, 0 * x - 10, depth], -1)[:, None]
    places = points[..., :2] * FOCAL / points[..., 2:] + np.divide(SIZE, 2)
    inside = ((places >= 0) & (places < SIZE)).all(-1)
    v = np.where(rng.random(inside.shape) < hidden, 1, 2) * inside
    picture[:people] = np.concatenate([places, points, v[..., None]], -1)
  valid = np.zeros((pictures, room), bool)
  valid[:, :people] = True
  w, h = SIZE
  return {'image': paint(rows), 'people': rows, 'valid': valid,
          'ignore': np.zeros((pictures, h // 4, w // 4), bool),
          'has_depth': np.ones(pictures, bool), 'channels': np.ones((pictures, 57), np.float32),
          'camera': np.tile(CAMERA, (pictures, 1))}


def nearest_anchors(people, size):
  """(B,h,w,7) float32 depth of the nearest anchor at every pixel, visible or not, so that no
  reading misses. people: of `people_of`. size: (W, H) of the picture."""
  w, h = size
  pixels = np.stack(np.meshgrid(np.arange(w // 4), np.arange(h // 4)), -1) * 4
  known = (people['visibility'] > 0)[:, None, None]
  gap = pixels[:, :, None, None] - people['joints'][:, None, None]  # (B,h,w,P,K,2)
  nearest = np.where(known, np.square(gap).sum(-1), np.inf).argmin(3)[..., ANCHORS]
  depth = np.asarray(people['depth'] / people['focal'][:, None, None], np.float32)
  return depth[np.arange(len(depth))[:, None, None, None], nearest, ANCHORS]


def paint(rows):
  """(B,H,W,3) uint8: squares of 5 pixels on visible joints."""
  image = np.full((len(rows), SIZE[1], SIZE[0], 3), 128, np.uint8)
  for b, person, joint in np.argwhere(rows[..., 5] == 2):
    x, y = rows[b, person, joint, :2].round().astype(int)
    image[b, max(y - 2, 0):y + 3, max(x - 2, 0):x + 3] = _COLOURS[joint]
  return image
