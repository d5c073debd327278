"""From poses to numbers: the metric, shares of right joints, the occlusion report, result files.

Poses are {'keypoints' (N,K,2) picture pixels, 'scores' (N,K)}, row i for row i of `Subjects`.
All shares in results are percentages, AP, AR, ECE and the Brier score included, as papers print
them; the functions of `metrics` give those four as 0..1, and are multiplied where they are called.
"""
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.evaluation import confidences, named_metrics
from dslope_jax.evaluation.answers import Answers
from dslope_jax.evaluation.base import SampleTable, Scores
from dslope_jax.metrics import occlusion, pose_errors, result_files
from dslope_jax.metrics.people import People
from dslope_jax.skeletons import Skeleton
from dslope_jax.visibility import PROBABILITIES

check_fit, divided_by = named_metrics.check_fit, named_metrics.divided_by


class Subjects(NamedTuple):
  """What scoring knows of the N rows that were predicted; made once for a set.

  name, split: of the data set, for messages. skeleton: the K keypoints.
  people: the P people annotated in the set, crowds and unlabelled ones, too.
  truth: the same as a COCO dict.
  own: (N,) row of `people` that a row shows, -1 for nobody.
  detections: the rows are a detector's boxes; their poses are matched to people by OKS.
  image_id, annotation_id, box_score: (N,). box: (N,4) x, y, width, height.
  crop_area: (N,) square pixels of the padded box, for OKS-NMS.
  category_id: of COCO results.
  head_size, reference: (N,) pixels that PCKh and the NME of AFLW divide by, None where the set has
    none.
  """
  name: str
  split: str
  skeleton: Skeleton
  people: People
  truth: dict
  own: np.ndarray
  detections: bool
  image_id: np.ndarray
  annotation_id: np.ndarray
  box_score: np.ndarray
  box: np.ndarray
  crop_area: np.ndarray
  category_id: int = 1
  head_size: np.ndarray | None = None
  reference: np.ndarray | None = None

  @property
  def counted(self):
    """(P,) bool: the people of whom a pose is asked. Those without a row, such as people who are
    not in the subset that is scored, are not asked for; a detector is asked for everybody."""
    if self.detections:
      return self.people.counted
    return self.people.counted & np.isin(np.arange(len(self.people)), self.own)

  @property
  def covered(self):
    """(N,K) bool: joints that the pictures themselves have covered, as in exported benchmarks."""
    flags, shown = np.zeros((len(self.own), self.skeleton.num_keypoints), bool), self.own >= 0
    flags[shown] = self.people.covered[self.own[shown]]
    return flags

  def by_person(self, column, otherwise):
    """A column (N, ...) of the rows by person: (P, ...), `otherwise` where no row shows them."""
    out = np.full((len(self.people), *column.shape[1:]), otherwise, column.dtype)
    shown = self.own >= 0
    out[self.own[shown]] = column[shown]
    return out


def score(subjects, poses, covered, window=None, *, metric, oks_nms=0.9, mixes=(), fits=None,
          held_out=None, full=True) -> Scores:
  """Scores every output and their mixtures.

  poses: {'gnet/clean': poses}; names are NETWORK/VIEW or NETWORK/READOUT/VIEW. Poses may hold
    'detections', a result file's poses as they are: dict(image_id (M,), keypoints (M,K,2),
    keypoint_scores (M,K), score (M,), and `PROBABILITIES`, (M,K) or None). AP is of these; rows of
    missed people are NaN then.
  covered: (N,K) bool, joints of a row's person under a patch in the occluded view. What the
    annotations say is covered, as those of an exported benchmark do, is so in every view.
  window: (N,4) x1, y1, x2, y2 of what the occluded view shows of the picture, None for all of it.
  metric: of `named_metrics.METRICS`. oks_nms: threshold of the suppression of double poses; 0 for
    none; only for metrics of detections.
  mixes: pairs of outputs, without view, that answer together: their mixtures follow as rows such as
    'average/clean' or 'gate/refined/occluded'.
  held_out: (subjects, poses, covered, window) of people to calibrate confidences on. fits: a
    calibration that was stored ('calibration.json'), in place of it.
  full: also reports, samples and files; else only the numbers of the metric.
  """
  if fits is None and held_out is not None:
    fits = confidences.calibrate(*held_out, mixes=mixes)
  oks_nms = oks_nms if metric in named_metrics.OF_DETECTIONS else 0
  results, samples, files, shares = {}, {}, {}, {}
  tables = {'report': {}, 'reliability': {}, 'per_joint': {}}
  for name, pose in confidences.with_mixtures(poses, mixes, fits).items():
    answers = Answers(subjects, name, pose, covered, oks_nms, window)
    results[name], ratios = named_metrics.METRICS[metric](answers)
    if not full:
      continue
    files |= _prediction_files(answers)
    if metric == 'none':
      continue
    report = occlusion.report(answers.people, answers.keypoints, answers.right, subjects.skeleton)
    trust = confidences.reliability(answers)
    results[name] |= _shares_by_visibility(report) | confidences.numbers(trust)
    samples[name] = _samples(answers, ratios)
    tables['report'][name], tables['per_joint'][name] = report, _per_joint(answers)
    tables['reliability'] |= {name: trust} if trust else {}
    if name in poses:
      shares[name] = answers.right_joints / np.maximum(answers.labelled_joints, 1)
  if full:
    files['report.json'] = tables
    files |= {'calibration.json': fits} if fits else {}
  return Scores(results, samples, files, _worst(subjects, shares))


