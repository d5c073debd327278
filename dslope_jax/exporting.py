"""A predictor as one function of crops, in files that run without this code.

The function takes crops (B,H,W,3) uint8 RGB and returns {'keypoints': (B,K,2) in crop pixels,
'scores': (B,K), 'heatmaps': (B,h,w,K)}; also 'right', 'visible' and 'present' (B,K) where weights
are calibrated or tell them, see `predictor.People`. A mixture has 'heatmaps_NAME' of each of its
networks.
"""
import contextlib
import logging
import warnings
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from dslope_jax.errors import UserError
from dslope_jax.files import check_file, first_line
from dslope_jax.metrics import mixture
from dslope_jax.models.cpu_forms import plain_forms
from dslope_jax.systems.base import Forward, without_view
from dslope_jax.visibility import PROBABILITIES
from input_pipeline import sources

PLATFORMS = ('cpu', 'cuda', 'tpu')
# By how much a file may differ from the predictor: a heatmap in shares of its peak, a keypoint in
# crop pixels. Heights that differ by at most TIE of the peak are in no order.
HEATMAP, KEYPOINT, TIE = 1e-4, 1e-3, 1e-5


def function(predictor):
  """The function of crops, with the weights as constants.

  Raises UserError for a system that asks for more than crops.
  """
  names = predictor.members
  _refuse_more_than_crops(predictor)
  rule = predictor.answer.split('/')[0] if len(names) > 1 else ''

  def call(images):
    poses = _members(predictor, predictor.weights, images)
    chances = {field: [poses[name].get(field, fit and _apply(fit, poses[name]['scores']))
                       for name, fit in zip(names, _fits(predictor, field), strict=True)]
               for field in PROBABILITIES}
    known = {field for field, of_each in chances.items() if not any(p is None for p in of_each)}
    if rule:
      keypoints, scores = _mixture(predictor, rule, [poses[name] for name in names])
      chances['right'] = [scores]
    else:
      keypoints, scores = (poses[names[0]][field] for field in ('keypoints', 'scores'))
    return {'keypoints': keypoints, 'scores': scores} | {
      field: sum(chances[field]) / len(chances[field]) for field in known} | _maps(poses)
  return call


def _refuse_more_than_crops(predictor):
  more = set(predictor.serving.system.fields['predict']) - {'image', 'occluded_image'}
  if more:
    raise UserError(f"this run predicts from crops and {', '.join(sorted(more))}, and exports get "
                    "crops alone; train it with system.coord_norm='crop'")


def _members(predictor, weights, images):
  """{output: fields, with the heatmaps} that the predictor's answer is made of."""
  system = predictor.serving.system
  forward = Forward(system.networks, weights['params'], weights['batch_stats'])
  outputs = system.predict(forward, {'image': images}, with_heatmaps=True, **predictor.test)
  return {name: outputs[name] for name in predictor.members}


def _maps(poses):
  return {'heatmaps' if len(poses) == 1 else f'heatmaps_{without_view(name).replace("/", "_")}':
          pose['heatmaps'] for name, pose in poses.items() if 'heatmaps' in pose}


def _fits(predictor, field):
  return [predictor.fits.get(field, {}).get(without_view(name)) for name in predictor.members]


def _mixture(predictor, rule, poses):
  """(B,K,2) keypoints and (B,K) confidences of one rule of `metrics.mixture`."""
  fit = predictor.fits['gates']['+'.join(map(without_view, predictor.members))] if (
    rule == 'gate') else {'fits': _fits(predictor, 'right')}
  both = (jnp.stack([pose['keypoints'] for pose in poses]), jnp.stack([
    _apply(curve, pose['scores'])
    for curve, pose in zip(fit['fits'] or [None] * len(poses), poses, strict=True)]))
  if rule != 'gate':
    return mixture.CALIBRATED[rule](*both)
  context = [pose['embedding'] for pose in poses if 'embedding' in pose]
  return mixture.gate_calibrated(*both, fit, jnp.concatenate(context, 1) if context else None,
                                 _apply)


