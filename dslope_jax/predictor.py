"""Poses of the people in any pictures, by a run of ours or by published weights."""
import dataclasses
import os

import numpy as np
from ml_collections import ConfigDict

from dslope_jax import skeletons, tasks
from dslope_jax.errors import UserError
from dslope_jax.evaluation import confidences
from dslope_jax.loading import Loaded, Networks, located, of_run
from dslope_jax.metrics import mixture
from dslope_jax.systems.base import Facts, without_view
from dslope_jax.tasks.base import BOXES
from dslope_jax.visibility import PROBABILITIES
from dslope_jax.weights import pytorch
from input_pipeline.sources import pictures

USUAL = {17: skeletons.COCO, 16: skeletons.MPII}  # by the number of keypoints, if none is named


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

  @property
  def places(self):
    """(P,K,2) keypoints, NaN for a joint that was not found."""
    return self.keypoints

  def to_supervision(self):
    """The same as `supervision.KeyPoints`; that package must be installed."""
    import supervision
    return supervision.KeyPoints(xy=self.keypoints.astype(np.float32),
                                 keypoint_confidence=self.scores.astype(np.float32))


class Predictor(Networks):
  """Predicts poses by any weights.

    people, = Predictor('runs/mine')([picture], [boxes])

  weights: 'WORKDIR' or 'WORKDIR:ANSWER' of a run: one of its networks, as in 'runs/mine:enet', or
    for a pair a mixture ('gate' where it was fitted, the default, else 'pick': the surer network
    of each joint; 'average', 'confidence'); of several readouts the final one, or 'net/heatmap'
    as the table of an evaluation calls it; the same of a published folder; a folder with
    model.safetensors of one network; a file that `init_from` takes, 'FILE:enet' for one network of
    several; or 'hf://OWNER/NAME', any of these folders on the Hugging Face hub.
  skeleton: a `Skeleton`, or the name of one of `skeletons.KNOWN`; a run knows its own. Otherwise 17
    keypoints are taken as COCO's, 16 as MPII's.
  size: (W, H) of the crops; a run knows its own, see `architecture.crop_size` for files.
  flip: average with the mirrored picture.
  dtype: in which the networks compute, such as 'float32'; None: as they were trained.

  Attributes: those of `Networks`, and codec, of `heatmaps`, or ''.

  Raises OSError or UserError, one line.
  """

  def __init__(self, weights, *, skeleton=None, size=None, flip=True, dtype=None):
    if isinstance(skeleton, str):
      skeleton = skeletons.by_name(skeleton)
    path, name, is_run = located(weights)
    found = (_of_run if is_run else _of_file)(path, name, skeleton, size and tuple(size))
    super().__init__(path, found, ('gate', 'pick'), flip=flip, dtype=dtype)
    self.codec = found.codec

  def __call__(self, images, boxes=None) -> list[People]:
    """The people of each picture.

    images: list of (H,W,3) uint8 RGB arrays or paths of picture files, which are turned upright.
    boxes: a list with an array (P,4) for each, x, y, width, height in pixels; None: every picture
    is one box.
    """
    images = [as_picture(image) for image in images]
    if boxes is None:
      boxes = [[(0, 0, *image.shape[1::-1])] for image in images]
    boxes = [checked_boxes(of) for of in boxes]
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

  def _nobody(self, count):
    """Samples of so many boxes of an empty picture."""
    boxes = np.full((count, 4), 8, np.float32)
    return self.serving.prepare(np.zeros((8, 8, 3), np.uint8), boxes)

  def _answers(self):
    """Also those of mixtures."""
    found, view = super()._answers(), next(iter(self._shapes)).rsplit('/', 1)[1]
    for mix in self.serving.system.mixes:
      rules = (mixture.RULES if '+'.join(mix) in self.fits.get('gates', {})
               else mixture.CALIBRATED)
      for rule in rules:
        found['/'.join([rule, *mix[0].split('/')[1:]])] = tuple(f'{name}/{view}' for name in mix)
    return found

  def combined(self, poses):
    """The fields of `People` of the answer, from the poses of its members."""
    mixes = [mix for mix in self.serving.system.mixes if len(self.members) > 1
             and mix == tuple(map(without_view, self.members))]
    view = self.members[0].rsplit('/', 1)[1]
    chosen = confidences.with_mixtures(poses, mixes, self.fits)[f'{self.answer}/{view}']
    return {field: chosen.get(field) for field in ('keypoints', 'scores', *PROBABILITIES)}


def _of_run(folder, asked, skeleton, size):
  found = of_run(folder, asked, BOXES)
  facts = found.facts
  if skeleton not in (None, facts.skeleton) or size not in (None, facts.size):
    raise UserError(f"the run in '{folder}' was trained with {facts.size[0]}x{facts.size[1]} crops "
                    f'and keypoints of {facts.skeleton.name}; leave size and skeleton out')
  return found if found.fits else found._replace(
    about=found.about + "; it has stored no calibration, so nothing says 'right'")


def _of_file(path, network, skeleton, size):
  """Weights of one network as a system that predicts by it alone."""
  converted, certificate = pytorch.load_file(path, '', {}, size, network)
  if converted.fresh:
    raise UserError(f"'{path}' has no head that puts out keypoints; give weights that were trained "
                    'on poses')
  if certificate['model'] == 'pose_gcn':
    raise UserError(f"'{path}' holds a graph network, which takes no pictures but the poses of "
                    'another network; predict with a run of both')
  if certificate['model'] == 'iresnet':
    raise UserError(f"'{path}' holds an iresnet, which tells who a face is of and puts out no "
                    'keypoints; give weights that were trained on poses')
  if certificate['model'] in ('smap', 'dsed', 'refine_net'):
    raise UserError(f"'{path}' holds {certificate['model']}, a part of a system for several "
                    'people; predict with weights for crops of one person')
  arguments, size = converted.arguments, tuple(certificate['image_size'])
  count = arguments['num_keypoints']
  skeleton = skeleton or USUAL.get(count)
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
  return Loaded(system['codec'], tasks.serve(config, facts), weights, facts, '', {}, about)


def as_picture(image):
  """(H,W,3) uint8 RGB of such an array, or of the path of a picture; UserError for other arrays."""
  if isinstance(image, (str, os.PathLike)):
    return pictures.read_picture(image, upright=True)
  image = np.asarray(image)
  if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
    raise UserError(f'a picture is an array (H,W,3) of uint8 in RGB order, not {image.shape} of '
                    f'{image.dtype}; give a list of them')
  return image


def checked_boxes(boxes):
  """(P,4) float32 boxes of a picture; UserError for anything else."""
  boxes = np.asarray(boxes, np.float32)
  boxes = boxes.reshape(-1, 4) if not boxes.size else boxes
  if boxes.ndim != 2 or boxes.shape[1] != 4 or not (np.abs(boxes) < 1e9).all():
    raise UserError(f'the boxes of a picture are an array (P,4) of finite numbers x, y, width, '
                    f'height, not {boxes.shape}')
  flat = (boxes[:, 2:] <= 0).any(1)
  if flat.any():
    number = int(flat.argmax())
    raise UserError(f'box {number} of a picture is {boxes[number].tolist()}, x, y, width, height; '
                    'both sides must be above 0')
  return boxes
