"""Five severities of occlusion of clips: things and people that come between a person and a camera.

Things and people are drawn in one order, small and short ones first, and a severity takes the first
of them: with the same generator, what a lower severity hides, a higher one hides too. Severities 1
to 5 cover 3, 7, 19, 34 and 46 % of the joints of all frames, on average, of the embedded world's
motion (`SHARES`); the own body hides 13 %.
"""
from typing import NamedTuple

import numpy as np

from dslope_jax import cameras
from dslope_jax.errors import UserError
from dslope_jax.visibility import HIDDEN, VISIBLE
from input_pipeline.occlusion import detector_errors, visibility
from input_pipeline.occlusion.detector_errors import Seen

# How many things on average, and how likely another person is in the way.
_SEVERITIES = {'none': (0, 0.0), 'severity1': (1, 0.0), 'severity2': (1.7, 0.1),
               'severity3': (2.5, 0.25), 'severity4': (3.5, 0.45), 'severity5': (4.5, 0.8)}
SEVERITIES = tuple(_SEVERITIES)
# Share of the joints that they cover: mean of 200 clips of 243 frames of the embedded world, a
# quarter of them of people with a partner, the others with a stranger.
SHARES = 0.0, 0.03, 0.07, 0.19, 0.34, 0.46
# Of the first things, and of the third and later ones: share of the clip they are there; size;
# how likely they are held before half of the body, not before one limb.
_STAY = (0.2, 0.6), (0.4, 1.0)
_SIZE = (0.7, 1.0), (0.9, 1.4)
_HALF = 0.1, 0.6
_SMALL = 2  # things
_BEFORE = 250, 1500  # mm from a thing to the limb behind it, and never past _NEAREST
_NEAREST = 0.4  # of the way from the camera
_DRIFTING = 0.5  # of the things move over this many mm while they are there, mostly sideways
_DRIFT = 200, 1000
_BALL = 80, 160  # mm radius
_ROD = (160, 340), (45, 75)  # mm half of its length, radius
_BOX = (100, 220), (250, 420)  # mm half of its sides, before a limb and before half of the body
_PERSON = (400, 1500), 300  # mm nearer to the camera, at most mm to a side
_OWN_BODY = 0.5  # strength of the errors where the own body hides a joint: a detector sees the rest


class Hidden(NamedTuple):
  """A clip of T frames and J joints, in full sight and hidden.

  visibility: (T,J) uint8, VISIBLE or HIDDEN, of the hidden view. covered: (T,J) bool, hidden by
  what was added. cause, blocked: as in `visibility.Occlusion`. keypoints_2d (T,J,2) float32 pixels
  and confidence (T,J) float32: what a detector says; clean_...: the same before anything was added,
  which differs at covered joints alone.
  """
  visibility: np.ndarray
  covered: np.ndarray
  cause: np.ndarray
  blocked: np.ndarray
  keypoints_2d: np.ndarray
  confidence: np.ndarray
  clean_keypoints_2d: np.ndarray
  clean_confidence: np.ndarray


