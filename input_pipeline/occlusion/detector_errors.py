"""What a 2D detector says of joints, and what it says of hidden ones: places and confidence.

Visible joints get small noise that lasts over frames. A hidden joint gets one error for as long as
it is hidden, a run of frames: its noise grows with the time hidden, or it jumps to another person
or limb with some confidence, or is exchanged with its other side, or is not found at all.

All lengths are shares of the body's spread: the root mean square distance, in pixels, of the joints
from their middle. Who stands has a spread of 0.67 of the length from the pelvis to the top of the
head (with mean bones), so noise of 0.9 to 1.5 % of the spread is 0.6 to 1 % of that length.
"""
import functools
from typing import NamedTuple

import numpy as np

# Noise of every joint that is seen, standard deviation along x and y; other joints as 'middle'.
_SEEN = {'middle': 0.009, 'elbow': 0.012, 'knee': 0.012, 'wrist': 0.015, 'ankle': 0.015}
_LASTING = 0.8  # correlation of this noise from frame to frame
_SURE = 0.95, 0.03  # confidence of a seen joint, and what each standard deviation of noise takes
# Odds of the errors of a run of hidden frames; what is left of 1 has growing noise.
_OTHER_PERSON = 0.15  # is found at the same joint of another person, where there is one
_OTHER_LIMB = 0.12  # is found at a joint of another limb of the own body
_NOT_FOUND = 0.12  # confidence 0, at the place where it was last seen
_EXCHANGED = 0.10  # hidden joints of both arms, or legs, are found at the other side's
# Growing noise: standard deviation at first, more with each frame hidden, at most; its correlation.
_GROWTH = 0.03, 0.004, 0.20
_WANDERING = 0.93
_FADING = 0.50, 0.02, 0.12  # its confidence at first, less with each frame hidden, at least
_WRONGLY_SURE = 0.45, 0.75  # confidence of a jump or an exchange, even between these
_LIMBS = {'arms': ('shoulder', 'elbow', 'wrist'), 'legs': ('hip', 'knee', 'ankle')}


class Seen(NamedTuple):
  """keypoints: (T,J,2) float32 pixels. confidence: (T,J) float32, 0 to 1."""
  keypoints: np.ndarray
  confidence: np.ndarray


def visible(rng, points, skeleton, strength=1.0) -> Seen:
  """The exact places (T,J,2) in pixels as a detector finds joints in full sight.

  strength: of the noise; 1 is 0.6 to 1 % of the length from the pelvis to the top of the head.
  """
  noise = _lasting(rng, points.shape, _LASTING)
  shares = np.array([_SEEN.get(_part(name), _SEEN['middle']) for name in skeleton.names])
  places = points + noise * strength * (spread(points)[:, None] * shares)[..., None]
  confidence = _SURE[0] - _SURE[1] * strength * np.sqrt((noise ** 2).sum(-1))
  return Seen(places.astype(np.float32), confidence.clip(0.5, 1).astype(np.float32))


