"""From lifted poses to numbers: errors in mm, by visibility, action and joint; diagnostics."""
from typing import NamedTuple

import numpy as np

from dslope_jax import cameras
from dslope_jax.errors import UserError
from dslope_jax.evaluation.base import SampleTable, Scores
from dslope_jax.metrics import pose3d
from dslope_jax.skeletons import MPI_INF_3DHP, Skeleton
from dslope_jax.visibility import HIDDEN

_NO_PCK_3DHP = ('hip', 'spine', 'head')  # 14 of 17 joints count
_OF_3DPW = (1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16)  # of Human3.6M's 17


class Protocol(NamedTuple):
  """How errors are averaged, and over which joints.

  joints: of MPJPE and its kin; None for all. pck_joints: of PCK and AUC. by_action: the mean over
  the actions of the mean over an action's frames, else over all frames.
  """
  joints: tuple[int, ...] | None = None
  pck_joints: tuple[int, ...] | None = None
  by_action: bool = False


# Human3.6M's variants A and B are two data sets here, and in the stamp: 'h36m A' and 'h36m B'.
PROTOCOLS = {
  'mpjpe': Protocol(),
  'h36m': Protocol(by_action=True),
  'mpi_inf_3dhp': Protocol(pck_joints=tuple(
    i for i, name in enumerate(MPI_INF_3DHP.names) if name not in _NO_PCK_3DHP)),
  '3dpw': Protocol(joints=_OF_3DPW, pck_joints=_OF_3DPW)}


class Clips(NamedTuple):
  """What scoring knows of N clips of T frames and J joints; made once for a set.

  keypoints_3d: (N,T,J,3) float32 mm in the camera's frame, the ground truth. counted: (N,T) bool,
  frames that this clip answers for. params: (N,9) of the cameras, see `cameras.project`. width:
  (N,) pixels of the pictures. factor: (N,T) mm a pixel where the data set defines its own
  image space, else None. target: 'image' or 'camera', the units of predictions. group: (N,) what
  is resampled together. action, family, subject: (N,) labels. names: (N,) of clips, for captions.
  """
  skeleton: Skeleton
  root: int
  target: str
  keypoints_3d: np.ndarray
  counted: np.ndarray
  params: np.ndarray
  width: np.ndarray
  factor: np.ndarray | None
  group: np.ndarray
  action: np.ndarray
  family: np.ndarray
  subject: np.ndarray
  names: np.ndarray

  @property
  def truth(self):
    """(N,T,J,3) mm, relative to the root."""
    return self.keypoints_3d - self.keypoints_3d[:, :, [self.root]]


def row_of(clips: Clips, row: int) -> Clips:
  """One clip, N = 1."""
  columns = {name: value[row:row + 1] for name, value in clips._asdict().items()
             if isinstance(value, np.ndarray)}
  return clips._replace(**columns)


def check_fit(metric: str, skeleton: Skeleton):
  """Raises UserError for a protocol that there is not, or that is of other joints."""
  if metric not in PROTOCOLS:
    raise UserError(f"evals.NAME.metric is one of {', '.join(PROTOCOLS)}, not '{metric}'")
  needs = {'mpi_inf_3dhp': 'mpi_inf_3dhp', 'h36m': 'h36m', '3dpw': 'h36m'}.get(metric)
  if needs and skeleton.name != needs:
    raise UserError(f"metric '{metric}' is of the joints of {needs}, and these are of "
                    f"{skeleton.name}; take 'mpjpe'")


def in_mm(relative, clips: Clips):
  """Poses relative to the root in mm, of predictions (N,T,J,3) in the units of `Clips.target`.

  Image space has no scale of its own: where the root is comes from the ground truth, as in
  Human3.6M's protocol, whose factor is measured on the ground truth.
  """
  if clips.target == 'camera':
    return relative * np.float32(1000)
  pixels = relative * (clips.width[:, None, None, None] / 2).astype(np.float32)
  if clips.factor is not None:
    poses = pixels * clips.factor[..., None, None]
    return poses - poses[:, :, [clips.root]]
  return cameras.from_image_space(pixels, clips.keypoints_3d[:, :, clips.root],
                                  clips.params).astype(np.float32)