def _apply(fit, scores):
  """`calibration.apply` for arrays of JAX."""
  if fit is None:
    return jnp.clip(scores, 0, 1)
  if fit['kind'] == 'logistic':
    mean, deviation, weights = (jnp.array(fit[name], jnp.float32)
                                for name in ('mean', 'deviation', 'weights'))
    return jax.nn.sigmoid(((scores - mean) / deviation * weights).sum(-1) + fit['bias'])
  x, y = (jnp.array(fit[name], jnp.float32) for name in 'xy')
  if len(x) == 1:
    return jnp.full_like(scores, y[0])
  right = jnp.clip((scores[..., None] >= x).sum(-1), 1, len(x) - 1)
  share = jnp.clip((scores - x[right - 1]) / (x[right] - x[right - 1]), 0, 1)
  return y[right - 1] + share * (y[right] - y[right - 1])


def exported(predictor) -> export.Exported:
  """The function for CPU, CUDA and TPU and any number of crops, in the plain forms of layers."""
  w, h = predictor.facts.size
  crops = jax.ShapeDtypeStruct(export.symbolic_shape(f'b, {h}, {w}, 3'), jnp.uint8)
  with plain_forms():
    return export.export(jax.jit(function(predictor)), platforms=PLATFORMS)(crops)


def to_stablehlo(predictor) -> bytes:
  """What is exported as a file, which `load_stablehlo` reads."""
  try:
    return bytes(exported(predictor).serialize())
  except ImportError as error:  # JAX itself does not ask for flatbuffers
    raise UserError(f'StableHLO needs a package that is not here ({first_line(error)})') from None


def load_stablehlo(path):
  """The function in a file of `to_stablehlo`; raises OSError or UserError, one line."""
  check_file(path)
  with open(path, 'rb') as f:
    content = f.read()
  try:
    return jax.jit(export.deserialize(bytearray(content)).call)
  except Exception as error:  # of flatbuffers, MLIR or JAX, by where it is broken
    raise UserError(f"'{path}' cannot be read by JAX {jax.__version__} ({first_line(error)}); such "
                    'files are for JAX of about the same age: export the weights again') from None


def to_onnx(predictor, opset=21) -> bytes:
  """The function as ONNX, for any number of crops; needs the package jax2onnx."""
  try:
    import jax2onnx
  except ImportError as error:
    raise UserError(f'ONNX needs packages that are not here ({first_line(error)}); docs/export.md '
                    'says how to install them, or export --formats stablehlo alone') from None
  w, h = predictor.facts.size
  call = function(predictor)
  # As JAX puts out dicts.
  names = sorted(jax.eval_shape(call, jax.ShapeDtypeStruct((1, h, w, 3), jnp.uint8)))

  def traced(images):
    with _convertible():
      return call(images)

  logging.getLogger('onnx_ir').setLevel(logging.ERROR)  # it warns of every shape
  with plain_forms(), warnings.catch_warnings(action='ignore', category=UserWarning):
    model = jax2onnx.to_onnx(
      traced, [jax.ShapeDtypeStruct(('B', h, w, 3), jnp.uint8)], model_name='predictor',
      opset=opset, input_names=['images'], output_names=names)
  return model.SerializeToString()


@contextlib.contextmanager
def _convertible():
  """Within a function that jax2onnx traces: two calls that it converts wrongly or not at all, in
  other words. It leaves explicit padding out, and resizes a known number of pictures alone."""
  pool = nn.max_pool  # by now that of jax2onnx

  def max_pool(x, window_shape, strides, padding):
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf)
    return pool(x, window_shape=window_shape, strides=strides, padding='VALID')

  def resize(x, shape, method, antialias=True):
    scale = jnp.array([shape[i] / x.shape[i] for i in (1, 2)])
    return jax.image.scale_and_translate(x, shape, (1, 2), scale, jnp.zeros(2), method, antialias)

  with mock.patch.object(nn, 'max_pool', max_pool), mock.patch.object(jax.image, 'resize', resize):
    yield


def load_onnx(content):
  """The function in a file of `to_onnx`, or in its bytes; needs the package onnxruntime."""
  import onnxruntime
  session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
  names = [output.name for output in session.get_outputs()]
  return lambda images: dict(zip(names, session.run(names, {'images': images}), strict=True))


def trial_crops(predictor, count=8):
  """(2 count,H,W,3) crops to compare files on: noise, and people of the embedded world."""
  w, h = predictor.facts.size
  noise = np.random.default_rng(0).integers(0, 256, (count, h, w, 3), np.uint8)
  people = sources.load('synthetic', 'test', aspect=w / h, num_people=count, size=(192, 256))
  crops = [predictor.serving.prepare(people.read(row), people.box[row:row + 1])['image']
           for row in range(len(people))]
  return np.concatenate([noise, *crops])


