"""From poses to numbers: the metric of the protocol, shares by visibility, the occlusion report.

Poses are dicts {'keypoints' (N,K,2) picture pixels, 'scores' (N,K) heatmap peaks}, row i for person
i of a source (the columns of input_pipeline.source.Source).
"""
import dataclasses
import functools

import numpy as np

from dslope_jax.metrics import (
  calibration,
  crowdpose_ap,
  keypoint_ap,
  mixture,
  nme,
  occlusion,
  occlusion_report,
  pck,
  people,
  pose_errors,
  result_files,
)

_KINDS = ('clean', 'occluded')  # kinds of pictures, as in 'gnet/clean'


def coco_results(source, pose, oks_nms):
  """COCO result dicts of all poses, rescored (box times mean joint) and, with a threshold,
  suppressed; and the rows of the source that were kept.

  Where a pose has probabilities 'right' and 'visible' (N,K), every result gets them, too.
  """
  scores = keypoint_ap.rescore(pose['scores'], source.box_score)
  kept = np.arange(len(scores))
  if oks_nms:
    kept = keypoint_ap.select(source.image_id, pose['keypoints'], scores,
                              source.scale.prod(1) * 200 ** 2, source.skeleton.sigmas, oks_nms)
  results = keypoint_ap.to_coco_results(source.image_id[kept], pose['keypoints'][kept],
                                        pose['scores'][kept], scores[kept], source.category_id)
  for field in ('right', 'visible'):
    if field in pose:
      for result, values in zip(results, pose[field][kept].round(4).tolist(), strict=True):
        result[field] = values
  return results, kept


def _coco_ap(source, pose, results):
  return keypoint_ap.coco_ap(source.as_coco(), results, source.skeleton.sigmas)


def _crowdpose_ap(source, pose, results):
  return crowdpose_ap.crowdpose_ap(source.as_coco(), results)


def _pckh(source, pose, results):
  return pck.mpii_table(pose['keypoints'], source.keypoints, source.visibility > 0,
                        source.head_size)


def _pck(source, pose, results):
  reference = pck.torso_diagonal(source.keypoints, source.visibility, source.skeleton)
  table = pck.pck(pose['keypoints'], source.keypoints, source.visibility > 0, reference, 0.2,
                  source.skeleton.names)
  return {'PCK@0.2': table.pop('PCK')} | table


def _jhmdb_pck(source, pose, results):
  visible = source.visibility > 0
  tables = {'box': pck.box_length(source.box),
            'torso': pck.jhmdb_torso(source.keypoints, pose['keypoints'])}
  return {f'PCK@0.2({name})': pck.jhmdb_table(pose['keypoints'], source.keypoints, visible,
                                              reference)['Mean']
          for name, reference in tables.items()}


def _nme(source, pose, results, reference=nme.inter_ocular):
  return nme.nme_table(pose['keypoints'], source.keypoints, source.visibility > 0,
                       reference(source.keypoints, source.skeleton))


def _nme_box(source, pose, results):
  return nme.nme_table(pose['keypoints'], source.keypoints, source.visibility > 0,
                       nme.box_side(source.box))


def _none(source, pose, results):
  return {}


METRICS = {'none': _none, 'coco_ap': _coco_ap, 'crowdpose_ap': _crowdpose_ap, 'pckh': _pckh,
           'pck': _pck, 'jhmdb_pck': _jhmdb_pck, 'nme': _nme,
           'nme_pupil': functools.partial(_nme, reference=nme.inter_pupil), 'nme_box': _nme_box}
# These are of a set's detections, so doubles are suppressed.
_OF_DETECTIONS = ('none', 'coco_ap', 'crowdpose_ap')


def check_fit(metric, source):
  """Raises ValueError, before anything is trained, where a metric lacks what it divides by."""
  if metric not in METRICS:
    raise ValueError(f"an eval's metric is one of {sorted(METRICS)}, not '{metric}'")
  where = f'{source.name} {source.split}'
  if metric != 'none' and not (source.visibility > 0).any():
    raise ValueError(f"metric '{metric}' needs annotated joints, which {where} lacks; choose "
                     "'none', which only writes the poses")
  if metric == 'pckh' and (source.head_size is None or not (source.head_size > 0).any()):
    raise ValueError(f"metric 'pckh' needs head sizes, which {where} lacks (MPII has them for "
                     "split 'valid', in annot/gt_valid.mat); choose 'pck'")
  if metric == 'pck' and not pck.torso_diagonal(source.keypoints, source.visibility,
                                                source.skeleton).any():
    raise ValueError(f"metric 'pck' needs people with shoulders and hips, which {where} lacks; "
                     "pass --config.evals.NAME.metric=coco_ap")
  if metric == 'crowdpose_ap' and any('crowdIndex' not in e for e in source.as_coco()['images']):
    raise ValueError(f"metric 'crowdpose_ap' needs a crowdIndex for every picture, which {where} "
                     "lacks; choose 'coco_ap'")


