"""From poses to numbers: the metric of the protocol, shares by visibility, the occlusion report.

Poses are dicts {'keypoints' (N,K,2) picture pixels, 'scores' (N,K) heatmap maxima}, by row of the
table: NETWORK/VIEW or NETWORK/READOUT/VIEW. Percentages, AP, AR and ECE are all times 100.
"""
import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from dslope_jax.evaluation.base import SampleTable, Scores
from dslope_jax.metrics import (
  calibration,
  crowdpose_ap,
  keypoint_ap,
  mixture,
  nme,
  occlusion,
  occlusion_report,
  pck,
  pose_errors,
  result_files,
)
from dslope_jax.metrics.people import People
from dslope_jax.skeletons import Skeleton


class Subjects(NamedTuple):
  """The N people whose poses were predicted, and everybody annotated beside them.

  name, split: of the data set. people: everybody annotated, crowds too; truth: the same as a COCO
  dict. own: (N,) row of `people` that a row shows; -1: nobody (a detector's box that met nobody).
  detections: the rows are a detector's boxes; their poses belong to nobody in particular.
  image_id, box_score (N,); keypoints (N,K,2), visibility (N,K), box (N,4) of the own person;
  crop_area: (N,) square pixels, for OKS-NMS. category_id: of results. head_size, reference: (N,)
  lengths that PCKh and NME divide by, or None. annotated_covered: (N,K) joints that the pictures
  themselves have covered, as in an exported benchmark, or None.
  """
  name: str
  split: str
  skeleton: Skeleton
  people: People
  truth: dict
  own: np.ndarray
  detections: bool
  image_id: np.ndarray
  keypoints: np.ndarray
  visibility: np.ndarray
  box: np.ndarray
  box_score: np.ndarray
  crop_area: np.ndarray
  category_id: int
  head_size: np.ndarray | None = None
  reference: np.ndarray | None = None
  annotated_covered: np.ndarray | None = None

  @property
  def labelled(self):
    return self.visibility > 0

  @property
  def area(self):
    """(N,) annotated area of the own person; 1 for nobody, who has no joint to be right."""
    return np.where(self.own >= 0, self.people.areas[self.own], 1.0)

  def subset(self, rows) -> 'Subjects':
    """These rows; everybody annotated stays."""
    columns = ('own', 'image_id', 'keypoints', 'visibility', 'box', 'box_score', 'crop_area',
               'head_size', 'reference', 'annotated_covered')
    return self._replace(**{name: getattr(self, name)[rows] for name in columns
                            if getattr(self, name) is not None})


# --- the metric of the protocol -------------------------------------------------------------------

def _coco_ap(subjects, pose, results):
  return _hundredfold(keypoint_ap.coco_ap(subjects.truth, results, subjects.skeleton.sigmas))


def _crowdpose_ap(subjects, pose, results):
  return _hundredfold(crowdpose_ap.crowdpose_ap(subjects.truth, results))


def _pckh(subjects, pose, results):
  return pck.mpii_table(pose['keypoints'], subjects.keypoints, subjects.labelled,
                        subjects.head_size)


def _pck(subjects, pose, results):
  table = pck.pck(pose['keypoints'], subjects.keypoints, subjects.labelled, _torso(subjects), 0.2,
                  subjects.skeleton.names)
  return {'PCK@0.2': table.pop('PCK')} | table


def _jhmdb_pck(subjects, pose, results):
  tables = {'box': pck.box_length(subjects.box),
            'torso': pck.jhmdb_torso(subjects.keypoints, pose['keypoints'])}
  return {f'PCK@0.2({name})': pck.jhmdb_table(pose['keypoints'], subjects.keypoints,
                                              subjects.labelled, reference)['Mean']
          for name, reference in tables.items()}


def _nme(reference, subjects, pose, results):
  return nme.nme_table(pose['keypoints'], subjects.keypoints, subjects.labelled,
                       reference(subjects), pose.get('missed'))


def _torso(subjects):
  return pck.torso_diagonal(subjects.keypoints, subjects.visibility, subjects.skeleton)


def _between(distance):
  return lambda s: distance(s.keypoints, s.skeleton, s.visibility)


def _of_box(subjects):
  """The stated length where the set has one (AFLW), else the side of the box."""
  return nme.box_side(subjects.box) if subjects.reference is None else subjects.reference


