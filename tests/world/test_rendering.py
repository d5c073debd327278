"""The ray caster against a slow oracle: dense balls along every capsule, faces of every box."""
import cv2
import numpy as np
import pytest

from input_pipeline.sources import synthetic
from input_pipeline.world import rendering, scenes, truth
from input_pipeline.world.rendering import Camera, Solids

SIZE = (44, 56)
SPACING = 3  # mm between the balls of a capsule
TIE = 0.5  # mm


def oracle(solids, rays):
  """(S,N) float64 depth at which each of N rays (N,2) enters each solid, inf for a miss."""
  rays = np.concatenate([rays, np.ones((len(rays), 1))], 1).astype(np.float64)
  return np.stack([_enter_capsule(*solid, rays)
                   for solid in zip(solids.ends, solids.radii, strict=True)]
                  + [_enter_box(*solid, rays)
                     for solid in zip(solids.middle, solids.half, solids.axes, strict=True)])


def _enter_capsule(ends, radii, rays):
  """Balls at most SPACING apart; rays that miss the ball around them all need no test."""
  share = np.linspace(0, 1, 1 + int(np.ceil(np.linalg.norm(ends[1] - ends[0]) / SPACING)))[:, None]
  depth = np.full(len(rays), np.inf)
  near = np.isfinite(_enter_balls(ends.mean(0)[None], np.linalg.norm(ends[1] - ends[0]) / 2
                                  + radii.max() + 1, rays)).any(0)
  centers, radius = ends[0] + share * (ends[1] - ends[0]), radii[0] + share * (radii[1] - radii[0])
  depth[near] = _enter_balls(centers, radius, rays[near]).min(0)
  return depth


def _enter_balls(centers, radius, rays):
  square = (rays ** 2).sum(-1)
  along = centers @ rays.T
  inside = along ** 2 - square * ((centers ** 2).sum(-1, keepdims=True) - radius ** 2)
  near = (along - np.sqrt(np.maximum(inside, 0))) / square
  return np.where(inside > 0, near, np.inf)


def _enter_box(middle, half, axes, rays):
  best = np.full(len(rays), np.inf)
  for i in range(3):
    for sign in (-1, 1):
      t = (axes[i] @ middle + sign * half[i]) / (rays @ axes[i])
      local = (rays * t[:, None] - middle) @ axes.T
      others = np.delete(np.abs(local) <= half, i, 1).all(1)
      best = np.where(others & (t > 0) & (t < best), t, best)
  return best


def pixel_rays(camera, size):
  x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
  return (np.stack([x.ravel(), y.ravel()], -1) - camera.center) / camera.focal


def scene_of(number, people=(1, 4)):
  return scenes.draw(3, 'train', number, SIZE, people, ())


@pytest.fixture(scope='module', params=range(8))
def case(request):
  """A scene, its cast view, and the oracle's depths (S,H*W) of every solid."""
  scene = scene_of(request.param)
  return (scene, rendering.cast(scene.solids, scene.camera, SIZE),
          oracle(scene.solids, pixel_rays(scene.camera, SIZE)))


def away_from_edges(ids):
  ids = ids.astype(np.float32)
  return cv2.erode(ids, np.ones((3, 3))) == cv2.dilate(ids, np.ones((3, 3)))


def test_ids_and_depth_agree_with_the_oracle(case):
  _, view, depths = case
  nearest = depths.min(0).reshape(view.depth.shape)
  ids = np.where(np.isfinite(nearest), depths.argmin(0).reshape(view.ids.shape), -1)
  ours = np.where(view.ids >= 0, depths[view.ids.ravel(), np.arange(ids.size)].reshape(ids.shape),
                  np.inf)
  with np.errstate(invalid='ignore'):
    agree = (view.ids == ids) | (np.abs(ours - nearest) < TIE)
  assert agree.mean() > 0.997
  assert agree[away_from_edges(ids)].mean() > 0.999
  same = (view.ids >= 0) & (view.ids == ids)
  assert same.mean() > 0.1
  # A grazing ray changes its depth by much where the surface changes by little.
  error = np.abs(view.depth[same] - nearest[same])
  assert np.quantile(error, 0.98) < 1 and np.median(error) < 0.05


def test_masks_and_parts_agree_with_the_oracle(case):
  scene, view, depths = case
  ids = np.where(np.isfinite(depths.min(0)), depths.argmin(0), -1).reshape(view.ids.shape)
  persons = synthetic._persons(ids, scene)
  for person in range(len(scene.radii)):
    ours, theirs = synthetic._persons(view.ids, scene) == person, persons == person
    assert (ours & theirs).sum() >= 0.97 * (ours | theirs).sum() - 2
  parts = synthetic._parts(ids, scene)
  assert (synthetic._parts(view.ids, scene) == parts).mean() > 0.995


