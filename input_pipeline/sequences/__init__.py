"""Sets of recorded motion by name, `load("cmu_mocap", "train", root=...)`; one set a file here."""
import numpy as np

from dslope_jax.errors import UserError
from input_pipeline import options as given_options


def load(name: str, split: str, **options):
  """The `sequence.Sequences` of a split of this set. A root may begin with '~'.

  Raises UserError for a name or an option that there is not.
  """
  read = loader(name)
  options = given_options.checked(name, read, options)
  return _checked(read(split, **options))


def _checked(found):
  """The same; UserError for what no clip can be made of."""
  where, names = f'{found.name} {found.split}', set()
  if not found.sequences:
    raise UserError(f'{where} has no sequences')
  for sequence in found.sequences:
    if sequence.name in names:
      raise UserError(f"{where} has two sequences '{sequence.name}'; name them apart")
    names.add(sequence.name)
    if not len(sequence):
      raise UserError(f"{where}: '{sequence.name}' has no frames; leave it out")
    if not 0 < sequence.fps < np.inf:
      raise UserError(f"{where}: '{sequence.name}' has {sequence.fps} frames a second; mend the "
                      'file')
    _check_arrays(sequence, found.skeleton, where)
    _check_size(sequence, found.root, where)
    _check_depth(sequence, found.root, where)
    for partner in sequence.partners:
      other = found.by_name.get(partner)
      if other is None or len(other) != len(sequence):
        raise UserError(f"{where}: '{sequence.name}' has {len(sequence)} frames, and its partner "
                        f"'{partner}' {'is not there' if other is None else len(other)}")
  return found


_REACH = 200, 3000  # mm from the hip to the joint furthest from it; wide, to find wrong units
_AXES = {'keypoints_3d': 'FJ3', 'keypoints_2d': 'VFJ2', 'confidence': 'VFJ', 'image_3d': 'FJ3',
         'factor': 'F', 'valid': 'F'}


def _check_arrays(sequence, skeleton, where):
  """Raises UserError for an array of another shape than `Sequence` says, or with NaN."""
  sizes = {'V': len(sequence.cameras), 'F': len(sequence), 'J': skeleton.num_keypoints, '2': 2,
           '3': 3}
  for field, axes in _AXES.items():
    values = getattr(sequence, field)
    if values is None:
      continue
    if values.shape != tuple(sizes[axis] for axis in axes):
      raise UserError(
        f"{where}: '{sequence.name}' has {field} of the shape {values.shape}; for {len(sequence)} "
        f"frames, {sizes['V']} cameras and {sizes['J']} joints of {skeleton.name} it is "
        f"{tuple(sizes[axis] for axis in axes)}")
    if not np.isfinite(values).all():
      place = dict(zip(axes, np.argwhere(~np.isfinite(values))[0], strict=True))
      joint = f" of '{skeleton.names[place['J']]}'" if 'J' in place else ''
      raise UserError(f"{where}: '{sequence.name}', frame {place['F']}: {field}{joint} is no "
                      'finite number; mend the file, or leave the sequence out')


def _check_size(sequence, root, where):
  """Raises UserError for poses in mm that no person has, and for a factor to mm that is not above
  0."""
  if sequence.factor is not None and not (sequence.factor > 0).all():
    frame = int(np.argmin(sequence.factor > 0))
    raise UserError(f"{where}: '{sequence.name}', frame {frame}: factor is "
                    f'{sequence.factor[frame]:g}, must be above 0; mend the file')
  if root is None or sequence.image_3d is not None:  # in pixels
    return
  poses = sequence.keypoints_3d
  reach = np.median(np.linalg.norm(poses - poses[:, [root]], axis=-1).max(1))
  if not _REACH[0] < reach < _REACH[1]:
    raise UserError(f"{where}: the joints of '{sequence.name}' reach {reach:.3g} mm from the hip; "
                    f'those of people {_REACH[0]} to {_REACH[1]} mm. Mend the unit of the file')


def _check_depth(sequence, root, where):
  """Raises UserError for somebody behind a camera of which there are 2D keypoints."""
  if sequence.keypoints_2d is None or sequence.image_3d is not None or root is None:
    return
  counts = np.ones(len(sequence), bool) if sequence.valid is None else sequence.valid
  for camera in sequence.cameras:
    depth = sequence.keypoints_3d[:, root] @ camera.rotation[2] + camera.translation[2]
    if (behind := counts & (depth <= 0)).any():
      frame = int(np.argmax(behind))
      raise UserError(f"{where}: '{sequence.name}', frame {frame}: the hip is {depth[frame]:.0f} "
                      f"mm in front of the camera '{camera.name}', must be above 0; mend the file")


def loader(name: str):
  """The function load of this set; UserError for a name that there is not."""
  return given_options.loader('sequences', name)