_REFERENCES = {'nme': _between(nme.inter_ocular), 'nme_pupil': _between(nme.inter_pupil),
               'nme_box': _of_box}
METRICS = {'none': lambda *_: {}, 'coco_ap': _coco_ap, 'crowdpose_ap': _crowdpose_ap,
           'pckh': _pckh, 'pck': _pck, 'jhmdb_pck': _jhmdb_pck,
           **{name: functools.partial(_nme, reference)
              for name, reference in _REFERENCES.items()}}
# These are of a set's detections, so doubles are suppressed.
_OF_DETECTIONS = ('none', 'coco_ap', 'crowdpose_ap')


def _hundredfold(numbers):
  return {k: 100 * v if isinstance(v, float) else v for k, v in numbers.items()}


def check_fit(metric, subjects):
  """Raises ValueError, before anything is trained, where a metric lacks what it divides by."""
  if metric not in METRICS:
    raise ValueError(f"an eval's metric is one of {sorted(METRICS)}, not '{metric}'")
  where = f'{subjects.name} {subjects.split}'
  if metric != 'none' and not subjects.labelled.any():
    raise ValueError(f"metric '{metric}' needs annotated joints, which {where} lacks; choose "
                     "'none', which only writes the poses")
  if metric == 'pckh' and (subjects.head_size is None or not (subjects.head_size > 0).any()):
    raise ValueError(f"metric 'pckh' needs head sizes, which {where} lacks (MPII has them for "
                     "split 'valid', in annot/gt_valid.mat); choose 'pck'")
  if metric == 'pck' and not _torso(subjects).any():
    raise ValueError(f"metric 'pck' needs people with shoulders and hips, which {where} lacks; "
                     "pass --config.evals.NAME.metric=coco_ap")
  if metric in _REFERENCES and not (_REFERENCES[metric](subjects) > 0).any():
    raise ValueError(f"metric '{metric}' needs faces on which both points that it divides by are "
                     f"labelled, which {where} lacks; choose 'nme_box'")
  if metric == 'crowdpose_ap' and any('crowdIndex' not in e for e in subjects.truth['images']):
    raise ValueError(f"metric 'crowdpose_ap' needs a crowdIndex for every picture, which {where} "
                     "lacks; choose 'coco_ap'")


# --- all numbers of an evaluation -----------------------------------------------------------------

def score(subjects: Subjects, poses: dict, covered, *, metric, oks_nms=0.9, mixes=(), fits=None,
          held_out=None, full=True) -> Scores:
  """Numbers of every row, and of the rows in which two networks answer together.

  poses: {row: pose}; a pose may hold 'detections': dict(image_id (M,), keypoints (M,K,2),
    keypoint_scores (M,K), score (M,)), of which AP is taken as they are.
  covered: (N,K) joints under a patch. mixes: pairs of rows without their view, such as
    ('gnet', 'enet'). held_out: (subjects, poses, covered) of people to calibrate on; fits: an
    earlier calibration in its place. full: else only the numbers of the metric.
  """
  if held_out:
    fits = calibrate(*held_out, mixes)
  poses = with_probabilities(poses, fits)
  results, samples, files, reports, trust, joints, worst = {}, {}, {}, {}, {}, {}, {}
  for row, pose in (poses | mixtures(poses, mixes, fits)).items():
    found, kept = coco_results(subjects, pose, oks_nms if metric in _OF_DETECTIONS else 0)
    results[row] = METRICS[metric](subjects, pose, found)
    if not full:
      continue
    name = row.replace('/', '_')
    files[f'predictions_{name}.json'] = found
    if subjects.skeleton.name == 'mpii':
      files[f'predictions_{name}.mat'] = pose['keypoints']
    if metric == 'none':
      continue
    own, right = _assign(subjects, pose)
    table = _of_people(subjects, own, right, covered)
    results[row] |= by_visibility(table)
    samples[row] = _samples(subjects, pose, table, metric)
    reports[row] = _report(subjects, pose, own, covered, kept)
    joints[row] = per_joint(table, subjects.skeleton)
    if row in poses:
      worst[row] = (right & subjects.labelled).sum(1)
    if fits:
      trust[row] = _trust(subjects, pose, right, covered, fits, row)
      results[row] |= {'ECE': trust[row]['right']['ece']}
  if full:
    files['report.json'] = {'report': reports, 'reliability': trust, 'per_joint': joints}
  if full and fits:
    files['calibration.json'] = fits
  return Scores(results, samples, files, _hardest(subjects, worst))


