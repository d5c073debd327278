"""Poses of the people in any pictures, by a run of ours or by published weights."""
import dataclasses
import os
from typing import NamedTuple

import flax.errors
import jax
import numpy as np
from ml_collections import ConfigDict

from dslope_jax import skeletons, tasks
from dslope_jax.errors import UserError, quoted
from dslope_jax.evaluation import confidences
from dslope_jax.files import first_line
from dslope_jax.metrics import mixture
from dslope_jax.systems.base import Facts, Forward, join, without_view
from dslope_jax.tasks.base import Serving
from dslope_jax.training import checkpointing
from dslope_jax.training import workdir as workdirs
from dslope_jax.visibility import PROBABILITIES
from dslope_jax.weights import published, pytorch
from dslope_jax.weights.files import is_weights, split_network
from dslope_jax.weights.hub import local_weights
from input_pipeline.sources import pictures

BUCKETS = (1, 4, 16, 64)  # people in a call of the compiled function; each size compiles once


@dataclasses.dataclass(frozen=True)
class People:
  """The P people of a picture, in the order of their boxes; pixels of the picture.

  boxes: (P,4) x, y, width, height. keypoints: (P,K,2). scores: (P,K), the networks' own: higher is
  surer. The rest is (P,K), probabilities, or None where the weights do not give them. right: the
  joint is where it is said to be (its OKS reaches 0.5). visible: it can be seen. present: it is
  inside of the picture.
  """
  boxes: np.ndarray
  keypoints: np.ndarray
  scores: np.ndarray
  right: np.ndarray | None = None
  visible: np.ndarray | None = None
  present: np.ndarray | None = None

  def __len__(self):
    return len(self.boxes)

  def to_supervision(self):
    """The same as `supervision.KeyPoints`; that package must be installed."""
    import supervision
    return supervision.KeyPoints(xy=self.keypoints.astype(np.float32),
                                 keypoint_confidence=self.scores.astype(np.float32))


class _Loaded(NamedTuple):
  """What weights are: see the attributes of `Predictor`. asked: name of an answer, or ''."""
  codec: str
  serving: Serving
  weights: dict
  facts: Facts
  asked: str
  fits: dict
  about: str


