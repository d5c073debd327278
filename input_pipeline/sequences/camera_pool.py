"""Cameras drawn about a person who moves."""
import numpy as np

from input_pipeline.sequences.sequence import Camera

_SIZES = (1000, 1000), (1280, 720), (1920, 1080), (1080, 1920)  # pixels, width x height
_FOCAL = 0.9, 1.6  # times the larger side
_DISTANCE = 2500.0, 5500.0  # mm from the camera to the near side of where the person moves
_HEIGHT = -300.0, 1300.0  # mm of the camera over the middle of the motion
_ROLL = 3.0  # degrees, deviation
_AIM = 0.03  # of the distance, deviation of where the camera looks


def draw(rng, points, count: int) -> tuple[Camera, ...]:
  """Cameras that see a motion.

  points: (F,J,3) mm, Y up. Their middle is looked at, so that it does not matter where the floor
  is; somebody who walks far may leave the picture.
  """
  points = np.asarray(points, np.float64)
  middle = np.median(points, (0, 1))
  reach = np.quantile(np.linalg.norm((points.mean(1) - middle)[:, [0, 2]], axis=-1), 0.95)
  out = []
  for number in range(count):
    size = _SIZES[int(rng.integers(len(_SIZES)))]
    focal = rng.uniform(*_FOCAL) * max(size)
    distance = reach + rng.uniform(*_DISTANCE)
    angle, height = rng.uniform(-np.pi, np.pi), rng.uniform(*_HEIGHT)
    aside = np.sqrt(max(distance ** 2 - height ** 2, (distance / 2) ** 2))
    place = middle + (aside * np.sin(angle), height, aside * np.cos(angle))
    aim = middle + rng.normal(0, _AIM * distance, 3)
    rotation = _looking(aim - place, np.radians(rng.normal(0, _ROLL)))
    center = np.array(size) / 2 + rng.normal(0, 0.01 * max(size), 2)
    out.append(Camera(size, np.full(2, focal), center, rotation=rotation,
                      translation=-rotation @ place, name=f'{number}'))
  return tuple(out)


def _looking(along, roll):
  """Rotation from a world with Y up to a camera that looks along, X right and Y down."""
  forward = along / np.linalg.norm(along)
  right = np.cross(forward, (0.0, 1.0, 0.0))
  right /= np.linalg.norm(right)
  down = np.cross(forward, right)
  turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
  return turn @ np.stack([right, down, forward])