def score(clips: Clips, outputs: dict, *, metric: str, mixes=(), full=True) -> Scores:
  """Scores every output, and where two networks answer together, the mean of their poses.

  outputs: {'net/clean': {'keypoints_3d': (N,T,J,3) relative to the root, in the units of
  `Clips.target`, and of networks that have them 'router': (N,T,J) and 'encoder_keypoints_3d'},
  'batch': {'visibility', 'covered': (N,T,J) of the occluded view, 'keypoints_3d', and of each view
  that was predicted from its 2D keypoints}}. full: also tables, samples and files, else only the
  numbers.
  """
  batch = outputs['batch']
  poses = {row: in_mm(found['keypoints_3d'], clips) for row, found in outputs.items()
           if row != 'batch'}
  for first, second in mixes:
    for view in ('clean', 'occluded'):
      pair = [poses.get(f'{name}/{view}') for name in (first, second)]
      if all(pose is not None for pose in pair):
        poses[f'average/{view}'] = (pair[0] + pair[1]) / 2
  results, samples, files, worst = {}, {}, {}, ()
  tables = {key: {} for key in ('report', 'per_joint')}
  for row, pose in poses.items():
    seen = _Seen(clips, pose, batch, row.rpartition('/')[2], PROTOCOLS[metric])
    results[row] = seen.numbers()
    if not full:
      continue
    results[row] |= seen.by_visibility() | seen.diagnostics(batch)
    results[row] |= _of_experts(clips, outputs.get(row, {}))
    samples[row] = seen.samples()
    tables['report'][row] = {'by': seen.by_label()}
    tables['per_joint'][row] = seen.per_joint()
    files[f'predictions_{row.replace("/", "_")}.npz'] = {
      'clip': clips.names.astype(np.str_), 'counted': clips.counted, 'keypoints_3d': pose}
    worst = tuple(np.argsort(-seen.clip_errors(), kind='stable').tolist())
  if full:
    files['report.json'] = tables | {'words': _WORDS}
  return Scores(results, samples, files, worst)


_WORDS = {'share': 'MPJPE in mm', 'report': 'Mean errors of joints relative to the root. hidden: '
          'by the own body; covered: by other people and objects.'}


