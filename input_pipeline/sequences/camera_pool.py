"""Cameras drawn at random about a moving person who stays in the picture, nearly always."""
import numpy as np

from input_pipeline.sequences.sequence import Camera

_SIZES = (1000, 1000), (1000, 1002), (1280, 720), (1920, 1080)  # pixels
_FOCAL = 0.9, 1.6  # widths of the picture
_OFF = 0.02  # of the picture: how far the center lies from its middle, at most
_HEIGHT = -600, 1200  # mm above the middle of the hips
_FARTHER = 1.0, 1.4  # times the distance at which the person just fits
_NEAREST = 1500  # mm from the camera to the middle of the hips, at least
_MISS = 0.03  # of the distance: how far the camera aims beside this middle, at most, up or down
_ROLL = 2.0  # degrees, deviation
_INSIDE = 0.98  # of the joints and frames are in the picture, by distance
_STEP = 7  # every seventh frame is looked at


def draw(rng, joints, count, up=(0, 1, 0)) -> tuple[Camera, ...]:
  """`count` cameras about someone, from all sides, who look at the mean of the hips.

  joints: (F,J,3) mm in the world, the hips' middle first. up: unit vector away from the floor,
  along an axis.
  """
  joints = np.asarray(joints, np.float64)
  aim, seen = joints[:, 0].mean(0), joints[::_STEP].reshape(-1, 3)
  return tuple(_camera(rng, seen - aim, aim, np.asarray(up, np.float64), f'random {i:02d}')
               for i in range(count))


def _camera(rng, offsets, aim, up, name):
  """offsets: (N,3) mm of all joints from the point that the camera aims at."""
  size = _SIZES[rng.integers(len(_SIZES))]
  focal = np.full(2, rng.uniform(*_FOCAL) * size[0])
  center = np.array(size) * (0.5 + rng.uniform(-_OFF, _OFF, 2))
  level = np.cross(up, np.roll(up, 1))
  angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(*_HEIGHT)
  level = np.cos(angle) * level + np.sin(angle) * np.cross(up, level)
  roll, farther, miss = rng.normal(0, np.radians(_ROLL)), rng.uniform(*_FARTHER), rng.uniform(
    -_MISS, _MISS)
  border = np.minimum(center, size - center) / focal - 0.05
  away = _NEAREST
  for _ in range(2):  # the turn depends on the distance, little
    place = away * level + height * up
    turn = _looking(-place, up, roll)
    across = offsets @ turn.T
    fits = (np.abs(across[:, :2]) / border).max(1) - across[:, 2]
    away = max(np.quantile(fits, _INSIDE) * farther, _NEAREST)
  place = away * level + height * up
  turn = _looking(-place + miss * away * up, up, roll)
  return Camera(size, focal, center, rotation=turn, translation=-turn @ (aim + place), name=name)


def _looking(forward, up, roll):
  """(3,3) from the world to a camera: X right, Y down, Z forward."""
  z = forward / np.linalg.norm(forward)
  x = np.cross(z, up)
  x /= np.linalg.norm(x)
  c, s = np.cos(roll), np.sin(roll)
  return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.stack([x, np.cross(z, x), z])
