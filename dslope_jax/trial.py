"""Tries weights on one picture under occluders: both networks and their mixture side by side."""
import contextlib
import os
import tempfile
from typing import NamedTuple

import cv2
import jax
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.evaluation import confidences, drawing
from dslope_jax.predictor import Predictor
from dslope_jax.systems.base import Forward, without_view
from dslope_jax.tasks import people
from dslope_jax.visibility import PROBABILITIES
from dslope_jax.weights.files import split_network
from input_pipeline.geometry import box_to_center_scale
from input_pipeline.occlusion import bank as patch_bank
from input_pipeline.occlusion import recipes
from input_pipeline.sources import pictures, synthetic

RECIPES = ('none', 'published', 'severity', 'mask_joints_scaled', 'instance_paste')
_LONGEST = 1024  # pixels of a side of a picture, beyond which it is shrunk
_SHOWN = 384  # pixels of the longer side of what is drawn
_NUMBERS = ('score', *PROBABILITIES)


class Shown(NamedTuple):
  """clean, occluded: {title: (H,W,3) uint8 RGB} of the picture, and for each network what it makes
  of it. columns, rows: of a table of the occluded picture, a row for each joint; what the weights
  do not give is ''."""
  clean: dict
  occluded: dict
  columns: list
  rows: list


class Trial(contextlib.AbstractContextManager):
  """What networks make of a picture of one person, clean and under occluders.

  weights: as for `Predictor`. The occluders are cut from the training people of a run, and from
  people of the embedded world where the weights have no patch bank of their own. The folder of a
  bank that was made for it is removed when the block ends.

  Attributes: about, a line on the weights and one on the bank. recipes: those that the bank serves.
  Raises OSError or UserError, one line.
  """

  def __init__(self, weights, skeleton=None, size=None):
    self._predictor = Predictor(weights, skeleton=skeleton, size=size)
    system = self._predictor.serving.system
    self._run = jax.jit(lambda weights, batch: system.predict(
      Forward(system.networks, weights['params'], weights['batch_stats']), batch,
      with_heatmaps=True))
    self._closing = contextlib.ExitStack()
    self._bank, where = self._find_bank(split_network(os.fspath(weights))[0])
    self.about = f'weights: {self._predictor.about}\npatches: {where}'
    self.recipes = [name for name in RECIPES if self._serves(name)]

  def __exit__(self, *_):
    self._closing.close()

  def __call__(self, picture, recipe='none', severity=3, seed=0, layers=()) -> Shown:
    """picture: (H,W,3) uint8 RGB, one person. severity: 1 to 5, of that recipe. layers: (h,w,4)
    uint8 RGBA, painted over it; they are stretched to the picture's size."""
    name = f'severity{int(severity)}' if recipe == 'severity' else recipe
    recipes.recipe(name)  # an unknown one is told before anything is computed
    picture = _shrunk(picture)
    clean, crop = self._answers(picture)
    found = occlude(_painted(picture, layers), clean[self._predictor.answer]['keypoints'],
                    self._skeleton, self._bank, name, int(seed))
    answers, occluded_crop = self._answers(found.image)
    columns = ['joint', 'covered', *(f'{answer} {number}' for answer in answers
                                     for number in _NUMBERS)]
    rows = [[joint, 'yes' if found.covered[k] else '', *(
      '' if pose.get(number) is None else round(float(pose[number][k]), 2)
      for pose in answers.values() for number in _NUMBERS)]
      for k, joint in enumerate(self._skeleton.names)]
    return Shown(self._draw(picture, crop, clean),
                 self._draw(found.image, occluded_crop, answers), columns, rows)

  @property
  def _skeleton(self):
    return self._predictor.facts.skeleton

  def _find_bank(self, folder):
    """(patch bank, what to say of it): the run's own, else one of the embedded world."""
    is_run = os.path.exists(os.path.join(folder, 'facts.json'))
    own = is_run and (people.recorded_bank(folder) or os.path.join(folder, 'patches'))
    if own and os.path.exists(own):
      return patch_bank.PatchBank(own), f"'{own}'"
    made = os.path.join(self._closing.enter_context(tempfile.TemporaryDirectory()), 'patches')
    source = synthetic.load('patches', num_people=60)
    return (patch_bank.load_or_build(made, source, num_people=60, seed=0),
            'of rendered people, since the weights have none of their own')

  def _serves(self, recipe):
    try:
      recipes.check_bank('severity1' if recipe == 'severity' else recipe, self._bank)
    except UserError:
      return False
    return True

  def _answers(self, picture):
    """({answer: {'keypoints' (K,2), 'scores', 'score', perhaps those of `PROBABILITIES`
    (K,), perhaps 'heatmaps' (h,w,K)}}, crop): of every network and, if they answer together, of
    that."""
    serving, answer = self._predictor.serving, self._predictor.answer
    samples = serving.prepare(picture, _whole(picture)[None])
    inputs = {name: samples[name] for name in serving.system.fields['predict'] if name in samples}
    outputs = jax.device_get(self._run(self._predictor.weights, inputs))
    poses = confidences.with_mixtures(serving.finish(outputs, samples), serving.system.mixes,
                                      self._predictor.fits)
    named = {without_view(name): pose for name, pose in poses.items()}
    networks = [name for mix in serving.system.mixes for name in mix]
    networks += [without_view(name) for name in outputs]
    out = {name: {field: values[0] for field, values in named[name].items()}
           for name in dict.fromkeys([*networks, answer])}
    for pose in out.values():
      pose['score'] = pose['scores']
    return out, samples['image'][0]

  def _draw(self, picture, crop, answers):
    factor = _SHOWN / max(picture.shape[:2])
    large, large_crop = _resized(picture, factor), _resized(crop, _SHOWN / max(crop.shape[:2]))
    out = {'picture': large}
    for name, pose in answers.items():
      visible = pose.get('visible')
      out[name] = drawing.draw_people(
        large, np.zeros((1, 4)), pose['keypoints'][None] * factor, pose['scores'][None],
        None if visible is None else visible[None], self._skeleton)
      if 'heatmaps' in pose:
        out[f'{name} heatmaps'] = drawing.draw_heatmaps(large_crop, pose['heatmaps'])
    return out