class Predictor:
  """Predicts poses by any weights.

    people, = Predictor('runs/mine')([picture], [boxes])

  weights: 'WORKDIR' or 'WORKDIR:ANSWER' of a run: one of its networks, as in 'runs/mine:enet', or
    for a pair a mixture ('pick', the default: the surer network of each joint; 'average',
    'confidence', 'gate' where it was fitted); of several readouts the final one, or 'net/heatmap'
    as the table of an evaluation calls it; the same of a published folder; a folder with
    model.safetensors of one network; a file that `init_from` takes, 'FILE:enet' for one network of
    several; or 'hf://OWNER/NAME', any of these folders on the Hugging Face hub.
  skeleton: a `Skeleton`, or the name of one of `skeletons.KNOWN`; a run knows its own. Otherwise 17
    keypoints are taken as COCO's, 16 as MPII's.
  size: (W, H) of the crops; a run knows its own, see `architecture.crop_size` for files.
  flip: average with the mirrored picture.
  dtype: in which the networks compute, such as 'float32'; None: as they were trained.

  Attributes: serving, the system and the way from pictures to it and back. weights: {'params',
  'batch_stats'}. facts. codec, of `heatmaps`, or ''. answer: the output, or the mixture of
  outputs, that is given; answers: all names that it may have. members: the outputs that it needs.
  test: of `System.predict`. fits: the calibration or {}. about: a line for the user that says all
  this.

  Raises OSError or UserError, one line.
  """

  def __init__(self, weights, *, skeleton=None, size=None, flip=True, dtype=None):
    if isinstance(skeleton, str):
      skeleton = skeletons.by_name(skeleton)
    path, name = split_network(local_weights(os.fspath(weights)))
    is_run = published.is_published(path) or os.path.isdir(path) and not is_weights(path)
    load = _of_run if is_run else _of_file
    found = load(path, name, skeleton, size and tuple(size))
    self.serving, self.facts, self.fits = found.serving, found.facts, found.fits
    self.codec = found.codec
    if dtype:
      system = self.serving.system
      networks = {name: net.clone(dtype=dtype) if hasattr(net, 'dtype') else net
                  for name, net in system.networks.items()}
      self.serving = self.serving._replace(system=system._replace(networks=networks))
    self.weights = jax.device_put(found.weights)
    self.test = {'flip': flip}
    try:
      self._shapes = jax.eval_shape(self._predict, self.weights, self._inputs(self._nobody(1)))
    except flax.errors.FlaxError as error:
      raise UserError(f"the weights in '{path}' are not of the network that its config.json names "
                      f'({first_line(error)}); get the file back from a copy') from None
    answers = _answers(self._shapes, self.serving.system.mixes, self.fits)
    system = self.serving.system
    final = {name: join(name, system.readouts[-1]) for name in ('pick', *system.networks)}
    asked = found.asked or next(name for name in final.values() if name in answers)
    asked = asked if asked in answers else final.get(asked, asked)
    if asked not in answers:
      raise UserError(f"'{path}' gives {', '.join(answers)}, not {quoted(found.asked)}")
    self.answer, self.answers, self.members = asked, tuple(answers), answers[asked]
    of = f' of {" and ".join(map(without_view, self.members))}' if len(self.members) > 1 else ''
    self.about = found.about + (f'; answer: {asked}{of}' if len(answers) > 1 else '')
    # Outputs that are not asked for are not computed.
    self._run = jax.jit(lambda weights, batch: {
      name: fields for name, fields in self._predict(weights, batch).items()
      if name in self.members})

  def __call__(self, images, boxes=None) -> list[People]:
    """The people of each picture.

    images: list of (H,W,3) uint8 RGB arrays or paths of picture files, which are turned upright.
    boxes: a list with an array (P,4) for each, x, y, width, height in pixels; None: every picture
    is one box.
    """
    images = [_picture(image) for image in images]
    if boxes is None:
      boxes = [[(0, 0, *image.shape[1::-1])] for image in images]
    boxes = [_checked_boxes(of) for of in boxes]
    if len(boxes) != len(images):
      raise UserError(f'{len(images)} pictures and boxes of {len(boxes)}')
    parts = [self.serving.prepare(image, of) for image, of in zip(images, boxes, strict=True) if
             len(of)] or [self._nobody(0)]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    poses = self.combined(self.serving.finish(self._outputs(samples), samples))
    ends = np.cumsum([len(of) for of in boxes])
    return [People(of, **{field: None if values is None else values[end - len(of):end]
                          for field, values in poses.items()})
            for of, end in zip(boxes, ends.tolist(), strict=True)]

  def _predict(self, weights, batch):
    system = self.serving.system
    return system.predict(Forward(system.networks, weights['params'], weights['batch_stats']),
                          batch, **self.test)

  def _nobody(self, count):
    """Samples of so many boxes of an empty picture."""
    boxes = np.full((count, 4), 8, np.float32)
    return self.serving.prepare(np.zeros((8, 8, 3), np.uint8), boxes)

  def _inputs(self, samples):
    return {name: samples[name] for name in self.serving.system.fields['predict']
            if name in samples}

  def _outputs(self, samples):
    """{output: fields} of all samples, by calls of a few fixed sizes."""
    inputs = self._inputs(samples)
    pieces, results = _pieces(len(next(iter(inputs.values())))), []
    for start, stop, size in pieces:
      results.append(self._run(self.weights, {
        name: _padded(values[start:stop], size) for name, values in inputs.items()}))
    shapes = {name: self._shapes[name] for name in self.members}
    empty = jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape[1:]), leaf.dtype), shapes)
    kept = [jax.tree.map(lambda leaf, n=stop - start: np.asarray(leaf)[:n], result)
            for result, (start, stop, _) in zip(results, pieces, strict=True)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), empty, *kept)

  def combined(self, poses):
    """The fields of `People` of the answer, from the poses of its members."""
    mixes = [mix for mix in self.serving.system.mixes if len(self.members) > 1
             and mix == tuple(map(without_view, self.members))]
    view = self.members[0].rsplit('/', 1)[1]
    chosen = confidences.with_mixtures(poses, mixes, self.fits)[f'{self.answer}/{view}']
    return {field: chosen.get(field) for field in ('keypoints', 'scores', *PROBABILITIES)}


def _answers(outputs, mixes, fits):
  """{name: the outputs that it needs}; a name is one of an output or of a mixture, without view."""
  found = {without_view(output): (output,) for output in outputs}
  view = next(iter(outputs)).rsplit('/', 1)[1]
  for mix in mixes:
    rules = mixture.RULES if '+'.join(mix) in fits.get('gates', {}) else mixture.WITHOUT_FIT
    for rule in rules:
      found['/'.join([rule, *mix[0].split('/')[1:]])] = tuple(f'{name}/{view}' for name in mix)
  return found