class _Seen:
  """One row of results: the errors of its poses, and what is known of its joints."""

  def __init__(self, clips, pose, batch, view, protocol):
    self.clips, self.pose, self.protocol, self.view = clips, pose, protocol, view
    self.joints = list(protocol.joints or range(clips.skeleton.num_keypoints))
    self.truth = clips.truth
    self.error = np.linalg.norm((pose - self.truth)[:, :, self.joints], axis=-1)
    self.weight = _weights(clips.counted, clips.action, protocol.by_action)
    hidden, covered = batch['visibility'] == HIDDEN, batch['covered']
    states = {'visible': ~hidden, 'hidden': hidden & ~covered, 'covered': covered}
    if view == 'clean':  # nothing covers it there
      states['visible'] |= states.pop('covered')
    self.states = {name: found[:, :, self.joints] for name, found in states.items()}

  def numbers(self):
    """The metrics of the protocol."""
    own = self.pose[:, :, self.joints], self.truth[:, :, self.joints]
    mean = lambda of_frames: float((of_frames * self.weight).sum())
    found = {'MPJPE': mean(self.error.mean(-1)),
             'P-MPJPE': mean(pose3d.p_mpjpe(*own, per_frame=True)),
             'N-MPJPE': mean(pose3d.n_mpjpe(*own, per_frame=True)),
             'MPJVE': self._mpjve(*own)}
    chosen = list(self.protocol.pck_joints or range(self.clips.skeleton.num_keypoints))
    pair = self.pose[:, :, chosen], self.truth[:, :, chosen]
    return found | {'PCK': 100 * mean(pose3d.pck(*pair, per_frame=True)),
                    'AUC': 100 * mean(pose3d.auc(*pair, per_frame=True))}

  def _mpjve(self, pose, truth):
    """Of neighbouring frames of a clip, both of which count; NaN where there are none."""
    both = self.clips.counted[:, 1:] & self.clips.counted[:, :-1]
    if not both.any():
      return float('nan')
    speed = pose3d.mpjve(pose, truth, per_frame=True)
    return float((speed * _weights(both, self.clips.action, self.protocol.by_action)).sum())

  def by_visibility(self):
    """MPJPE of the joints that are visible, hidden by the own body, covered by something else."""
    return {f'MPJPE_{name}': self._mean(flags)['share'] for name, flags in self.states.items()}

  def _mean(self, flags):
    flags = flags & self.clips.counted[..., None]
    count = int(flags.sum())
    return {'joints': count, 'share': float(self.error[flags].mean()) if count else None}

  def by_label(self):
    """{split: {bin: {'joints', 'share'}}}: means by visibility, action and kind of skeleton."""
    out = {'joint': {name: self._mean(flags) for name, flags in self.states.items()}}
    everything = np.ones(self.error.shape, bool)
    for split in ('action', 'family', 'subject'):
      labels = getattr(self.clips, split)
      bins = sorted(set(labels.tolist()) - {''})
      if len(bins) > 1:
        out[split] = {name: self._mean(everything & (labels == name)[:, None, None])
                      for name in bins}
    return out

  def diagnostics(self, batch):
    """Errors in the picture's plane and in depth, mm; of the input in its plane; and how they go
    together. Source: PoseMoE, introduction (XY of the output against the input; Z error with XY
    error)."""
    off = (self.pose - self.truth)[self.clips.counted]
    off = np.delete(off, self.clips.root, axis=-2)
    plane, depth = np.linalg.norm(off[..., :2], axis=-1), np.abs(off[..., 2])
    found = {'MPJPE_xy': float(plane.mean()), 'MPJPE_z': float(depth.mean())}
    if plane.std() > 0 and depth.std() > 0:
      found['corr_xy_z'] = float(np.corrcoef(plane.ravel(), depth.ravel())[0, 1])
    field = {'clean': 'keypoints_2d', 'occluded': 'occluded_keypoints_2d'}[self.view]
    if self.clips.target == 'image' and field in batch:
      found['MPJPE_xy_input'] = float(self._input_error(batch, field))
    return found

  def _input_error(self, batch, field):
    """Mean error of the 2D input relative to its root, in mm at the depth of the root."""
    clips = self.clips
    relative = lambda points: points - points[:, :, [clips.root]]
    off = relative(batch[field]) - relative(batch['keypoints_3d'][..., :2])
    off = np.delete(np.linalg.norm(off, axis=-1), clips.root, axis=-1)
    return (off * mm_per_unit(clips)[..., None])[clips.counted].mean()

  def per_joint(self):
    errors = self.error[self.clips.counted].mean(0)
    names = [self.clips.skeleton.names[j] for j in self.joints]
    return dict(zip(names, errors.tolist(), strict=True))

  def clip_errors(self):
    """(N,) mean error of each clip's counted frames."""
    counted = self.clips.counted
    return (self.error.mean(-1) * counted).sum(1) / np.maximum(counted.sum(1), 1)

  def samples(self):
    """MPJPE as a ratio of sums over clips, so that intervals can be drawn by resampling."""
    of_clips = lambda values: values.sum(1, dtype=np.float64)
    return {'MPJPE': SampleTable(self.clips.group, of_clips(self.error.mean(-1) * self.weight),
                                 of_clips(self.weight))}


def mm_per_unit(clips: Clips):
  """(N,T) mm of a unit of the picture's plane at the depth of the root."""
  half = clips.width[:, None] / 2
  if clips.factor is not None:
    return clips.factor * half
  focal = clips.params[:, :2].mean(1)
  return clips.keypoints_3d[:, :, clips.root, 2] / focal[:, None] * half


def _weights(counted, action, by_action):
  """(N,T) weights of frames whose sum is 1: equal, or equal for each action."""
  out = counted.astype(np.float64)
  if by_action:
    _, place = np.unique(action, return_inverse=True)
    out /= np.maximum(np.bincount(place, counted.sum(1)), 1)[place][:, None]
  return out / out.sum()


def _of_experts(clips, output):
  """Mean weight of the 2D expert in the router, and the error of the pose in front of it, of
  networks that have them."""
  found = {'router': float(output['router'].mean())} if 'router' in output else {}
  if 'encoder_keypoints_3d' in output:
    off = in_mm(output['encoder_keypoints_3d'], clips) - clips.truth
    found['MPJPE_encoder'] = float(np.linalg.norm(off, axis=-1)[clips.counted].mean())
  return found
