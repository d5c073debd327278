"""Result files: reads COCO's, whichever program wrote them, and writes MPII's."""
import json
import os
from typing import NamedTuple

import numpy as np
import scipy.io

from dslope_jax import plausibility
from dslope_jax.errors import UserError
from dslope_jax.visibility import PROBABILITIES

_MEND = 'mend or remove it'


class Results(NamedTuple):
  """N poses in the order of the file; keypoints in pixels as written.

  image_id: (N,) int64; keypoints: (N,K,2), keypoint_scores: (N,K) and score: (N,) float64.
  right, visible, present: (N,K) probabilities, None where the file has none.
  """
  image_id: np.ndarray
  keypoints: np.ndarray
  keypoint_scores: np.ndarray
  score: np.ndarray
  right: np.ndarray | None = None
  visible: np.ndarray | None = None
  present: np.ndarray | None = None


def read_results(path, truth, num_keypoints) -> Results:
  """The poses of a result file, all of them checked.

  truth: COCO dict of the set that was predicted, for its picture and category ids and the sizes of
  its pictures. num_keypoints: K. Format: https://cocodataset.org/#format-results, a list of dicts
  with image_id, category_id, keypoints (x, y, score for each joint) and score; an empty list is
  valid. Fields that a result may have: `bbox`, x, y, width, height; `right`, `visible`, `present`,
  null or a list of K probabilities, in all results or in none. Others are not read.

  Raises OSError or UserError, one line naming the file, the entry, what is wrong and the mend.
  """
  entries = _parse(path)
  pictures = {image['id']: image for image in truth['images']}
  categories = sorted({category['id'] for category in truth['categories']})
  for i, entry in enumerate(entries):
    problem = (_problem(entry, pictures, categories, num_keypoints) if isinstance(entry, dict)
               else f'is {_shown(entry)}, not a dict; get or make the file again')
    if problem:
      raise UserError(f'{path}: entry {i} {problem}')
  joints = np.array([e['keypoints'] for e in entries], np.float64).reshape(-1, num_keypoints, 3)
  results = Results(np.array([e['image_id'] for e in entries], np.int64), joints[..., :2],
                    joints[..., 2], np.array([e['score'] for e in entries], np.float64),
                    **{field: _probabilities(entries, field, path) for field in PROBABILITIES})
  _refuse_doubles(results, path)
  _refuse_implausible(entries, results, pictures, path)
  return results


def write_mpii(path, keypoints):
  """Poses (N,16,2) of all people of an MPII split, in the order of its file, as a mat file with
  the field `preds`, counted from 1 as MPII does: the form that HRNet's code wrote."""
  scipy.io.savemat(path + '.part', {'preds': np.asarray(keypoints, np.float64) + 1},
                   appendmat=False)
  os.replace(path + '.part', path)


def _parse(path):
  try:
    with open(path, encoding='utf-8-sig') as f:  # some programs begin with a mark
      entries = json.load(f)
  except OSError as error:
    raise OSError(f"cannot read '{path}' ({error.strerror}); check the path") from None
  except (ValueError, RecursionError) as error:
    raise UserError(f'{path}: not a readable json file ({error}); was it written to its end? '
                    'Write it again') from None
  if isinstance(entries, list):
    return entries
  hint = ''
  if isinstance(entries, dict) and 'annotations' in entries:
    hint = '; this looks like an annotation file'
  raise UserError(f'{path}: holds {_shown(entries)}, not a list of results{hint}; give the path '
                  'of the result file, or write its list alone')


def _problem(entry, pictures, categories, num_keypoints):
  """What is wrong with a result and its mend, None if nothing is."""
  missing = [k for k in ('image_id', 'category_id', 'keypoints', 'score') if k not in entry]
  if missing:
    return f"lacks {' and '.join(missing)}; have the program write {' and '.join(missing)}"
  number, category, score = entry['image_id'], entry['category_id'], entry['score']
  if type(number) is not int:
    return f'has the image_id {_shown(number)}, not a whole number; write the id as in the truth'
  if number not in pictures:
    return (f'is of picture {number}, which the truth does not have; is it the result of another '
            'split?')
  if type(category) is not int or category not in categories:
    return (f'has the category_id {_shown(category)}, the truth has {_listed(categories)}; write '
            'that, or leave out results of other categories')
  if not _finite(score):
    return f'has the score {_shown(score)}, not a finite number; {_MEND}'
  for field in PROBABILITIES:
    values = entry.get(field)
    if values is not None and not (isinstance(values, list) and len(values) == num_keypoints
                                   and all(_finite(v) and 0 <= v <= 1 for v in values)):
      return (f'has {_shown(values)} as {field}, not {num_keypoints} probabilities from 0 to 1; '
              'mend it, or write null')
  return _joint_problem(entry['keypoints'], num_keypoints)