def score(source, pose, metric, covered, oks_nms=0.9):
  """(numbers of the metric and shares by visibility, COCO results, report) of one network on one
  kind of pictures; only the results for metric 'none'. covered: (N,K) joints under a patch."""
  results, kept = coco_results(source, pose, oks_nms if metric in _OF_DETECTIONS else 0)
  if metric == 'none':
    return {}, results, {}
  numbers = METRICS[metric](source, pose, results) | by_visibility(source, pose, covered)
  return numbers, results, report(source, pose, covered, kept)


def main_number(source, pose, metric, oks_nms=0.9):
  """(name, value) of a metric's first number."""
  results, _ = coco_results(source, pose, oks_nms if metric in _OF_DETECTIONS else 0)
  return next(iter(METRICS[metric](source, pose, results).items()))


def per_joint(source, pose):
  """{joint: percent of its labelled ones that are right}; joints that nobody has are left out."""
  right, labelled = right_joints(source, pose['keypoints']), source.visibility > 0
  return {name: 100 * float(right[labelled[:, k], k].mean())
          for k, name in enumerate(source.skeleton.names) if labelled[:, k].any()}


def right_joints(source, keypoints):
  """(N,K) bool: joints whose own OKS, with the annotated area, is at least one half."""
  everybody = people.from_coco(source.as_coco(), source.skeleton.num_keypoints)
  known = dict(zip(everybody.annotation_id.tolist(), everybody.areas.tolist(), strict=True))
  # A detected box that met nobody has no labelled joint either.
  areas = [known.get(number, 1.0) for number in source.annotation_id.tolist()]
  return occlusion.oks_correct(keypoints, source.keypoints, areas, source.skeleton.sigmas)


def by_visibility(source, pose, covered):
  """Share of right joints among visible, hidden (v = 1) and patch-covered ones, in percent."""
  groups = occlusion.joint_groups(source.visibility, covered)
  shares = occlusion.split(right_joints(source, pose['keypoints']), groups)
  return {f'{k}_joints': v['share'] for k, v in shares.items()}


def report(source, pose, covered, kept):
  """`occlusion_report.report` of poses that belong to the rows of a source."""
  everybody = people.from_coco(source.as_coco(), source.skeleton.num_keypoints)
  ids = source.annotation_id
  if len(np.unique(ids)) < len(ids) or not np.isin(ids, everybody.annotation_id).all():
    # A detector's boxes belong to nobody in particular: their poses are matched by OKS.
    own = pose_errors.match(everybody, source.image_id, pose['keypoints'], source.skeleton.sigmas)
    rows, own = np.flatnonzero(own >= 0), own[own >= 0]
  else:
    rows, own = everybody.rows(ids), np.arange(len(ids))
  scores = keypoint_ap.rescore(pose['scores'], source.box_score)
  poses = {'image_id': source.image_id[kept], 'keypoints': pose['keypoints'][kept],
           'scores': scores[kept]}
  return _report(everybody, rows, pose['keypoints'][own], covered[own], poses, source.skeleton)


def _report(everybody, rows, keypoints, covered, poses, skeleton):
  """The report of people of whom these rows have poses (M,K,2) and flags (M,K)."""
  predictions = np.full(everybody.keypoints.shape, np.nan)
  flags = np.zeros(everybody.visibility.shape, bool)
  predictions[rows], flags[rows] = keypoints, covered
  return occlusion_report.report(dataclasses.replace(everybody, covered=flags), predictions, poses,
                                 skeleton)


_NOWHERE = 1e6  # pixels


