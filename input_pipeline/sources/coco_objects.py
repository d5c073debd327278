"""The things of a COCO instance file with their masks: what may stand in front of people."""
import dataclasses
import functools

import numpy as np

from dslope_jax import skeletons
from dslope_jax.errors import UserError, quoted
from input_pipeline.sources import checks, coco, masks
from input_pipeline.sources.source import Source

_PEOPLE = 'person'
_MIN_SIDE = 2  # pixels; COCO holds a few boxes without area, of which no cut-out can be made


def load(split, *, root, annotations='annotations/instances_{split}.json', images='',
         aspect=0.75, padding=1.25, skip_invalid=False) -> Source:
  """The things with a mask of one split: every category but people, no crowds.

  The options are those of `coco.load`; images='.' where the names in the file start at the root.
  The keypoints are COCO's, none of them labelled; `parts` is {'object': mask}. Things that are
  less than 2 pixels wide or high are left out.

  Raises FileNotFoundError or UserError, one line naming the file, the annotation and the mend.
  """
  path, folder = coco.find_set(root, (annotations,), images, split)
  truth = coco.read_json(path, coco.COCO_LISTS)
  things = _things(truth, path, skip_invalid)
  source = coco.make_source(things, split, skeletons.COCO, path, folder, aspect, padding)
  return dataclasses.replace(source, parts=functools.partial(_parts, source.mask))


def _parts(mask, row):
  return {'object': mask(row)}


def _things(truth, path, skip_invalid):
  categories, pictures = _category_names(truth, path), checks.index_pictures(truth, path)
  annotations, rows, faults = truth['annotations'], [], {}
  boxes = checks.numbers([a.get('bbox') for a in annotations], 4)
  thin = (boxes[:, 2:].min(1) < _MIN_SIDE).tolist()
  for row, annotation in enumerate(annotations):
    number, picture = annotation.get('category_id'), annotation.get('image_id')
    name = categories.get(number) if isinstance(number, int) else None
    if name is None:
      faults[row] = 'category_id', f'category_id {quoted(number)} matches no category of the file'
    elif name == _PEOPLE or annotation.get('iscrowd') or not annotation.get(
        'segmentation') or masks.is_bare(annotation['segmentation']):
      continue
    elif isinstance(picture, int) and not pictures.get(picture, {}).get('width'):
      faults[row] = 'size', f'its mask needs the width and height of picture {picture}'
    elif not thin[row]:
      rows.append(row)
  unlabelled = np.zeros((len(rows), skeletons.COCO.num_keypoints, 3))
  things, _ = checks.examples(annotations, pictures, np.array(rows, np.int64), unlabelled, faults,
                              path, skip_invalid)
  if not things.annotations:
    raise UserError(f'{path}: no annotation of a category other than {_PEOPLE} has a segmentation '
                    'and is no crowd; give the path of an instance file')
  return things


def _category_names(truth, path):
  names = {}
  for i, category in enumerate(truth['categories']):
    number, name = category.get('id'), category.get('name')
    if not isinstance(number, int) or not isinstance(name, str) or number in names:
      raise UserError(f"{path}: entry {i} of 'categories' has the id {number!r} and the name "
                      f'{name!r}; give it a number of its own and a name')
    names[number] = name
  return names
