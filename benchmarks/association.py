"""The grouping of joints into people: pictures a second, and how many joints of true maps it finds.

  python benchmarks/association.py [--people 10] [--quick]

Speeds are of maps of 208 x 128 pixels of drawn-up people with room for 20, medians of the rounds.
Then the joints that are found, at most 1.5 pixels away, in the true maps of 150 pictures of 2 to 4
rendered people: at the size of the published maps, and at 48 x 32 as in quickstart_hupor.py.
"""
import pathlib
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import shared
from configs import quickstart_hupor
from dslope_jax import part_maps
from dslope_jax.association import THRESHOLDS, associate
from dslope_jax.association.parts import ANCHORS, BONES, LIMBS, PELVIS, STEPS, STRIDE
from input_pipeline.world import scenes, truth

FOCAL = 650.0  # pixels of the network's picture


def rows(quick=False, people=10):
  """(what, value, unit, reference, target) of all that is measured here."""
  size = (104, 64) if quick else (208, 128)
  pictures = [draw(*scene(seed, people, size), size) for seed in range(8)]
  for batch in (1, 8):
    maps = [jnp.asarray(np.stack(x[:batch])) for x in zip(*pictures, strict=True)]
    found = jax.block_until_ready(associate(*maps))
    seconds = []
    for _ in range(3 if quick else 20):
      start = time.perf_counter()
      jax.block_until_ready(associate(*maps))
      seconds.append(time.perf_counter() - start)
    yield (f'grouping, batch of {batch}', batch / statistics.median(seconds), 'pictures/s',
           f'{people} people, {found["valid"].sum() / batch:.1f} found', '')
  default = THRESHOLDS['default']
  ours = default._replace(**quickstart_hupor.get_config().system.thresholds)
  rules = {'the published rule of short limbs': default._replace(shortest=0.0),
           'the default': default, 'the quickstart': ours}
  for size in ((48, 32),) if quick else ((48, 32), (208, 128)):
    for name, share in shares_of_true_maps(size, rules, 4 if quick else 150).items():
      yield f'{size[0]}x{size[1]}: joints by {name}', 100 * share, '%', '', ''


def shares_of_true_maps(size, rules, pictures):
  """{name: share} of the joints in pictures that are found in true maps of (w, h), by `Thresholds`
  of these names."""
  found, known = dict.fromkeys(rules, 0), 0
  for number in range(pictures):
    shown = STRIDE * size[0], STRIDE * size[1]
    scene = scenes.draw(0, 'tune', number, shown, (2, 4), ())
    true = truth.of(scene, shown, truth.OF_MPI15)
    places, seen = true.keypoints / STRIDE, true.visibility > 0
    depth, focal = true.keypoints_3d[..., 2] / 10, scene.camera.focal[0]
    drawn = part_maps.encode(
      {'joints': true.keypoints[None], 'depth': depth[None], 'visibility': true.visibility[None],
       'focal': np.array([focal])}, shown, scales=(2,), visible_only=False)
    anchors = _nearest(places, depth, size) / focal
    known += seen.sum()
    for name, thresholds in rules.items():
      people = associate(drawn['maps'][:, 0], drawn['relative_depth'][:, 0],
                         anchors[None].astype(np.float32), thresholds=thresholds, max_people=6)
      joints = np.asarray(people['joints'][0])
      gap = np.linalg.norm(joints[:, None, :, :2] - places, axis=-1) + 1e9 * (
        joints[:, None, :, 3] == 0)  # (found, people, joints)
      own = gap[gap[..., PELVIS].argmin(0), np.arange(len(places))]  # of the nearest pelvis
      found[name] += ((own < 1.5) & seen).sum()
  return {name: count / known for name, count in found.items()}


def _nearest(places, depth, size):
  """(h,w,7) depths of the nearest anchors at every pixel of the maps."""
  xy = np.stack(np.meshgrid(*map(np.arange, size)), -1)
  gap = xy[:, :, None, None] - places[:, ANCHORS]  # (h,w,P,7,2)
  return depth[np.square(gap).sum(-1).argmin(2), ANCHORS]


def scene(seed, people, size):
  """Random people (P,15,2), pixels of maps of (w, h), and depths (P,15), cm."""
  rng = np.random.default_rng(seed)
  body = np.zeros((people, 15, 3))
  for limb, start, end in np.concatenate(STEPS):
    up = -1 if end in (0, 1) else 0.2 if start == 2 or end in (3, 9) else 1
    way = rng.normal((0, up, 0), 0.3, (people, 3))
    body[:, end] = body[:, start] + BONES[limb] * way / np.linalg.norm(way, axis=-1)[:, None]
  depth = body[..., 2] + rng.uniform(250, 600, people)[:, None]
  pelvis = rng.uniform(0.2, 0.8, (people, 1, 2)) * size
  return pelvis + body[..., :2] * FOCAL / STRIDE / depth[..., None], depth


def draw(joints, depth, size, half_width=2):
  """Ideal maps, relative depths and anchors' depths of people, as arguments of `associate`.

  joints: (P,15,2) pixels of maps of (w, h); depth: (P,15) cm.
  """
  xy = np.stack(np.meshgrid(*map(np.arange, size)), -1).astype(np.float32)  # (h,w,2)
  gap = xy[..., None, :] - joints[:, None, None]  # (P,h,w,15,2)
  distance = np.square(gap).sum(-1)
  start, end = LIMBS.T
  way = joints[:, end] - joints[:, start]
  unit = way / np.maximum(np.linalg.norm(way, axis=-1), 1e-6)[..., None]
  across = gap[..., start, 0] * unit[:, None, None, :, 1] - gap[..., start, 1] * unit[
    :, None, None, :, 0]
  along = (gap[..., start, :] * unit[:, None, None]).sum(-1)
  length = np.linalg.norm(way, axis=-1)[:, None, None]
  inside = (abs(across) < half_width) & (along > -half_width) & (along < length + half_width)
  count = np.maximum(inside.sum(0), 1)
  mean = lambda values: np.where(inside, values[:, None, None], 0).sum(0) / count
  fields = np.stack([mean(unit[..., 0]), mean(unit[..., 1])], -1).reshape(*count.shape[:2], -1)
  anchors = _nearest(joints, depth, size) / FOCAL
  maps = np.concatenate([np.exp(-distance / 8).max(0), fields], -1)
  return tuple(x.astype(np.float32) for x in (maps, mean(depth[:, end] - depth[:, start]), anchors))


def main():
  parser = shared.parser(__doc__)
  parser.add_argument('--people', type=int, default=10)
  given = parser.parse_args()
  shared.show(rows(given.quick, given.people))


if __name__ == '__main__':
  main()
