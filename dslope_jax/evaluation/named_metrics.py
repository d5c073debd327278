"""The metrics that a config can name, of `Answers`.

Each gives ({metric: number}, {metric: (numerator, denominator)}): the numbers of a row of the
table, the main one first, and of those that are a ratio of sums its parts for each person who
counts, two arrays (M,).
"""
import functools

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.metrics import crowdpose_ap, ex_oks, keypoint_ap, nme, occlusion, pck
from dslope_jax.skeletons import JHMDB

_FAR = 1e6  # pixels: where the pose of a missed person is, as wrong as none


def _none(answers):
  return {}, {}


def _coco_ap(answers):
  s = answers.subjects
  return _percent(keypoint_ap.coco_ap(answers.truth, answers.results, s.skeleton.sigmas)), {}


def _ex_coco_ap(answers):
  s = answers.subjects
  found = ex_oks.ex_ap(answers.truth, answers.results, answers.people, s.skeleton.sigmas,
                       answers.seen)
  return _percent(found) | _coco_ap(answers)[0], {}


def _crowdpose_ap(answers):
  return _percent(crowdpose_ap.crowdpose_ap(answers.truth, answers.results)), {}


def _percent(table):
  return {name: 100 * value for name, value in table.items()}


def _pckh(answers):
  case = *_compared(answers), _head_size(answers.subjects)[answers.subjects.counted]
  table = pck.mpii_table(*case)
  right, counted = pck.within(*case, 0.5)
  parts = 100 * right[:, pck.IN_MPII_MEAN].sum(1), counted[:, pck.IN_MPII_MEAN].sum(1)
  return {'PCKh@0.5': table.pop('Mean')} | table, {'PCKh@0.5': parts}


def _pck(answers):
  case = *_compared(answers), _torso(answers.subjects)[answers.subjects.counted]
  table = pck.pck(*case, 0.2)
  right, counted = pck.within(*case, 0.2)
  return ({'PCK@0.2': table['PCK'], 'no_reference': table['people_without_reference']},
          {'PCK@0.2': (100 * right.sum(1), counted.sum(1))})


def _jhmdb_pck(answers):
  predictions, truth, labelled = _compared(answers)
  lengths = {'box': pck.box_length(_boxes(answers.subjects)[answers.subjects.counted]),
             'torso': pck.jhmdb_torso(truth, predictions)}
  return {f'PCK@0.2({name})': pck.jhmdb_table(predictions, truth, labelled, reference)['Mean']
          for name, reference in lengths.items()}, {}


def _nme(reference, answers):
  counted = answers.subjects.counted
  predictions, truth, labelled = _compared(answers)
  of_points = lambda shown: nme.face_errors(
    predictions, truth, shown, reference(answers.subjects)[counted], answers.rows[counted] < 0)
  errors = of_points(labelled)
  table, finite = nme.nme_table(errors), np.isfinite(errors)
  groups = occlusion.joint_groups(answers.people.visibility, answers.people.covered)
  for name, points in groups.items():
    table[f'NME({name})'] = nme.nme_table(of_points(points[counted]))['NME']
  for name, faces in _subsets(answers.subjects).items():
    part = nme.nme_table(errors[faces[counted]])
    table |= {f'{metric}({name})': part[metric] for metric in ('NME', 'FR@0.10', 'AUC@0.10')}
  return table, {'NME': (100 * np.where(finite, errors, 0), finite)}


def _subsets(subjects):
  """{name: (P,) bool} of the parts of a set that its annotations are of, in order of the names."""
  named = [annotation.get('subsets') or () for annotation in subjects.truth['annotations']]
  return {name: np.array([name in own for own in named], bool)
          for name in sorted(set().union(*named))}


def _compared(answers):
  """Of the M people who count: predictions (M,K,2), truth (M,K,2), labelled (M,K)."""
  people, counted = answers.subjects.people, answers.subjects.counted
  return (np.nan_to_num(answers.keypoints[counted], nan=_FAR), people.keypoints[counted],
          answers.people.labelled[counted])