def coco_results(subjects, pose, oks_nms):
  """COCO result dicts of all poses, rescored (box times mean joint) and, with a threshold,
  suppressed; and the rows that were kept.

  Where a pose has probabilities 'right' and 'visible' (N,K), every result gets them, too.
  """
  if 'detections' in pose:
    d = pose['detections']
    return keypoint_ap.to_coco_results(d['image_id'], d['keypoints'], d['keypoint_scores'],
                                       d['score'], subjects.category_id), None
  scores = keypoint_ap.rescore(pose['scores'], subjects.box_score)
  kept = np.arange(len(scores))
  if oks_nms:
    kept = keypoint_ap.select(subjects.image_id, pose['keypoints'], scores, subjects.crop_area,
                              subjects.skeleton.sigmas, oks_nms)
  results = keypoint_ap.to_coco_results(subjects.image_id[kept], pose['keypoints'][kept],
                                        pose['scores'][kept], scores[kept], subjects.category_id)
  for field in ('right', 'visible'):
    if field in pose:
      for result, values in zip(results, pose[field][kept].round(4).tolist(), strict=True):
        result[field] = values
  return results, kept


def _assign(subjects, pose):
  """(own (N,) row of `people` that each pose is compared with, -1 for nobody; right (N,K) joints).

  Poses in annotated boxes are those of the box's person. A detector's boxes belong to nobody in
  particular: each person gets the one pose that is most like it, whichever box it came from.
  """
  own = subjects.own
  if subjects.detections:
    poses_of = pose_errors.match(subjects.people, subjects.image_id, pose['keypoints'],
                                 subjects.skeleton.sigmas)
    own = np.full(len(own), -1)
    rows = np.flatnonzero(poses_of >= 0)
    own[poses_of[rows]] = rows
  everybody = subjects.people
  right = occlusion.oks_correct(pose['keypoints'], everybody.keypoints[own],
                                np.where(own >= 0, everybody.areas[own], 1.0),
                                subjects.skeleton.sigmas)
  return own, right & (own >= 0)[:, None]


def right_joints(subjects, keypoints):
  """(N,K) bool: joints whose own OKS with the row's own person is at least one half."""
  return occlusion.oks_correct(keypoints, subjects.keypoints, subjects.area,
                               subjects.skeleton.sigmas)


class _Joints(NamedTuple):
  """The joints of each person that a table counts."""
  image_id: np.ndarray
  visibility: np.ndarray
  right: np.ndarray
  covered: np.ndarray

  @property
  def labelled(self):
    return self.visibility > 0


def _of_people(subjects, own, right, covered) -> _Joints:
  """The joints of the people that the rows show.

  Of a detector's boxes these are all annotated people: one without a pose has no right joint. A
  patch belongs to the person it was pasted on, whichever pose that person is given.
  """
  if not subjects.detections:
    return _Joints(subjects.image_id, subjects.visibility, right, covered)
  everybody = subjects.people
  found, hidden = (np.zeros(everybody.visibility.shape, bool) for _ in range(2))
  found[own[own >= 0]] = right[own >= 0]
  np.logical_or.at(hidden, subjects.own[subjects.own >= 0], covered[subjects.own >= 0])
  counted = everybody.counted
  return _Joints(everybody.image_id[counted], everybody.visibility[counted], found[counted],
                 hidden[counted])


def by_visibility(table):
  """Share of right joints among visible, hidden (v = 1) and patch-covered ones, in percent."""
  shares = occlusion.split(table.right, occlusion.joint_groups(table.visibility, table.covered))
  return {f'{k}_joints': v['share'] for k, v in shares.items()}


def per_joint(table, skeleton):
  """{joint: percent of its labelled ones that are right}; joints that nobody has are left out."""
  return {name: 100 * float(table.right[table.labelled[:, k], k].mean())
          for k, name in enumerate(skeleton.names) if table.labelled[:, k].any()}