def _probabilities(entries, field, path):
  """(N,K) of a field that all results have, None where none has it. Raises UserError where only
  some have it: what the others mean nobody knows."""
  values = [entry.get(field) for entry in entries]
  lacking = [i for i, value in enumerate(values) if value is None]
  if len(lacking) == len(values):
    return None
  if lacking:
    raise UserError(f'{path}: {len(lacking)} of {len(values)} entries, such as entry {lacking[0]}, '
                    f'have no {field}, the others do; write it for all of them, or for none')
  return np.array(values, np.float64)


def _joint_problem(joints, num_keypoints):
  if not isinstance(joints, list):
    return f'has {_shown(joints)} as keypoints, not a list; write x, y, score of every joint in one'
  wanted = 3 * num_keypoints
  if len(joints) != wanted:
    if len(joints) == num_keypoints and isinstance(joints[0], list):
      says = 'lists of their own for the joints; write all numbers in one list'
    elif len(joints) == 2 * num_keypoints:
      says = f'{len(joints)} keypoint numbers, as of x, y alone; write x, y, score of every joint'
    elif len(joints) % 3 == 0:
      says = (f'{len(joints) // 3} keypoints, the truth has {num_keypoints}; bring them to its '
              'joints and their order')
    else:
      says = f'{len(joints)} keypoint numbers, {num_keypoints} joints need {wanted}; write x, y, ' \
             'score of every joint'
    return f'has {says}'
  bad = next((j for j, v in enumerate(joints) if not _finite(v)), None)
  if bad is not None:
    return (f"has {_shown(joints[bad])} as {('x', 'y', 'score')[bad % 3]} of joint {bad // 3}, not "
            f'a finite number; {_MEND}')
  return None


def _refuse_doubles(results, path):
  """UserError if one picture has the same pose twice, as when parts of a run were joined; but for
  poses of zeros alone, which stand for people without joints."""
  rows = np.flatnonzero(results.keypoints.any((1, 2)))
  images, poses = results.image_id[rows], results.keypoints[rows]
  again = np.setdiff1d(np.arange(len(rows)), plausibility.first_of_equals(images, poses))
  if again.size:
    i = again[0]
    first = np.flatnonzero((images == images[i]) & (poses == poses[i]).all((1, 2)))[0]
    raise UserError(f'{path}: entries {rows[first]} and {rows[i]} are the same pose of picture '
                    f'{images[i]}; were the parts of a run joined twice? Keep one of them')


def _refuse_implausible(entries, results, pictures, path):
  """UserError if joints or boxes cannot be in pixels of their pictures, or boxes are corners."""
  given = [entry.get('bbox') for entry in entries]
  for i, box in enumerate(given):
    if box is not None and not (isinstance(box, list) and len(box) == 4 and all(
        map(_finite, box))):
      raise UserError(f'{path}: entry {i} has the bbox {_shown(box)}, not four finite numbers x, '
                      f'y, width, height; {_MEND}')
  sizes = [[pictures[entry['image_id']].get(side) or 0 for side in ('width', 'height')]
           for entry in entries]
  posed = results.keypoints.any((1, 2))
  plausibility.refuse(plausibility.check(plausibility.Table(
    np.arange(len(entries)), np.array(sizes, np.float64).reshape(-1, 2),
    np.array([box or [np.nan] * 4 for box in given], np.float64).reshape(-1, 4), results.keypoints,
    np.broadcast_to(posed[:, None], results.keypoint_scores.shape)), placed=False), path, 'entry')


def _finite(value):
  return type(value) in (int, float) and abs(value) < 1e9


def _listed(numbers):
  return ', '.join(map(str, numbers))


def _shown(value):
  text = repr(value)
  return text if len(text) <= 40 else text[:36] + ' ...'
