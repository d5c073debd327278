"""From poses of several people in space to numbers: 3DPCK, order in depth, MPJPE, mm.

Samples and predictions are cm and pixels of the network's picture; here alone they become mm.
"""
import functools
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.evaluation.base import SampleTable, Scores
from dslope_jax.metrics import mupots, panoptic
from dslope_jax.skeletons import MPI15
from dslope_jax.visibility import HIDDEN, is_labelled

METRICS = 'mupots', 'panoptic'
MM = 10  # a cm
_VARIANTS = [f'{mode}/{who}/rescale' for mode in ('rel', 'abs') for who in ('all', 'matched')]
_MATCHED_IN = 1920  # width of pictures, in whose pixels MuPoTS matches people
_NEAR = panoptic.NEAR / 832  # of the network's width
_WORDS = {'share': 'Right joints in %', 'report': 'A joint is right if it is less than 150 mm from '
          'its true place, both relative to the hip, with bones of the true length.'}


class Pictures(NamedTuple):
  """What scoring knows of N pictures beside their batches.

  size: (W, H) of the network's. names, take, activity: (N,) str; a score of MuPoTS is the mean of
  the takes, of Panoptic that of the activities. annotation: 'metric', or MuPoTS' 'univ'.
  """
  size: tuple[int, int]
  names: np.ndarray
  take: np.ndarray
  activity: np.ndarray
  annotation: str = 'metric'


def check_metric(metric: str):
  """Raises UserError for a protocol that there is not."""
  if metric not in METRICS:
    raise UserError(f"evals.NAME.metric is one of {', '.join(METRICS)}, not '{metric}'")


def score(pictures: Pictures, outputs: dict, *, metric: str, full=True) -> Scores:
  """Scores every output.

  outputs: {'reasoned/clean': the fields of `systems.hupor`'s predict, ..., 'batch': {'people',
  'valid', 'camera', 'overflow' and, for occluded pictures, 'occluded_people'}}, N pictures first.
  full: also tables, samples and files, else only the numbers of the metric.
  """
  results, samples, files, worst = {}, {}, {}, ()
  tables = {key: {} for key in ('report', 'per_joint')}
  for row, found in outputs.items():
    if row == 'batch':
      continue
    seen = _Seen(pictures, found, outputs['batch'], row.rpartition('/')[2])
    kinds = {'mupots': seen.mupots_numbers, 'panoptic': seen.panoptic_numbers}
    results[row] = kinds[metric]()
    if not full:
      continue
    for kind in METRICS:
      results[row] = results[row] | kinds[kind]() | results[row]
    if metric == 'panoptic':
      results[row] |= seen.by_activity()
    results[row] |= seen.left_out()
    samples[row] = {'PCK_rel': seen.samples()}
    tables['report'][row] = {'by': seen.by_label()}
    tables['per_joint'][row] = seen.per_joint()
    files[f'predictions_{row.replace("/", "_")}.npz'] = seen.file()
    worst = seen.worst()
  if full:
    files['report.json'] = tables | {'words': _WORDS}
  return Scores(results, samples, files, worst)


def to_picture(points, camera):
  """Pixels (N,P,K,2) of the network's pictures in those of the set. camera: (N,7), see the task."""
  return (points - camera[:, None, None, 5:7]) / camera[:, None, None, 4:5]