def hide(rng, seen: Seen, points, hidden, skeleton, others=(), share=None, strength=1.0) -> Seen:
  """What a detector says where joints are hidden; all other joints stay as they were seen.

  points: (T,J,2) the exact places. hidden: (T,J) bool. others: (P,T,J,2) places of other people.
  share: (T,J) how much of the joint is hidden, 1 where not given; growing noise goes with it.
  strength: of the noise, and of the odds of the other errors; 0 leaves all joints as seen.
  """
  if strength == 0 or not hidden.any():
    return seen
  places, confidence = seen.keypoints.copy(), seen.confidence.copy()
  noise = _lasting(rng, points.shape, _WANDERING) * strength * spread(points)[:, None, None]
  noise *= 1 if share is None else share[..., None]
  exchanged = _exchanged(rng, hidden, skeleton, strength)
  places[exchanged] = seen.keypoints[:, skeleton.flip_order][exchanged]
  confidence[exchanged] = rng.uniform(*_WRONGLY_SURE, exchanged.sum())
  limbs = _limbs(skeleton)
  odds = np.cumsum([_OTHER_PERSON * (len(others) > 0), _OTHER_LIMB, _NOT_FOUND])
  odds *= min(strength, 1 / odds[-1])
  for joint, first, stop in _runs(hidden):
    frames = np.arange(first, stop)[~exchanged[first:stop, joint]]
    kind = int(np.searchsorted(odds, rng.random(), 'right'))
    sure = rng.uniform(*_WRONGLY_SURE)
    if kind == 0:
      aim = others[rng.integers(len(others))][frames, joint]
    elif kind == 1:
      aim = seen.keypoints[frames, rng.choice(np.flatnonzero(limbs * (limbs != limbs[joint])))]
    elif kind == 2:
      aim, sure = _last_seen(seen, hidden, joint, first, stop)[frames - first], 0
    else:
      since = frames - first
      start, more, most = _GROWTH
      size = np.minimum(start + more * since, most)
      aim = points[frames, joint] + noise[frames, joint] * size[:, None]
      start, less, least = _FADING
      sure = np.maximum(start - less * since, least)
    if kind < 2:  # what is found there trembles as what is seen does
      aim = aim + noise[frames, joint] * _SEEN['middle']
    places[frames, joint], confidence[frames, joint] = aim, sure
  return Seen(places, confidence)


def spread(points):
  """(T,) pixels: root mean square distance of the joints (T,J,2) from their middle."""
  away = points - points.mean(1, keepdims=True)
  return np.sqrt((away ** 2).sum(-1).mean(1))


def _part(name):
  return name.split('_')[-1]


def _limbs(skeleton):
  """(J,) number of the limb that a joint is of, negative on the right; 0 for the middle."""
  kinds = [next((i for i, parts in enumerate(_LIMBS.values(), 1) if _part(name) in parts), 0)
           for name in skeleton.names]
  return np.array(kinds) * skeleton.sides


def _lasting(rng, shape, correlation):
  """Normal noise of `shape`, of deviation 1, correlated along the first axis."""
  fresh = rng.standard_normal((shape[0], int(np.prod(shape[1:]))), np.float32)
  return (_memory(shape[0], correlation) @ fresh).reshape(shape)


@functools.lru_cache(16)
def _memory(frames, correlation):
  """(T,T) that turns white noise into noise that lasts: x_t = c x_(t-1) + sqrt(1 - c^2) e_t."""
  ago = np.arange(frames)[:, None] - np.arange(frames)
  out = np.where(ago >= 0, correlation ** np.maximum(ago, 0.0), 0)
  out[:, 1:] *= (1 - correlation ** 2) ** 0.5
  return out.astype(np.float32)


def _runs(hidden):
  """(joint, first frame, frame after the last) of every run of hidden frames."""
  edge = np.zeros((1, hidden.shape[1]), bool)
  change = np.diff(np.concatenate([edge, hidden, edge]).T.astype(np.int8))
  joint, first = np.nonzero(change == 1)
  return zip(joint.tolist(), first.tolist(), np.nonzero(change == -1)[1].tolist(), strict=True)


def _exchanged(rng, hidden, skeleton, strength):
  """(T,J) bool: hidden joints of arms, or of legs, which are exchanged for a run of frames."""
  out = np.zeros_like(hidden)
  for kind in range(1, len(_LIMBS) + 1):
    pair = np.abs(_limbs(skeleton)) == kind
    for _, first, stop in _runs((hidden & pair).any(1, keepdims=True)):
      if rng.random() < _EXCHANGED * strength:
        out[first:stop] |= hidden[first:stop] & pair
  return out


def _last_seen(seen, hidden, joint, first, stop):
  """(frames,2): where the joint was before a run; after it, if the clip begins with the run; in
  the middle of the body, if the joint is never seen."""
  if first > 0:
    place = seen.keypoints[first - 1, joint]
  elif stop < len(hidden):
    place = seen.keypoints[stop, joint]
  else:
    place = seen.keypoints.mean(1)
  return np.broadcast_to(place, (stop - first, 2))