def occlude(picture, keypoints, skeleton, bank, recipe, seed) -> recipes.Occluded:
  """The picture of one person under occluders, which aim at the joints (K,2) that lie in it."""
  height, width = picture.shape[:2]
  inside = ((keypoints >= 0) & (keypoints < (width, height))).all(1)
  box = _whole(picture)
  person = recipes.Person(
    keypoints.astype(np.float64), np.where(inside, 2, 0).astype(np.uint8), box,
    box_to_center_scale(box, width / height)[1], skeleton, np.eye(2, 3), (width, height))
  return recipes.occlude(picture, person, bank, np.random.default_rng(seed), recipe)


def rendered_people(count=6) -> list:
  """Pictures (H,W,3) uint8 RGB of people of the embedded world, to pick from."""
  source = synthetic.load('trial', num_people=count, size=(256, 320), people=(1, 1))
  return [cut_out(source.read(row), source.box[row]) for row in range(count)]


def cut_out(picture, box, margin=0.1):
  """What a picture shows of a box x, y, width, height, enlarged by a margin on each side."""
  low, sides = box[:2] - margin * box[2:], (1 + 2 * margin) * box[2:]
  (x1, y1), (x2, y2) = np.maximum(low, 0).astype(int), np.ceil(low + sides).astype(int)
  return np.ascontiguousarray(picture[y1:y2, x1:x2])


def read_upload(path):
  """(H,W,3) uint8 RGB of a picture file that somebody brings, upright; OSError, one line, that
  names the file without its folder. It is refused by its header before anything is decoded."""
  try:
    return _shrunk(pictures.read_picture(path, upright=True))
  except OSError as error:
    raise OSError(str(error).replace(os.path.join(os.path.dirname(path), ''), '')) from None


def _whole(picture):
  return np.array((0, 0, *picture.shape[1::-1]), np.float32)


def _shrunk(picture):
  factor = _LONGEST / max(picture.shape[:2])
  return picture if factor >= 1 else _resized(picture, factor)


def _resized(picture, factor):
  size = [max(1, round(side * factor)) for side in picture.shape[1::-1]]
  return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def _painted(picture, layers):
  """The picture under layers (h,w,4) RGBA."""
  for layer in layers:
    layer = cv2.resize(layer, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    opacity = layer[..., 3:].astype(np.float32) / 255
    picture = (opacity * layer[..., :3] + (1 - opacity) * picture).round().astype(np.uint8)
  return picture