def _samples(subjects, pose, people, metric):
  table = lambda hits, count, group=subjects.image_id: SampleTable(
    np.asarray(group), 100.0 * hits, count.astype(np.float64))
  labelled = people.labelled
  tables = {'right_joints': table((people.right & labelled).sum(1), labelled.sum(1),
                                  people.image_id)}
  labelled = subjects.labelled
  if metric in ('pck', 'pckh'):
    reference, share, name = ((_torso(subjects), 0.2, 'PCK@0.2') if metric == 'pck' else
                              (subjects.head_size, 0.5, 'PCKh@0.5 of joints'))
    near = np.linalg.norm(pose['keypoints'] - subjects.keypoints, axis=-1) <= (
      share * np.asarray(reference)[:, None])
    counted = labelled & (np.asarray(reference) > 0)[:, None]
    tables[name] = table((near & counted).sum(1), counted.sum(1))
  if metric in _REFERENCES:
    errors = nme.face_errors(pose['keypoints'], subjects.keypoints, labelled,
                             _REFERENCES[metric](subjects))
    counted = ~np.isnan(errors) & ~pose.get('missed', np.zeros(len(errors), bool))
    tables['NME'] = table(np.where(counted, errors, 0), counted)
  return tables


def _report(subjects, pose, own, covered, kept):
  """`occlusion_report.report` of the people who have poses."""
  everybody = subjects.people
  predictions = np.full(everybody.keypoints.shape, np.nan)
  flags = np.zeros(everybody.visibility.shape, bool)
  predictions[own[own >= 0]] = pose['keypoints'][own >= 0]
  np.logical_or.at(flags, subjects.own[subjects.own >= 0], covered[subjects.own >= 0])
  detections = pose.get('detections') or {
    'image_id': subjects.image_id[kept], 'keypoints': pose['keypoints'][kept],
    'score': keypoint_ap.rescore(pose['scores'], subjects.box_score)[kept]}
  poses = {'image_id': detections['image_id'], 'keypoints': detections['keypoints'],
           'scores': detections['score']}
  return occlusion_report.report(dataclasses.replace(everybody, covered=flags), predictions, poses,
                                 subjects.skeleton)


def _hardest(subjects, right):
  """Rows with a labelled joint, those with the fewest right ones first; right: {row of the table:
  (N,) number of right joints}, on the occluded view where there is one."""
  counts = [right[row] for row in right if row.endswith('/occluded')] or list(right.values())
  labelled = subjects.labelled.sum(1)
  share = sum(counts, np.zeros(len(labelled))) / np.maximum(labelled, 1)
  return tuple(int(row) for row in np.argsort(share, kind='stable') if labelled[row])


# --- confidences, and networks that answer together -----------------------------------------------

def mixtures(poses, mixes, fits=None):
  """Poses of two networks together, 'RULE/VIEW' or 'RULE/READOUT/VIEW': plain average, weighted by
  confidence, the more confident one of each joint and, where it was fitted, a gate.

  poses: {row: pose}. mixes: pairs of rows without view. fits: of `calibrate`, or None for raw
  heatmap maxima.
  """
  out, fits = {}, fits or {}
  for pair in mixes:
    readout = ''.join(f'/{part}' for part in pair[0].split('/')[1:])
    right = [fits.get('right', {}).get(name) for name in pair]
    gate = fits.get('gate', {}).get(pair[0])
    for view in dict.fromkeys(row.rsplit('/', 1)[1] for row in poses):
      both = [poses.get(f'{name}/{view}') for name in pair]
      if None in both:
        continue
      keypoints, scores = (np.stack([pose[field] for pose in both])
                           for field in ('keypoints', 'scores'))
      for rule, function in mixture.RULES.items():
        if rule != 'gate' or gate:
          mixed = function(keypoints, scores, gate if rule == 'gate' else right)
          out[f'{rule}{readout}/{view}'] = dict(zip(('keypoints', 'scores'), mixed, strict=True))
  return out