def hide(rng, body, camera, skeleton, severity, *, detected: Seen | None = None, partners=(),
         strangers=(), own_blocked=None, strength=1.0) -> Hidden:
  """Puts things and people before a moving person and says what a detector makes of it.

  body: (T,J,3) mm in the camera's frame. camera: `sequences.sequence.Camera` with focal and center.
  severity: 'none', 'severity1' to 'severity5', which cover SHARES of the joints on average.
  detected: what a detector said of the clip, if it was asked; without, the exact projection with
    the errors of `detector_errors`, of visible joints and of those that the own body hides.
  partners: people (T,J,3) mm in the same frame, who are in the way where they are, all or none.
  strangers: other motion (T,J,3) mm; where there are no partners, one of them is moved before the
    person, 0.4 to 1.5 m nearer to the camera and shifted sideways.
  own_blocked: (T,J) uint8 of `visibility.own_body`, if it is known. strength: of the errors.

  Raises UserError for an unknown severity, and for a camera without focal and center.
  """
  scene, clean_errors, errors = (np.random.default_rng(rng.integers(2 ** 63, size=2))
                                 for _ in range(3))
  body = np.asarray(body, np.float32)
  if own_blocked is None:
    own_blocked = visibility.own_body(body, skeleton)
  points, clean = _clean(clean_errors, body, camera, skeleton, detected, own_blocked, strength)
  people, things = draw(scene, body, skeleton, severity, partners, strangers)
  bits = np.zeros((*body.shape[:2], 3), np.uint8)
  bits[..., 0] = own_blocked
  for person in people:
    bits[..., 1] |= visibility.by_spheres(body, skeleton, visibility.spheres(person, skeleton))
  for frames, balls in things:
    bits[frames, :, 2] |= visibility.by_spheres(body[frames], skeleton, balls)
  alone = visibility.from_bits(bits * np.uint8([1, 0, 0])).occluded
  added = visibility.from_bits(bits * np.uint8([0, 1, 1])).occluded
  seen = visibility.from_bits(bits)
  covered = added | (seen.occluded & ~alone)
  share = np.bitwise_count(np.bitwise_or.reduce(bits, -1)) / np.float32(visibility.RAYS)
  others = [_project(person, camera) for person in people if (person[..., 2] > 0).all()]
  hidden = detector_errors.hide(errors, clean, points, covered, skeleton, others, share, strength)
  return Hidden(np.where(seen.occluded, HIDDEN, VISIBLE).astype(np.uint8), covered, seen.cause,
                seen.blocked, *hidden, *clean)


def draw(rng, body, skeleton, severity, partners=(), strangers=()):
  """People (T,J,3) and things, (frames, (frames,M,4) spheres), that come before a body (T,J,3)."""
  if severity not in _SEVERITIES:
    raise UserError(f"a severity of clips is one of {', '.join(SEVERITIES)}, not '{severity}'")
  number, odds = _SEVERITIES[severity]
  count, chance, which = int(number + rng.random()), rng.random(), rng.random()
  people = list(partners)
  if len(strangers) and not people:
    people = [_before(rng, body, skeleton, strangers[int(which * len(strangers))])]
  things = [_thing(rng, body, skeleton, int(i >= _SMALL)) for i in range(count)]
  return people if chance < odds else [], things


def _clean(rng, body, camera, skeleton, detected, own_blocked, strength):
  """The places that errors are added to, and what a detector says before anything is added."""
  if detected is not None:
    return detected.keypoints, detected
  points = _project(body, camera)
  seen = detector_errors.visible(rng, points, skeleton, strength)
  share = np.bitwise_count(own_blocked) / np.float32(visibility.RAYS)
  return points, detector_errors.hide(rng, seen, points, share > 0.5, skeleton, (), share,
                                      strength * _OWN_BODY)


def _project(body, camera):
  if camera.focal is None or camera.center is None:
    raise UserError(f"camera '{camera.name}' has no focal length and center: 2D joints cannot be "
                    'projected; give what a detector said, and no other people')
  return cameras.project(body, camera.params)