class _Seen:
  """One row of results: its people beside the true ones."""

  def __init__(self, pictures, found, batch, view):
    self.pictures, self.found, self.batch = pictures, found, batch
    people = batch['occluded_people' if view == 'occluded' else 'people']
    self.valid, self.camera = batch['valid'], batch['camera']
    self.truth_2d, self.truth_3d = people[..., :2], MM * people[..., 2:5]
    self.visibility = np.where(self.valid[..., None], people[..., 5], 0).astype(np.uint8)
    self.there = found['scores'] > 0
    self.poses = np.where(self.there[..., None], MM * found['keypoints_3d'], np.nan)
    self.count = found['valid'].sum(1)
    self.person_picture = np.nonzero(self.valid)[0]
    self.by_variant = mupots.evaluate(**self._frames(), variants=_VARIANTS,
                                      truth=pictures.annotation)

  def _frames(self):
    """The arguments of `mupots.evaluate`: pixels of pictures that are as wide as MuPoTS', or of
    wider ones as they are."""
    order = mupots.FROM_MPI15
    width = (self.pictures.size[0] - 2 * self.camera[:, 5]) / self.camera[:, 4]
    larger = np.maximum(1, _MATCHED_IN / width)[:, None, None, None]
    pixels = lambda points: larger * to_picture(points, self.camera)
    turned = lambda values: np.moveaxis(values[:, :, order], -1, -2)
    return dict(
      seq_id=np.unique(self.pictures.take, return_inverse=True)[1], num_gt=self.valid.sum(1),
      num_pred=self.count, gt2d_cpm=turned(pixels(self.truth_2d)), gt3d_cpm=turned(self.truth_3d),
      valid=self.valid, occluded_cpm=self.visibility[:, :, order] == HIDDEN,
      pred2d=np.where(self.there[..., None], pixels(self.found['keypoints']), 0),
      pred3d=self.poses)

  def _variant(self, name):
    return self.by_variant['/'.join(['mupots', *name.split('/')[:2], self.pictures.annotation,
                                     'rescale'])]

  def mupots_numbers(self):
    rel, absolute = self._variant('rel/all'), self._variant('abs/all')
    matched = {mode: self._variant(f'{mode}/matched') for mode in ('rel', 'abs')}
    return {'PCK_rel': rel['pck'], 'PCK_abs': absolute['pck'], 'AUC_rel': rel['auc'],
            'AUC_abs': absolute['auc'], 'PCK_visible': rel['pck_visible'],
            'PCK_hidden': rel['pck_occluded'], 'PCK_rel_matched': matched['rel']['pck'],
            'PCK_abs_matched': matched['abs']['pck'], 'PCK_root': absolute['pck_root'],
            'PCOD': 100 * matched['abs']['ordinal'], 'recall': rel['recall']}

  @functools.cached_property
  def _by_activity(self):
    return panoptic.evaluate(
      self.pictures.activity, self.count, self.truth_2d, self.truth_3d, self.visibility,
      self.found['keypoints'], self.poses, near=_NEAR * self.pictures.size[0])

  def panoptic_numbers(self):
    mean = self._by_activity['mean']
    return {'MPJPE': mean['mpjpe'], 'MPJPE_all': mean['mpjpe_all'],
            'recall_MPJPE': mean['recall'], 'joints_MPJPE': mean['joints']}

  def by_activity(self):
    return {f'MPJPE_{name}': numbers['mpjpe'] for name, numbers in self._by_activity.items()
            if name != 'mean'}

  def left_out(self):
    """How many peaks and people found no room in the answers, and people none in the truth."""
    return {'overflow': int(self.found['overflow'].sum()),
            'truth_overflow': int(self.batch['overflow'].sum())}

  @property
  def right(self):
    """(V,14) bool: joints of people in the order of the pictures, of `mupots.JOINTS`."""
    return self._variant('rel/all')['errors'][:, :-1] < mupots.THRESHOLD

  def samples(self):
    """PCK_rel as a ratio of sums over pictures; takes weigh alike."""
    takes = np.unique(self.pictures.take, return_inverse=True)[1]
    of_take = np.bincount(takes[self.person_picture], minlength=takes.max() + 1)
    weight = 1 / of_take[takes[self.person_picture]]
    add = lambda values: np.bincount(self.person_picture, values, minlength=len(self.valid))
    return SampleTable(takes, add(100 * self.right.mean(1) * weight), add(weight))

  def by_label(self):
    """{split: {bin: {'joints', 'share'}}}: right joints by visibility and activity."""
    seen = self.visibility[self.valid][:, mupots.FROM_MPI15[:-1]]
    flags = {'joint': {'visible': is_labelled(seen) & (seen != HIDDEN), 'hidden': seen == HIDDEN,
                       'outside': seen == 0}}
    names = np.unique(self.pictures.activity).tolist()
    if len(names) > 1:
      own = self.pictures.activity[self.person_picture]
      flags['action'] = {name: np.broadcast_to((own == name)[:, None], seen.shape)
                         for name in names}
    return {split: {name: {'joints': int(flag.sum()), 'share': 100 * float(
      self.right[flag].mean()) if flag.any() else None} for name, flag in of.items()}
      for split, of in flags.items()}

  def per_joint(self):
    shares = 100 * self.right.mean(0) if len(self.right) else np.full(14, np.nan)
    return {MPI15.names[joint]: float(share) for joint, share in zip(
      mupots.FROM_MPI15, shares, strict=False)}

  def worst(self):
    table = self.samples()
    share = table.numerator / np.maximum(table.denominator, 1e-9)
    share[table.denominator == 0] = np.inf
    return tuple(np.argsort(share, kind='stable').tolist())

  def file(self):
    """Predictions in pixels of the pictures and mm."""
    found = self.found
    return {'picture': self.pictures.names.astype(np.str_), 'valid': found['valid'],
            'keypoints': to_picture(found['keypoints'], self.camera), 'scores': found['scores'],
            'keypoints_3d': self.poses}