def calibrate(subjects, poses, covered, mixes=()):
  """Fits on people that no network was trained on: {'right', 'visible': {network: fit}, 'gate':
  {first row of a pair: fit}, 'people'}.

  right: a joint's own OKS reaching one half; visible: labelled visible and not covered. All views
  together, since at test time nobody says which it is.
  """
  views = list(dict.fromkeys(row.rsplit('/', 1)[1] for row in poses))
  names = list(dict.fromkeys(row.rsplit('/', 1)[0] for row in poses))
  labelled = np.tile(subjects.labelled, (len(views), 1))
  visible = np.concatenate([(subjects.visibility == 2) & ~(covered & (view == 'occluded'))
                            for view in views])
  together = subjects.subset(np.tile(np.arange(len(subjects.own)), len(views)))
  joined = {name: {field: np.concatenate([poses[f'{name}/{view}'][field] for view in views])
                   for field in ('keypoints', 'scores')} for name in names}
  fits = {'right': {}, 'visible': {}, 'gate': {}, 'people': len(subjects.own)}
  for name, pose in joined.items():
    right = right_joints(together, pose['keypoints'])
    for what, truth in (('right', right), ('visible', visible)):
      fits[what][name] = calibration.fit_isotonic(pose['scores'][labelled], truth[labelled])
  for pair in mixes:
    keypoints, scores = (np.stack([joined[name][field] for name in pair])
                         for field in ('keypoints', 'scores'))
    if np.array_equal(keypoints[0], keypoints[1]):
      continue  # two networks that agree everywhere need no gate
    fits['gate'][pair[0]] = mixture.fit_gate(
      keypoints, scores, together.keypoints, labelled, functools.partial(right_joints, together),
      [fits['right'][name] for name in pair])
  return fits


def with_probabilities(poses, fits):
  """The poses with 'right' and 'visible' (N,K), each joint's probability of being right and of
  being in sight, where these were fitted."""
  if not fits:
    return poses
  return {row: pose | {what: calibration.apply(fits[what][row.rsplit('/', 1)[0]], pose['scores'])
                       for what in ('right', 'visible')} for row, pose in poses.items()}


def _trust(subjects, pose, right, covered, fits, row):
  """How far probabilities can be trusted: {'right', 'visible': {'ece', 'brier' (times 100),
  'rows'}} of the labelled joints, rows as `calibration.reliability`. A mixture's confidence is one
  already, of being right alone."""
  name, view = row.rsplit('/', 1)
  labelled = subjects.labelled
  hidden = covered if view == 'occluded' else np.zeros_like(covered)
  truths = {'right': right, 'visible': (subjects.visibility == 2) & ~hidden}
  out = {}
  for what, truth in truths.items():
    if what == 'visible' and name not in fits[what]:
      continue
    p = calibration.apply(fits[what].get(name), pose['scores'][labelled])
    out[what] = {'ece': 100 * calibration.ece(p, truth[labelled]),
                 'brier': 100 * calibration.brier(p, truth[labelled]),
                 'rows': calibration.reliability(p, truth[labelled])}
  return out


# --- result files ---------------------------------------------------------------------------------

_NOWHERE = 1e6  # pixels, where a joint that nobody predicted is


def read_file(subjects, path):
  """(poses {row: pose}, covered (N,K), number of people without a pose) of a result file.

  AP is taken of its poses as they are. For what is counted by person, people and poses of a picture
  are matched one to one, the most similar first; where there are fewer poses than people somebody
  is left without: his joints count as wrong, and lengths leave him out. `covered` of the
  annotations, as exported benchmarks have it, is used.
  Raises OSError or ValueError naming the entry that is wrong.
  """
  count = subjects.skeleton.num_keypoints
  found = result_files.read_results(path, subjects.truth, count)
  own = pose_errors.match(subjects.people, found.image_id, found.keypoints,
                          subjects.skeleton.sigmas, threshold=0.0)[subjects.own]
  nobody = np.full((1, count, 2), _NOWHERE)
  pose = {'keypoints': np.concatenate([found.keypoints, nobody])[own],
          'scores': np.concatenate([found.keypoint_scores, np.zeros((1, count))])[own],
          'missed': own < 0,
          'detections': {'image_id': found.image_id, 'keypoints': found.keypoints,
                         'keypoint_scores': found.keypoint_scores, 'score': found.score}}
  covered, view = subjects.annotated_covered, 'occluded'
  if covered is None:
    covered, view = np.zeros(subjects.visibility.shape, bool), 'clean'
  return {f'file/{view}': pose}, covered, int((own < 0).sum())