def score_file(source, path, metric):
  """(numbers, report, people without a pose, (N,K) right joints) of any program's result file.

  AP is taken of its poses as they are; for what is counted by person, every person gets the pose
  that is most like it, or none. `covered` of the annotations, as exported benchmarks have it, is
  used. Raises OSError or ValueError naming the entry that is wrong.
  """
  truth, count = source.as_coco(), source.skeleton.num_keypoints
  found = result_files.read_results(path, truth, count)
  everybody = people.from_coco(truth, count)
  flags = {a['id']: a['covered'] for a in truth['annotations'] if 'covered' in a}
  covered = np.array([flags.get(i, [0] * count) for i in source.annotation_id.tolist()], bool)
  rows = everybody.rows(source.annotation_id)
  own = pose_errors.match(everybody, found.image_id, found.keypoints, source.skeleton.sigmas)[rows]
  # Row -1, of those who were missed, is a pose that is nowhere: as wrong as none.
  pose = {'keypoints': np.concatenate([found.keypoints, np.full((1, count, 2), _NOWHERE)])[own],
          'scores': np.concatenate([found.keypoint_scores, np.zeros((1, count))])[own]}
  results = keypoint_ap.to_coco_results(found.image_id, found.keypoints, found.keypoint_scores,
                                        found.score, source.category_id)
  numbers = METRICS[metric](source, pose, results) | by_visibility(source, pose, covered)
  poses = {'image_id': found.image_id, 'keypoints': found.keypoints, 'scores': found.score}
  shown = _report(everybody, rows, pose['keypoints'], covered, poses, source.skeleton)
  return numbers, shown, int((own < 0).sum()), right_joints(source, pose['keypoints'])


def mixtures(predictions, fits=None):
  """Poses of the networks together, 'rule/kind': plain average, weighted by confidence, the more
  confident one of each joint and, where it was fitted, a gate.

  predictions: {'network/kind': poses}. fits: from `calibrate`, or None for raw peaks.
  """
  out = {}
  names = sorted({name.split('/')[0] for name in predictions})
  if len(names) < 2:
    return out
  fits = fits or {}
  right = [fits.get('right', {}).get(name) for name in names]
  for kind in _KINDS:
    keypoints, scores = (np.stack([predictions[f'{n}/{kind}'][field] for n in names])
                         for field in ('keypoints', 'scores'))
    for rule, function in mixture.RULES.items():
      if rule != 'gate':
        mixed = function(keypoints, scores, right)
      elif 'gate' in fits:
        mixed = function(keypoints, scores, fits['gate'])
      else:
        continue
      out[f'{rule}/{kind}'] = dict(zip(('keypoints', 'scores'), mixed, strict=True))
  return out


def calibrate(source, predictions, covered):
  """Fits on people that no network was trained on: {'right', 'visible': {network: fit}, 'gate'}.

  right: a joint's own OKS reaching one half; visible: labelled visible and not covered. Clean and
  occluded pictures together, since at test time nobody says which it is.
  """
  labelled = np.tile(source.visibility > 0, (2, 1))
  visible = np.concatenate([source.visibility == 2, (source.visibility == 2) & ~covered])
  names = sorted({name.split('/')[0] for name in predictions})
  both = {n: {field: np.concatenate([predictions[f'{n}/{kind}'][field] for kind in _KINDS])
              for field in ('keypoints', 'scores')} for n in names}
  twice = source.subset(np.tile(np.arange(len(source)), 2))
  fits = {'right': {}, 'visible': {}, 'people': len(source)}
  for name, pose in both.items():
    right = right_joints(twice, pose['keypoints'])
    for kind, truth in (('right', right), ('visible', visible)):
      fits[kind][name] = calibration.fit_isotonic(pose['scores'][labelled], truth[labelled])
  if len(names) == 2:
    keypoints, scores = (np.stack([both[n][f] for n in names]) for f in ('keypoints', 'scores'))
    fits['gate'] = mixture.fit_gate(
      keypoints, scores, twice.keypoints, labelled, functools.partial(right_joints, twice),
      [fits['right'][n] for n in names])
  return fits


def with_probabilities(predictions, fits):
  """The poses with 'right' and 'visible' (N,K), each joint's probability of being right and of
  being in sight, where these were fitted."""
  if not fits:
    return predictions
  return {name: pose | {kind: calibration.apply(fits[kind][name.split('/')[0]], pose['scores'])
                        for kind in ('right', 'visible')}
          for name, pose in predictions.items()}


def calibrated(source, pose, covered, fits, name, kind):
  """How far probabilities can be trusted: {'right', 'visible': {'ece', 'brier', 'rows'}} of the
  labelled joints, rows as `calibration.reliability`. A mixture's confidence is one already, of
  being right alone."""
  labelled = source.visibility > 0
  hidden = covered if kind == 'occluded' else np.zeros_like(covered)
  truths = {'right': right_joints(source, pose['keypoints']),
            'visible': (source.visibility == 2) & ~hidden}
  out = {}
  for what, truth in truths.items():
    if what == 'visible' and name not in fits[what]:
      continue
    p = calibration.apply(fits[what].get(name), pose['scores'][labelled])
    out[what] = {'ece': calibration.ece(p, truth[labelled]),
                 'brier': calibration.brier(p, truth[labelled]),
                 'rows': calibration.reliability(p, truth[labelled])}
  return out