def read_file(subjects, path):
  """(poses, covered (N,K), annotation ids of the people who were missed) of a COCO result file.

  poses: {'file/clean' or, where the annotations say what is covered, 'file/occluded': poses}, for
  `score`. Every person gets a pose of their picture by `pose_errors.match`; only those of pictures
  with fewer poses than people are missed.
  Raises OSError or UserError naming the entry that is wrong.
  """
  if subjects.detections:
    raise UserError("a result file is scored by annotated people: leave evals.NAME.boxes at 'gt'")
  people, count = subjects.people, subjects.skeleton.num_keypoints
  entries = result_files.read_results(path, subjects.truth, count)
  match = pose_errors.match(people, entries.image_id, entries.keypoints, subjects.skeleton.sigmas)
  # The last entry is that of the missed, and of rows that show nobody.
  rows = np.where(subjects.own >= 0, match[subjects.own], -1)
  of_row = lambda values: np.concatenate([values, np.full((1, *values.shape[1:]), np.nan)])[rows]
  missed = people.annotation_id[subjects.counted & (match < 0)]
  occluded = any('covered' in a for a in subjects.truth['annotations'])
  pose = {'keypoints': of_row(entries.keypoints), 'scores': of_row(entries.keypoint_scores),
          'detections': entries._asdict()} | {
            field: of_row(values) for field in PROBABILITIES
            if (values := getattr(entries, field)) is not None}
  return {'file/occluded' if occluded else 'file/clean': pose}, subjects.covered, missed.tolist()


def _prediction_files(answers):
  if 'detections' in answers.pose:  # they are in a file already
    return {}
  name = 'predictions_' + answers.name.replace('/', '_')
  files = {f'{name}.json': answers.results}
  if answers.subjects.skeleton.name == 'mpii':
    files[f'{name}.mat'] = answers.pose['keypoints']
  return files


def _shares_by_visibility(report):
  """The shares of right joints by visibility; NaN where there is no such joint."""
  return {f'{group}_joints': np.nan if row['share'] is None else row['share']
          for group, row in report['by']['joint'].items()}


def _samples(answers, ratios):
  """Right joints, and the metric where it is a ratio, by person."""
  counted = answers.subjects.counted
  group = answers.people.image_id[counted]
  ratios = {'right_joints': (100 * answers.right_joints[counted],
                             answers.labelled_joints[counted])} | ratios
  return {metric: SampleTable(group, *(np.asarray(part, np.float64) for part in ratio))
          for metric, ratio in ratios.items()}


def _per_joint(answers):
  """{joint: percent of the labelled ones that are right}; joints that nobody has are left out."""
  labelled = answers.labelled
  return {name: 100 * float(answers.right[labelled[:, k], k].mean())
          for k, name in enumerate(answers.subjects.skeleton.names) if labelled[:, k].any()}


def _worst(subjects, shares):
  """Rows with the smallest share of right joints first, by the mean of all networks on occluded
  pictures, or on any if there are no others. shares: {output: (P,) 0..1}."""
  chosen = [v for name, v in shares.items() if name.endswith('/occluded')] or list(shares.values())
  if not chosen:
    return ()
  rows = np.flatnonzero((subjects.own >= 0) & subjects.counted[subjects.own])
  order = np.argsort(np.mean(chosen, 0)[subjects.own[rows]], kind='stable')
  return tuple(rows[order].tolist())
