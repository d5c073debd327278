"""Keypoint sets of faces, in the orders of their data sets."""
from dslope_jax.skeletons.skeleton import Skeleton


def _face(name, *parts):
  names = sum(parts, ())
  return Skeleton(names, (), (1 / len(names),) * len(names), name)


def _arc(part, count, first='right', last='left'):
  """Names along a line from one side of the face to the other; the middle has no side."""
  half = range(count // 2)
  middle = (f'{part}_middle',) * (count % 2)
  return (*(f'{first}_{part}_{i}' for i in half), *middle,
          *(f'{last}_{part}_{i}' for i in reversed(half)))


def _eyes(lids):
  """Each eye once around from the picture's left, upper lid first; `lids` points a lid."""
  upper, lower = ([f'{lid}_{i}' for i in range(lids)] for lid in ('upper', 'lower'))
  right = ['outer', *upper, 'inner', *lower[::-1]]
  left = ['inner', *upper[::-1], 'outer', *lower]
  return (*(f'right_eye_{n}' for n in right), *(f'left_eye_{n}' for n in left))


def _middle(part, count):
  return tuple(f'{part}_{i}' for i in range(count))


_MOUTH = (*_arc('mouth_upper', 7), *_arc('mouth_lower', 5, 'left', 'right'),
          *_arc('mouth_inner_upper', 5), *_arc('mouth_inner_lower', 3, 'left', 'right'))

# Orders of points: the pages of the sets. Sides are the person's own.
FACE_300W = _face('300w', _arc('jaw', 17), _arc('brow', 10), _middle('nose', 4),
                  _arc('nostril', 5), _eyes(2), _MOUTH)
WFLW = _face(
  'wflw', _arc('jaw', 33),
  tuple(f'right_brow_{p}' for p in ('upper_0', 'upper_1', 'upper_2', 'upper_3', 'upper_4',
                                    'lower_3', 'lower_2', 'lower_1', 'lower_0')),
  tuple(f'left_brow_{p}' for p in ('upper_4', 'upper_3', 'upper_2', 'upper_1', 'upper_0',
                                   'lower_0', 'lower_1', 'lower_2', 'lower_3')),
  _middle('nose', 4), _arc('nostril', 5), _eyes(3), _MOUTH, ('right_pupil', 'left_pupil'))
COFW = _face(
  'cofw', ('right_brow_outer', 'left_brow_outer', 'right_brow_inner', 'left_brow_inner',
           'right_brow_upper', 'right_brow_lower', 'left_brow_upper', 'left_brow_lower',
           'right_eye_outer', 'left_eye_outer', 'right_eye_inner', 'left_eye_inner',
           'right_eye_upper', 'right_eye_lower', 'left_eye_upper', 'left_eye_lower',
           'right_pupil', 'left_pupil', 'right_nostril', 'left_nostril'),
  _middle('nose', 2), ('right_mouth', 'left_mouth'), _middle('mouth', 4), ('chin',))
AFLW = _face(
  'aflw', _arc('brow', 6), ('right_eye_outer', 'right_pupil', 'right_eye_inner', 'left_eye_inner',
                            'left_pupil', 'left_eye_outer'),
  _arc('nose', 3), _arc('mouth', 3), ('chin',))