def _before(rng, body, skeleton, stranger):
  """The stranger moved in front of the middle of the clip, as a whole."""
  root = skeleton.index('hip')
  place = body[len(body) // 2, root]
  nearer, aside = rng.uniform(*_PERSON[0]), rng.uniform(-1, 1) * _PERSON[1]
  distance = np.linalg.norm(place)
  place = place * max(1 - nearer / distance, _NEAREST) + [aside, 0, 0]
  return (stranger + (place - stranger[len(stranger) // 2, root])).astype(np.float32)


def _thing(rng, body, skeleton, stage):
  """Frames and (frames,M,4) spheres of a thing between the camera and a limb or half of a body."""
  stay = int(np.ceil(rng.uniform(*_STAY[stage]) * len(body)))
  frames = int(rng.integers(len(body) - stay + 1)) + np.arange(stay)
  is_half = rng.random() < _HALF[stage]
  joints = _half(rng, skeleton) if is_half else list(skeleton.limbs[
    rng.integers(len(skeleton.limbs))])
  behind = body[frames[stay // 2], joints]
  aim = behind.mean(0)
  distance = np.linalg.norm(aim)
  near = max(1 - rng.uniform(*_BEFORE) / distance, _NEAREST)
  grown = visibility.size(body[frames[stay // 2]][None], skeleton)[0]
  size = rng.uniform(*_SIZE[stage]) * grown * near  # so large in the picture as if not nearer
  shape = _box if is_half else (_ball, _rod, _box)[rng.integers(3)]
  balls = shape(rng, behind[1] - behind[0], _BOX[int(is_half)])
  balls = np.append(balls[:, :3] * size + aim * near, balls[:, 3:] * size, 1)
  turn, far = rng.normal(0, 0.3), rng.uniform(*_DRIFT) * near * rng.choice((-1, 1))
  far *= rng.random() < _DRIFTING
  way = far * (np.arange(stay) / stay - 0.5)[:, None] * [np.cos(turn), np.sin(turn), 0, 0]
  return frames, (way[:, None] + balls).astype(np.float32)


def _half(rng, skeleton):
  """Joints of the upper or lower body, or of one side."""
  halves = (skeleton.lower_body, ~skeleton.lower_body, skeleton.sides == 1, skeleton.sides == -1)
  return np.flatnonzero(halves[rng.integers(4)])


def _ball(rng, along, sides):
  return np.array([[0, 0, 0, rng.uniform(*_BALL)]])


def _rod(rng, along, sides):
  """A capsule of 12 balls, along a limb or across it, more or less."""
  direction = along / max(np.linalg.norm(along), 1e-6) + rng.normal(0, 0.5, 3)
  direction[2] = 0
  direction = direction[[1, 0, 2]] * (-1, 1, 0) if rng.random() < 0.5 else direction
  direction /= max(np.linalg.norm(direction), 1e-6)
  half, radius = (rng.uniform(*limits) for limits in _ROD)
  steps = np.linspace(-half, half, 12)[:, None]
  return np.append(steps * direction, np.full((12, 1), radius), 1)


def _box(rng, along, sides):
  """A flat box across the line of sight, of 5 x 5 balls that overlap."""
  half = rng.uniform(*sides, 2)
  x, y = np.meshgrid(*(np.linspace(-side, side, 5) for side in half * 4 / 5))
  radius = np.full(x.shape, half.max() / 5 * 1.45)
  turn = rng.normal(0, 0.3)
  c, s = np.cos(turn), np.sin(turn)
  return np.stack([c * x - s * y, s * x + c * y, 0 * x, radius], -1).reshape(-1, 4)


class Kept:
  """Keeps, for a process, which rays the own body stops: in memory, frame by frame as asked for.

  A pickled one is empty, so that it travels to data workers.
  """
  _UNKNOWN = 255

  def __init__(self):
    self._blocked = {}

  def __reduce__(self):
    return Kept, ()

  def own_body(self, key, num_frames, frames, body, skeleton) -> np.ndarray:
    """(T,J) uint8 of `visibility.own_body` for the frames (T,), which may repeat, of a sequence.

    key: of the sequence and the camera. num_frames: of the sequence. body: (T,J,3) mm as the camera
    sees these frames.
    """
    if key not in self._blocked:
      self._blocked[key] = np.full((num_frames, body.shape[1]), self._UNKNOWN, np.uint8)
    kept = self._blocked[key]
    asked, first = np.unique(frames, return_index=True)
    new = kept[asked, 0] == self._UNKNOWN
    if new.any():
      kept[asked[new]] = visibility.own_body(body[first[new]], skeleton)
    return kept[frames]