def _of_run(folder, asked, skeleton, size):
  config, facts = workdirs.settings(folder), workdirs.read_facts(folder)
  if skeleton not in (None, facts.skeleton) or size not in (None, facts.size):
    raise UserError(f"the run in '{folder}' was trained with {facts.size[0]}x{facts.size[1]} crops "
                    f'and keypoints of {facts.skeleton.name}; leave size and skeleton out')
  serving, ema = tasks.serve(config, facts), config.get('ema_decay', 0) > 0
  if published.is_published(folder):
    weights, step = published.read(folder, serving.system.networks, facts.size)
  else:
    weights, step = checkpointing.restore_networks(folder, ema=ema)
  stored = confidences.stored(folder, step)
  about = f"'{folder}', step {step}" + (', moving average' if ema else '') + (
    f", calibrated by '{os.path.relpath(stored[0], folder)}'" if stored else
    "; it has stored no calibration, so nothing says 'right'")
  return _Loaded(config.system.get('codec', ''), serving, weights, facts, asked,
                 stored[1] if stored else {}, about)


def _of_file(path, network, skeleton, size):
  """Weights of one network as a system that predicts by it alone."""
  converted, certificate = pytorch.load_file(path, '', {}, size, network)
  if converted.fresh:
    raise UserError(f"'{path}' has no head that puts out keypoints; give weights that were trained "
                    'on poses')
  if certificate['model'] == 'pose_gcn':
    raise UserError(f"'{path}' holds a graph network, which takes no pictures but the poses of "
                    'another network; predict with a run of both')
  if certificate['model'] in ('smap', 'dsed', 'refine_net'):
    raise UserError(f"'{path}' holds {certificate['model']}, a part of a system for several "
                    'people; predict with weights for crops of one person')
  arguments, size = converted.arguments, tuple(certificate['image_size'])
  count = arguments['num_keypoints']
  skeleton = skeleton or {17: skeletons.COCO, 16: skeletons.MPII}.get(count)
  if skeleton is None or skeleton.num_keypoints != count:
    raise UserError(f"'{path}' puts out {count} keypoints; name the skeleton that has them "
                    f'(--skeleton), one of {", ".join(skeletons.KNOWN)}. Networks of other '
                    'keypoints are predicted with from their run, or from what tools/publish.py '
                    'makes of it, which knows them')
  name = certificate['model']
  model = {k: v for k, v in arguments.items() if k != 'num_keypoints'} | {'name': name}
  # As published: ViTPose with UDP, all others with HRNet's codec; sigma 2 for 256, 3 for 384 rows.
  system = {'name': 'heatmap', 'view': 'clean', 'codec': 'udp' if name == 'vitpose' else 'hrnet',
            'sigma': max(2.0, max(size) / 128), 'model': model}
  config = ConfigDict({'task': 'top_down', 'system': system, 'data': {
    'name': skeleton.name, 'size': size, 'loader': {'padding': 1.25}}})
  facts = Facts(skeleton, size)
  given = {k: v for k in ('size', 'depth', 'width') if (v := arguments.get(k)) is not None}
  if len(given) == 3:  # of ViTPose: the others replace what its size says
    del given['size']
  told = ', '.join(f'{k} {v}' for k, v in given.items())
  about = (f"'{path}': {name} ({told}), {count} keypoints of {skeleton.name}, crops of "
           f'{size[0]}x{size[1]}, codec {system["codec"]}')
  weights = {kind: {'net': converted.variables.get(kind, {})} for kind in ('params', 'batch_stats')}
  return _Loaded(system['codec'], tasks.serve(config, facts), weights, facts, '', {}, about)


def _picture(image):
  if isinstance(image, (str, os.PathLike)):
    return pictures.read_picture(image, upright=True)
  image = np.asarray(image)
  if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
    raise UserError(f'a picture is an array (H,W,3) of uint8 in RGB order, not {image.shape} of '
                    f'{image.dtype}; give a list of them')
  return image


def _checked_boxes(boxes):
  boxes = np.asarray(boxes, np.float32)
  boxes = boxes.reshape(-1, 4) if not boxes.size else boxes
  if boxes.ndim != 2 or boxes.shape[1] != 4 or not (np.abs(boxes) < 1e9).all():
    raise UserError(f'the boxes of a picture are an array (P,4) of finite numbers x, y, width, '
                    f'height, not {boxes.shape}')
  return boxes


def _pieces(count):
  """[(start, stop, size of the call)] for so many people, few calls with little padding: a call
  is filled by more than half."""
  out, start = [], 0
  while start < count:
    left = count - start
    size = next((size for size in BUCKETS if left <= size < 2 * left),
                max(size for size in BUCKETS if size <= left))
    out.append((start, min(start + size, count), size))
    start += size
  return out


def _padded(values, size):
  return np.concatenate([values, np.repeat(values[:1], size - len(values), 0)])