@pytest.mark.parametrize('joints', [truth.OF_COCO, truth.OF_MPI15], ids=['coco', 'mpi15'])
def test_visibility_is_the_oracles_ray_by_ray(joints):
  checked = hidden = 0
  for number in range(40):
    scene = scene_of(number)
    true = truth.of(scene, SIZE, joints)
    person, joint = np.nonzero(true.visibility)
    places = true.keypoints_3d[person, joint]
    depths = oracle(scene.solids, places[:, :2] / places[:, 2:])
    assert (depths.min(0) <= places[:, 2]).all()  # a joint lies inside its body
    owner, capsule = np.divmod(np.arange(len(depths)), scenes.CAPSULES)
    own = (owner[:, None] == person) & joints.owns[capsule][:, joint]
    nearest_own, nearest_other = (np.where(m, depths, np.inf).min(0) for m in (own, ~own))
    clear = np.abs(nearest_own - nearest_other) > TIE
    seen = true.visibility[person, joint] == 2
    np.testing.assert_array_equal(seen[clear], (nearest_own < nearest_other)[clear])
    checked, hidden = checked + clear.sum(), hidden + (~seen).sum()
  assert checked > 800 and 0.15 < hidden / checked < 0.7


def one_solid(ends, radii):
  return Solids(np.array([ends], np.float64), np.array([radii], np.float64),
                np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3, 3)))


CAMERA = Camera(np.array([60.0, 60.0]), (np.array(SIZE) - 1) / 2, np.eye(3), 0.0)


@pytest.mark.parametrize('name, ends, radii', [
  ('ball', [(0, 0, 2000)] * 2, (300, 300)),
  ('upright', [(-200, -400, 2000), (150, 500, 2300)], (90, 60)),
  ('towards the viewer, large end first', [(30, 20, 1500), (60, 40, 2600)], (300, 80)),
  ('towards the viewer, small end first', [(30, 20, 1500), (60, 40, 2600)], (80, 500)),
  ('one end inside the other', [(0, 0, 2000), (40, 30, 1990)], (300, 100)),
  ('one end inside the other, reversed', [(40, 30, 1990), (0, 0, 2000)], (100, 300)),
  ('cut by the border', [(-900, 0, 1800), (0, 900, 2000)], (250, 200)),
])
def test_single_capsules(name, ends, radii):
  solids = one_solid(ends, radii)
  view = rendering.cast(solids, CAMERA, SIZE)
  depth = oracle(solids, pixel_rays(CAMERA, SIZE))[0].reshape(view.depth.shape)
  assert (np.isfinite(depth) == (view.ids == 0)).mean() > 0.998
  both = np.isfinite(depth) & (view.ids == 0)
  assert both.sum() > 50
  assert np.quantile(np.abs(depth[both] - view.depth[both]), 0.97) < 1


def test_normals_point_out_of_the_surface_along_its_slope():
  scene = scene_of(1)
  view = rendering.cast(scene.solids, scene.camera, SIZE)
  hits = rendering.surface(scene.solids, scene.camera, view)
  np.testing.assert_allclose((hits.normal ** 2).sum(0), 1, atol=1e-3)
  assert ((hits.normal * hits.point).sum(0) < 1).all()  # towards the viewer
  np.testing.assert_allclose(hits.point[2], view.depth.ravel()[hits.place])


def test_an_outline_holds_all_pixels_of_its_solid(case):
  scene, view, _ = case
  rectangles = rendering.outlines(scene.solids, scene.camera)
  y, x = np.nonzero(view.ids >= 0)
  left, top, right, bottom = rectangles[view.ids[y, x]].T
  assert (x >= left).all() and (x <= right).all() and (y >= top).all() and (y <= bottom).all()


def test_rays_and_projection_are_inverse():
  scene = scene_of(0)
  points = scene.camera.project(scene.centers[0])
  ray = (points - scene.camera.center) / scene.camera.focal
  np.testing.assert_allclose(ray * scene.centers[0, :, 2:], scene.centers[0, :, :2], atol=1e-6)
  x, y = scene.camera.rays(SIZE)
  at = scene.camera.project(np.stack([x, y, np.ones_like(x)], -1))
  np.testing.assert_allclose(at[5, 7], (7, 5), atol=1e-3)
