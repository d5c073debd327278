"""MuPoTS-3D: 20 videos of people indoors and outdoors, to be tested on.

Files: TS1/ to TS20/ with annot.mat, occlusion.mat and img_000000.jpg, ... (Mehta et al.,
Single-Shot Multi-Person 3D Pose Estimation From Monocular RGB, 3DV 2018); or a file in the form of
`canonical`.
"""
import os
import re

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import MPI_INF_3DHP
from dslope_jax.visibility import HIDDEN, VISIBLE
from input_pipeline.pictures import canonical, files, picture
from input_pipeline.sources.mat_files import read_variable
from input_pipeline.sources.pictures import checked_header, read_file

_HOW_TO_GET = ('MuPoTS-3D is MultiPersonTestSet of mupots-3d.zip from vcai.mpi-inf.mpg.de, for '
               'research only; then pass --config.data.root=FOLDER, which holds TS1 to TS20')
TRUTHS = {'univ': 'univ_annot3', 'metric': 'annot3'}
# The 17 joints are those of MPI-INF-3DHP; two of them have no place in MPI15.
_OF_17 = [MPI_INF_3DHP.index(name) for name in picture.SKELETON.names]
_FEWEST = 30  # joints that fix a camera


def load(split='test', *, root, truth='univ', sequences='', annotations='', images='',
         visibility='set'):
  """The frames of the sequences named, 'TS1,TS6', or of all that are there.

  truth: 'univ', the annotation of published scores, in which all people are of one size; or
  'metric'. People who are not valid in a frame are boxes to ignore. The set has no cameras: one of
  a sequence is fitted to its joints in pixels and in space. visibility: 'set', by occlusion.mat;
  'proxy', see `picture.gather`. annotations: a file in the form of `canonical` below root, which
  says what is the truth and of which sequences.
  """
  if split not in ('test', 'all'):
    raise UserError(f"a split of mupots is test, not '{split}'")
  if truth not in TRUTHS:
    raise UserError(f"mupots: truth is one of {', '.join(TRUTHS)}, not '{truth}'")
  if annotations:
    if truth != 'univ' or sequences:
      raise UserError('mupots: the file of annotations says what is the truth and of which '
                      'sequences; leave data.loader.truth and data.loader.sequences out')
    return canonical.load('all', root=root, annotations=annotations, images=images,
                          visibility=visibility)
  found = []
  for name in _sequences(root, sequences):
    found += _sequence(root, name, TRUTHS[truth])
  read = files.reader(root, found, root, _HOW_TO_GET)
  return picture.gather(f'mupots {truth}', 'test', found, read, visibility=visibility)


def _sequences(root, wanted):
  there = [name for name in (os.listdir(root) if os.path.isdir(root) else ())
           if re.fullmatch(r'TS\d+', name)]
  names = [name.strip() for name in wanted.split(',')] if wanted else there
  missing = [name for name in names if name not in there]
  if missing or not names:
    raise FileNotFoundError(f"no folder {(missing or ['TS1'])[0]!r} in '{root}'. "
                            f'{_HOW_TO_GET}')
  return sorted(names, key=lambda name: int(name[2:]))


def _sequence(root, name, field):
  """The `Picture`s of a sequence."""
  path, other = (os.path.join(root, name, f'{of}.mat') for of in ('annot', 'occlusion'))
  for file in path, other:
    if not os.path.isfile(file):
      raise FileNotFoundError(f"no file '{file}'. {_HOW_TO_GET}")
  people = read_variable(path, 'annotations')
  hidden = read_variable(other, 'occlusion_labels')
  if people.ndim != 2 or hidden.shape != people.shape or not people.size:
    raise UserError(f"{path}: 'annotations' is {people.shape}, and occlusion.mat {hidden.shape}; "
                    'both are frames x people. Get the files again')
  columns = [[_person(person, labels, field, f'{path}: frame {f}, person {p}')
              for p, (person, labels) in enumerate(zip(*frame, strict=True))]
             for f, frame in enumerate(zip(people, hidden, strict=True))]
  points, places, occluded, valid = (
    np.array([[person[i] for person in frame] for frame in columns]) for i in range(4))
  visibility = np.where(occluded > 0, HIDDEN, VISIBLE)[..., _OF_17]
  first = os.path.join(root, name, 'img_000000.jpg')
  if not os.path.isfile(first):
    raise FileNotFoundError(f"no picture '{first}'. {_HOW_TO_GET}")
  header = checked_header(first, read_file(first))
  camera = fitted_camera(places[valid], points[valid])
  return [picture.Picture(
    f'{name}/img_{frame:06d}.jpg', (header.width, header.height), points[frame, good][:, _OF_17],
    places[frame, good][:, _OF_17] / 10, visibility[frame, good], camera,
    _boxes(points[frame, ~good]), name, name) for frame, good in enumerate(valid)]


def _person(person, labels, field, where):
  """(17,2) pixels, (17,3) mm, (17,) 1 for hidden joints, and whether the person is valid."""
  if not person.size:
    return np.zeros((17, 2)), np.zeros((17, 3)), np.zeros(17), False
  try:
    of = {name: person[name].item() for name in ('annot2', field, 'isValidFrame')}
  except (AttributeError, IndexError, KeyError, TypeError, ValueError):
    raise UserError(f'{where}: annot2, {field} or isValidFrame is not there; get the file again'
                    ) from None
  valid = bool(np.any(of['isValidFrame']))
  return (files.numbers(of['annot2'], (2, 17), f"{where}: 'annot2'").T,
          files.numbers(of[field], (3, 17), f"{where}: '{field}'").T,
          files.numbers(np.ravel(labels), (17,), f'{where}: its occlusion labels') if valid
          else np.zeros(17), valid)


def fitted_camera(places, points):
  """(4,) fx fy cx cy that project places (N,J,3) onto points (N,J,2) in the mean, None of too few;
  places without a depth do not count."""
  places, points = places.reshape(-1, 3), points.reshape(-1, 2)
  good = np.isfinite(places).all(1) & np.isfinite(points).all(1) & (places[:, 2] > 0)
  if good.sum() < _FEWEST:
    return None
  flat = places[good, :2] / places[good, 2:]
  (fx, cx), (fy, cy) = (np.polyfit(flat[:, i], points[good, i], 1) for i in range(2))
  return np.array([fx, fy, cx, cy])


def _boxes(points):
  """(M,4) boxes around people (N,17,2) whose joints are somewhere."""
  points = points[np.isfinite(points).all((1, 2)) & points.any((1, 2))]
  return np.concatenate([points.min(1), np.ptp(points, axis=1)], 1)
