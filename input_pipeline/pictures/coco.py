"""COCO's people in 2D: no depths, no top of the head, crowds to be ignored."""
import collections
import functools

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.plausibility import line
from dslope_jax.skeletons import COCO
from dslope_jax.visibility import is_labelled
from input_pipeline import sources
from input_pipeline.pictures import picture
from input_pipeline.sources.coco import read_row

_FEWEST = 3  # labelled joints of a person that is an example
_NECK = 0.185  # of the line from the hips to the shoulders, above the shoulders: SMAP's code


def load(split, *, root, annotations='', images='', skip_invalid=False):
  """The pictures of a split with at least one labelled person.

  Limbs are COCO's, with its v. The hip is the mean of both hips, v the lower one's; the neck lies
  above the shoulders by 0.185 of the line from hips to shoulders, v the lowest of hip and
  shoulders. People with less than 3 labelled joints and crowds are boxes to ignore. Other options
  and errors as for `sources.coco.load`, whose checks are made.
  """
  named = {'annotations': annotations, 'images': images, 'skip_invalid': skip_invalid}
  source = sources.load('coco', split, root=root, **{k: v for k, v in named.items() if v})
  if source.skeleton.names != COCO.names:
    raise UserError(f'{source.name} {split} has the joints of {source.skeleton.name}, and needs '
                    "COCO's")
  points, visibility = in_mpi15(source.keypoints.astype(np.float64), source.visibility)
  known = source.labelled.sum(1) >= _FEWEST
  examples = set(source.annotation_id[known].tolist())
  ignore, people = collections.defaultdict(list), collections.defaultdict(list)
  for annotation in source.ground_truth['annotations']:
    if annotation['id'] not in examples:
      ignore[annotation['image_id']].append(annotation['bbox'])
  for row in np.flatnonzero(known).tolist():
    people[int(source.image_id[row])].append(row)
  sizes = {p['id']: (p.get('width'), p.get('height')) for p in source.ground_truth['images']}
  blind = [image for image in people if not all(sizes[image])]
  if blind:
    raise UserError(f'{source.name} {split}: picture {blind[0]} states no width and height, which '
                    'are needed; add them')
  found = [picture.Picture(str(source.file[rows[0]]), sizes[image], points[rows], None,
                           visibility[rows], ignore=np.array(ignore[image], float).reshape(-1, 4),
                           take=str(image)) for image, rows in people.items()]
  read = functools.partial(read_row, np.array([p.name for p in found]),
                           np.array([p.size for p in found]))
  return picture.gather(
    f'coco {source.name}', split, found, read,
    channels=picture.channels_without(('head_top',), depth=False),
    notes=[line(finding) for finding in source.findings])


def in_mpi15(keypoints, visibility):
  """(N,15,2), (N,15) of COCO's joints (N,17,2) and their v (N,17); the top of the head is 0."""
  visibility = np.where(is_labelled(visibility), visibility, 0)
  at = {name: keypoints[:, i] for i, name in enumerate(COCO.names)}
  v = {name: visibility[:, i] for i, name in enumerate(COCO.names)}
  hips, shoulders = ((at[f'left_{part}'] + at[f'right_{part}']) / 2 for part in ('hip', 'shoulder'))
  at |= {'hip': hips, 'neck': shoulders + _NECK * (shoulders - hips)}
  v['hip'] = np.minimum(v['left_hip'], v['right_hip'])
  v['neck'] = np.minimum(v['hip'], np.minimum(v['left_shoulder'], v['right_shoulder']))
  at['head_top'], v['head_top'] = np.zeros_like(hips), np.zeros_like(v['hip'])
  return (np.stack([at[name] for name in picture.SKELETON.names], 1),
          np.stack([v[name] for name in picture.SKELETON.names], 1))