class Reference:
  """What the predictor itself says of crops, to compare files with."""

  def __init__(self, predictor, crops):
    _refuse_more_than_crops(predictor)
    self.crops = crops
    run = jax.jit(lambda weights: _members(predictor, weights, crops))
    poses = jax.device_get(run(predictor.weights))
    answer = predictor.combined(poses)
    self.maps = {name: np.asarray(maps, np.float64) for name, maps in _maps(poses).items()}
    self.wanted = {field: values for field, values in answer.items() if values is not None}
    ties = [near_ties(maps, predictor.codec == 'hrnet') for maps in self.maps.values()]
    self.ties = {kind: np.any([of[kind] for of in ties], 0) for kind in ties[0]}
    if len(predictor.members) > 1:
      self.ties['networks'] = _undecided(predictor, poses)
    if predictor.answer.split('/')[0] == 'gate':  # which looks at the whole pose
      self.ties = {kind: np.broadcast_to(of.any(-1, keepdims=True), of.shape)
                   for kind, of in self.ties.items()}

  def parity(self, call, what) -> dict:
    """By how much a function of crops differs; raises UserError where that is too much.

    Keypoints of near ties, about which rounding decides, are counted by their kind, not compared.
    """
    found = {name: np.asarray(value, np.float64) for name, value in call(self.crops).items()}
    maps = float(np.max([(np.abs(found[name] - wanted).max((1, 2)) / _peak(wanted)).max()
                         for name, wanted in self.maps.items()], initial=0))
    distance = np.linalg.norm(found['keypoints'] - self.wanted['keypoints'], axis=-1)
    tied = np.any(list(self.ties.values()), 0)
    distance = float(np.where(tied, 0, distance).max())
    if not (maps <= HEATMAP and distance <= KEYPOINT):
      raise UserError(
        f'{what} does not say what the predictor says: heatmaps differ by {maps:.2g} of their peak '
        f'({HEATMAP:g} is allowed), keypoints by {distance:.2g} px ({KEYPOINT:g}); it is not '
        'written')
    others = {field: float(np.abs(found[field] - self.wanted[field]).max())
              for field in PROBABILITIES if field in found}
    kinds = {kind: int(of.sum()) for kind, of in self.ties.items()}
    return {'crops': len(self.crops), 'joints': tied.size, 'near_ties': int(tied.sum()),
            'near_ties_of': kinds, 'heatmaps': maps, 'keypoints': distance} | others


def _peak(maps):
  """Largest height of each map (B,K), never 0."""
  return np.maximum(np.abs(maps).max((1, 2)), np.finfo(np.float32).tiny)


def _undecided(predictor, poses):
  """(B,K) bool: the joint of a mixture moves by over KEYPOINT if the scores of one network are TIE
  of themselves higher, and those of the others lower."""
  def joints(signs):
    return predictor.combined({
      name: poses[name] | {'scores': poses[name]['scores'] * (1 + sign * TIE)}
      for name, sign in zip(predictor.members, signs, strict=True)})['keypoints']
  count = len(predictor.members)
  own = joints(np.zeros(count))
  return np.any([np.linalg.norm(joints(2 * one - 1) - own, axis=-1) > KEYPOINT
                 for one in np.eye(count)], 0)


def near_ties(maps, by_sign):
  """{kind: (B,K) bool} joints of which two heights, at most TIE of the peak apart, decide.

  maximum: the two highest cells, or the highest and 0, below which there is no joint. neighbours:
  those on either side of the highest; only where their order decides (by_sign), as for the quarter
  pixel of the codec 'hrnet'.
  """
  b, h, w, k = maps.shape
  near = TIE * _peak(maps)
  flat = np.moveaxis(maps, -1, 1).reshape(b, k, h * w)
  second, first = np.moveaxis(np.partition(flat, -2)[..., -2:], -1, 0)
  kinds = {'maximum': (first - second <= near) | (np.abs(first) <= near)}
  if by_sign:
    y, x = np.divmod(flat.argmax(-1), w)
    beside = lambda dx, dy: np.take_along_axis(
      flat, (np.clip(y + dy, 0, h - 1) * w + np.clip(x + dx, 0, w - 1))[..., None], -1)[..., 0]
    level = [np.abs(beside(*step) - beside(*(-s for s in step))) <= near
             for step in ((1, 0), (0, 1))]
    kinds['neighbours'] = ~kinds['maximum'] & (level[0] | level[1])
  return kinds
