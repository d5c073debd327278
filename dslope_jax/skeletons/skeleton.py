"""What a keypoint set is, and which of its joints a mirror exchanges."""
import dataclasses
import functools
import re

import numpy as np

from dslope_jax.errors import UserError, quoted

_LOWER_BODY = ('hip', 'knee', 'ankle', 'pelvis', 'toe', 'heel', 'foot')


@dataclasses.dataclass(frozen=True)
class Skeleton:
  """A keypoint set.

  names: K unique joint names; left and right are the person's own.
  limbs: pairs of joint indices joined by a bone (drawing, and the cut-outs of the patch bank).
  sigmas: K OKS standard deviations.
  name: how the set is called in messages.
  flip_pairs: pairs of joint indices exchanged by a mirror; found from the names when not given.
    None where the names tell no side: such people are never mirrored, nor is a flip test made.

  Raises UserError where the parts contradict each other.
  """
  names: tuple[str, ...]
  limbs: tuple[tuple[int, int], ...]
  sigmas: tuple[float, ...]
  name: str = 'custom'
  flip_pairs: tuple[tuple[int, int], ...] | None = None

  def __post_init__(self):
    if len(set(self.names)) != len(self.names):
      raise UserError(f'skeleton {self.name}: keypoint names repeat: {self.names}')
    if len(self.sigmas) != self.num_keypoints or not all(s > 0 for s in self.sigmas):
      raise UserError(f'skeleton {self.name}: needs {self.num_keypoints} positive sigmas, '
                      f'has {self.sigmas}')
    if self.flip_pairs is None:
      object.__setattr__(self, 'flip_pairs', _pairs_from_names(self.names, self.name))
    paired = [j for pair in self.flip_pairs or () for j in pair]
    outside = [j for j in paired + [j for limb in self.limbs for j in limb]
               if not 0 <= j < self.num_keypoints]
    if outside:
      raise UserError(f'skeleton {self.name}: a flip pair or limb names joint {outside[0]}, '
                      f'but there are {self.num_keypoints} keypoints (0-based)')
    if len(set(paired)) != len(paired):
      raise UserError(f'skeleton {self.name}: a joint is in two flip pairs, or paired with '
                      f'itself: {self.flip_pairs}')

  @property
  def num_keypoints(self) -> int:
    return len(self.names)

  @functools.cached_property
  def flip_order(self) -> np.ndarray:
    """(K,) permutation p: joint k of the mirrored person is joint p[k] of the person."""
    order = np.arange(self.num_keypoints)
    for a, b in self.flip_pairs or ():
      order[a], order[b] = b, a
    return order

  @functools.cached_property
  def sides(self) -> np.ndarray:
    """(K,) 1 for joints of the left, -1 for those of the right, 0 for others. Of a flip pair the
    first is the left one, unless the names say otherwise."""
    sides = np.zeros(self.num_keypoints, int)
    for pair in self.flip_pairs or ():
      one, other = ([*_forms(self.names[j])] for j in pair)
      mirrored = [form for _, form, is_left in other if is_left]
      sides[list(pair)] = (-1, 1) if any(form in mirrored for form, _, _ in one) else (1, -1)
    return sides

  @property
  def graph(self) -> tuple[tuple[int, int], ...]:
    """Edges for graph networks: the published ones where there are some, else the limbs."""
    # Not at the top: the bodies are made of this class.
    from dslope_jax.skeletons.bodies import GRAPHS
    return GRAPHS.get(self.names, self.limbs)

  @functools.cached_property
  def lower_body(self) -> np.ndarray:
    """(K,) bool: hips and below; the rest is the upper body (half-body augmentation)."""
    return np.array([any(part in name for part in _LOWER_BODY) for name in self.names])

  def index(self, name: str) -> int | None:
    """Number of the joint called `name`, None if this set lacks it."""
    return self.names.index(name) if name in self.names else None


_WORDS = re.compile(r'[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]')
_LEFT = {'left': 'right', 'l': 'r', 'lt': 'rt', 'lft': 'rgt', '左': '右'}
_OTHER_SIDE = _LEFT | {right: left for left, right in _LEFT.items()}


def _forms(name):
  """(form, form of the mirrored joint, is it left) of every way to read a side in a name.

  As a word: left_eye, 'left eye', EyeLeft, L.Eye, LEye, x-l; then glued: lefteye, leye, Leye, eyeL.
  """
  words = tuple(word.lower() for word in _WORDS.findall(name))
  sides = [word for word in words if word in _OTHER_SIDE]
  if sides:
    mirrored = tuple(_OTHER_SIDE.get(word, word) for word in words)
    yield ('words', words), ('words', mirrored), sides[0] in _LEFT
  low = name.lower()
  found = [(side, 'before', low[len(side):]) for side in ('left', 'right', 'l', 'r')
           if low.startswith(side)]
  found += [(side, 'behind', low[:-len(side)]) for side in ('left', 'right') if low.endswith(side)]
  found += [(name[-1].lower(), 'behind', low[:-1])] if name[-1:] in ('L', 'R') else []
  for side, *rest in found:
    yield (side, *rest), (_OTHER_SIDE[side], *rest), side in _LEFT


def _pairs_from_names(names, skeleton_name):
  """Joints whose names differ only in the side, left first; None where several joints have none.

  Letters may be no sides ('lip', 'rib'), so they count only where both sides are there. Raises
  UserError where a name has the word left or right and no other name has the other one.
  """
  forms = [list(_forms(name)) for name in names]
  known, pairs, paired = [form for of in forms for form, _, _ in of], [], set()
  for i, of in enumerate(forms):
    for form, mirrored, is_left in of:
      if is_left and i not in paired and known.count(form) == known.count(mirrored) == 1:
        j = next(j for j, other in enumerate(forms) if mirrored in [form for form, _, _ in other])
        if j not in paired:
          pairs.append((i, j))
          paired |= {i, j}
  for i, of in enumerate(forms):
    words = of[0][0][1] if of and of[0][0][0] == 'words' else ()
    if i not in paired and not {'left', 'right'}.isdisjoint(words):
      partner = re.sub('left|right', lambda m: _OTHER_SIDE[m[0].lower()], names[i], flags=re.I)
      raise UserError(f'skeleton {skeleton_name}: keypoint {quoted(names[i])} has no mirror '
                      f"partner {quoted(partner)}; give the category 'flip_pairs' or mend the "
                      'names')
  return tuple(pairs) if pairs or len(names) == 1 else None