def _head_size(subjects):
  """(P,) pixels, as the other lengths here; 0 or NaN for people without it."""
  none = np.zeros(len(subjects.own))
  return subjects.by_person(none if subjects.head_size is None else subjects.head_size, 0)


def _torso(subjects):
  people = subjects.people
  return pck.torso_diagonal(people.keypoints, people.visibility, subjects.skeleton)


def _of_eyes(distance, subjects):
  return distance(subjects.people.keypoints, subjects.people.labelled, subjects.skeleton)


def _box_side(subjects):
  if subjects.reference is not None:
    return subjects.by_person(subjects.reference, 0)
  return nme.box_side(_boxes(subjects))


def _boxes(subjects):
  """(P,4) annotated boxes; those of the rows are clipped to the picture."""
  boxes = subjects.people.boxes.copy()
  if not subjects.detections:
    shown = subjects.own >= 0
    boxes[subjects.own[shown]] = subjects.box[shown]
  return boxes


_inter_ocular = functools.partial(_of_eyes, nme.inter_ocular)
_inter_pupil = functools.partial(_of_eyes, nme.inter_pupil)
METRICS = {'none': _none, 'coco_ap': _coco_ap, 'ex_coco_ap': _ex_coco_ap,
           'crowdpose_ap': _crowdpose_ap, 'pckh': _pckh, 'pck': _pck, 'jhmdb_pck': _jhmdb_pck,
           'nme': functools.partial(_nme, _inter_ocular),
           'nme_pupil': functools.partial(_nme, _inter_pupil),
           'nme_box': functools.partial(_nme, _box_side)}
# These are of a set's detections, so double poses are suppressed.
OF_DETECTIONS = ('none', 'coco_ap', 'ex_coco_ap', 'crowdpose_ap')
# {metric: (lengths that it divides by, what has them, what to do where nobody has)}
_NEEDS = {
  'pckh': (_head_size, 'head sizes', "MPII has them for split 'valid', in annot/gt_valid.mat; "
           "choose 'pck'"),
  'pck': (_torso, 'people with shoulders and hips', "choose 'coco_ap'"),
  'nme': (_inter_ocular, 'faces with both outer corners of the eyes labelled', "choose 'nme_box'"),
  'nme_pupil': (_inter_pupil, 'faces with both pupils, or all points of both eyes, labelled',
                "choose 'nme_box'"),
  'nme_box': (_box_side, 'faces with a box', "choose 'none'")}


def divided_by(metric, subjects) -> str:
  """What an NME is divided by, for stamps; empty for other metrics."""
  if metric == 'nme_box' and subjects.reference is not None:
    return 'box side of the annotations'
  pupils = subjects.skeleton.index('left_pupil') is not None
  return {'nme': 'outer corners of the eyes', 'nme_box': 'root of the box area',
          'nme_pupil': 'pupils' if pupils else 'middles of the eyes'}.get(metric, '')


def check_fit(metric, subjects):
  """Raises UserError, before anything is trained, where a metric lacks what it needs."""
  if metric not in METRICS:
    raise UserError(f"an eval's metric is one of {sorted(METRICS)}, not '{metric}'")
  where, counted = f'{subjects.name} {subjects.split}', subjects.counted
  if metric != 'none' and not counted.any():
    raise UserError(f"metric '{metric}' needs annotated joints, which {where} lacks; choose "
                    "'none', which only writes the poses")
  lengths, needed, mend = _NEEDS.get(metric, (None, '', ''))
  if lengths and not (lengths(subjects)[counted] > 0).any():
    raise UserError(f"metric '{metric}' needs {needed}, which {where} lacks; {mend}")
  if metric == 'jhmdb_pck' and subjects.skeleton.names != JHMDB.names:
    raise UserError(f"metric 'jhmdb_pck' is for the keypoints of JHMDB, which {where} has not; "
                    "choose 'pck'")
  if metric == 'crowdpose_ap' and any('crowdIndex' not in e for e in subjects.truth['images']):
    raise UserError(f"metric 'crowdpose_ap' needs a crowdIndex for every picture, which {where} "
                    "lacks; choose 'coco_ap'")
