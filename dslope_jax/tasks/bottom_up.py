"""Several people in space: a sample is a whole picture, clean and with things pasted over it."""
import functools

import jax
import numpy as np

from dslope_jax import systems
from dslope_jax.errors import UserError
from dslope_jax.evaluation import drawing, people_scores
from dslope_jax.evaluation.base import EvalSet
from dslope_jax.systems.base import Facts
from dslope_jax.tasks.base import (
  PICTURES,
  Serving,
  Task,
  data_set,
  describe_loader,
  eval_batches,
  load_set,
  train_batches,
)
from dslope_jax.training import optimizers
from dslope_jax.training import workdir as workdirs
from dslope_jax.visibility import is_labelled
from input_pipeline import letterbox, pictures, stream, whole_pictures
from input_pipeline.joined import JoinedMaker
from input_pipeline.letterbox import Augmentation
from input_pipeline.occlusion import things
from input_pipeline.occlusion.bank import PatchBank
from input_pipeline.pictures.picture import CHANNELS, SKELETON
from input_pipeline.whole_pictures import PictureMaker

FREE = ('data.root', 'data.num_workers', 'data.patience')
SETS = pictures
SETTLED = {}
_STRIDE = 4  # pixels of the network's picture for one of a map
_KEPT = ('people', 'occluded_people', 'valid', 'camera', 'overflow')  # what scoring must know
_VIEWS = {'clean': ('image', 'people'), 'occluded': ('occluded_image', 'occluded_people')}


def build(config, workdir, training=True) -> Task:
  """The task of a config; without training it is that of the run in `workdir`."""
  facts = Facts(SKELETON, _size(config)) if training else workdirs.read_facts(workdir)
  system = systems.build(facts, **config.system.to_dict())
  example = example_of(facts.size, config.data.max_people)
  sources = _training(config) if training else ()
  evals = {name: _eval_set(config, name, system, facts) for name in config.evals}
  if not training:
    return Task(system, facts, example, 0, None, evals)
  maker = _maker(config, facts, sources, system.fields['loss'])
  digest = ' '.join(source.digest for source in sources)
  return Task(system, facts, example, len(maker), functools.partial(train_batches, config, maker),
              evals, digest, show=functools.partial(_show, maker))


def serve(config, facts: Facts) -> Serving:
  """Prediction on whole pictures (H,W,3) uint8 with their cameras; people are in the pictures'
  pixels and in mm in the camera's frame."""
  system = systems.build(facts, **config.system.to_dict())

  def prepare(picture, camera):
    size = picture.shape[1::-1]
    shown = letterbox.fit(size, facts.size)
    return {'image': letterbox.warp(picture, shown, facts.size)[None],
            'camera': letterbox.camera(shown, size, camera)[None]}

  def finish(outputs, samples):
    return {row: found | {
      'keypoints': people_scores.to_picture(found['keypoints'], samples['camera']),
      'keypoints_3d': people_scores.MM * found['keypoints_3d']} for row, found in outputs.items()}

  return Serving(system, prepare, finish, PICTURES, 'mm')


def _training(config):
  """The pictures that are trained on: of `data`, and of the set beside it where there is one."""
  things.check(config.data.recipe, 'data.recipe', training=True)
  beside = config.data.beside
  more = (load(config, beside.train_split, beside),) if beside.name else ()
  return load(config, config.data.train_split), *more


def _maker(config, facts, sources, fields):
  data, bank = config.data, _bank(config)
  times = (1, data.beside.times)[:len(sources)]
  samples = sum(len(source) * n for source, n in zip(sources, times, strict=True))
  length = config.batch_size * optimizers.to_steps(config.duration, samples / config.batch_size)
  augmentation = Augmentation(**data.augmentation.to_dict())
  scales = data.augmentation.scale, data.beside.scale
  for field, scale in zip(('augmentation', 'beside'), scales, strict=True):
    if len(scale) != 2 or scale[0] > scale[1]:
      raise UserError(f'data.{field}.scale is {scale}, must be the lowest and the highest factor')
  makers = [PictureMaker(source, facts.size, bank, data.recipe, config.seed,
                         augmentation._replace(scale=scale), fields, data.max_people, length)
            for source, scale in zip(sources, scales, strict=False)]
  return makers[0] if len(makers) == 1 else JoinedMaker(tuple(makers), times, config.seed)


def load(config, split, data=None) -> pictures.picture.Pictures:
  """The pictures of a split; what is to be known of them is printed. data: section
  `evals.NAME.data`, whose empty fields are those of `config.data`."""
  return load_set(pictures, data_set(config, data), split)


def example_of(size, people: int) -> dict:
  """A batch of shapes, B = 1; size: (W, H) of the network's picture."""
  w, h = size
  shape = lambda *last, dtype=np.float32: jax.ShapeDtypeStruct((1, *last), dtype)
  rows = shape(people, SKELETON.num_keypoints, 6)
  return {'image': shape(h, w, 3, dtype=np.uint8), 'people': rows, 'occluded_people': rows,
          'occluded_image': shape(h, w, 3, dtype=np.uint8), 'valid': shape(people, dtype=np.bool_),
          'ignore': shape(h // _STRIDE, w // _STRIDE, dtype=np.bool_), 'camera': shape(7),
          'has_depth': shape(dtype=np.bool_), 'channels': shape(CHANNELS)}


def _size(config):
  size = tuple(config.data.size)
  if len(size) != 2 or min(size) < 32 or any(side % 32 for side in size):
    raise UserError(f'data.size is {size}, must be (width, height) in multiples of 32 pixels')
  return size


def _bank(config):
  """Things to paste; None for black boxes."""
  return PatchBank(config.data.bank.folder) if config.data.bank.folder else None


# ---- the evaluation

def _eval_set(config, name, system, facts):
  entry = config.evals[name]
  people_scores.check_metric(entry.metric)
  things.check(entry.recipe, f'evals.{name}.recipe')
  source = load(config, entry.split, entry.data)
  if not source.has_depth:
    raise UserError(f'evals.{name}: {source.name} {source.split} has no people in space, and '
                    'nothing else is scored; take a set that has')
  bank = _bank(config)
  maker = lambda recipe, only: PictureMaker(
    source, facts.size, bank, recipe, 0, fields=tuple(
      field for field in whole_pictures.FIELDS if field in only),
    max_people=config.data.max_people)
  shown = [view for view in _VIEWS if view == 'clean' or entry.recipe != things.NONE]

  def batches(recipe=None):
    views = shown if recipe is None else ['occluded']
    fields = {field for view in views for field in _VIEWS[view]} | {*_KEPT} - {'occluded_people'}
    return eval_batches(config, entry, maker(recipe or entry.recipe, fields))

  of_pictures = people_scores.Pictures(
    facts.size, source.file, source.take, source.activity, _annotation(config, entry))

  def score(outputs, held_out_outputs, full=True, fits=None):
    return people_scores.score(of_pictures, outputs, metric=entry.metric, full=full)

  everything = maker(entry.recipe, whole_pictures.FIELDS)
  return EvalSet(
    stamp=_stamp(config, entry, source, facts, bank), rows=len(source), batches=batches,
    test={'flip': entry.flip, 'peak': entry.peak}, score=score, keep=_KEPT,
    variants={f'severity{level}': {'recipe': f'severity{level}' if level else things.NONE}
              for level in range(6)},
    pictures=lambda outputs, rows: [_case(everything, outputs, row, shown) for row in rows])


def _annotation(config, entry):
  """Which of MuPoTS' annotations the truth is: enters names of results alone."""
  name, _, options = data_set(config, entry.data)
  return options.get('truth', 'univ') if name == 'mupots' else 'metric'


def _stamp(config, entry, source, facts, bank):
  thresholds = dict(config.system.get('thresholds', {})) | ({'peak': entry.peak} if entry.peak
                                                           else {})
  return {'data': source.name, 'split': source.split, 'pictures': len(source),
          'digest': source.digest, 'loader': describe_loader(data_set(config, entry.data)[2]),
          'size': list(facts.size), 'max_people': config.data.max_people, 'metric': entry.metric,
          'recipe': entry.recipe, 'bank': bank.digest if bank else 'black boxes',
          'benchmark': whole_pictures.BENCHMARK, 'flip': entry.flip,
          'thresholds': describe_loader(thresholds), 'ema': config.ema_decay > 0}


# ---- pictures

def _show(maker, count):
  """The pictures that the loss sees, with the true people; see `Task.show`."""
  out = []
  for sample in stream.first_samples(maker, count):
    shown = {f'input {view}': _draw(sample[image], _truth(sample, people))
             for view, (image, people) in _VIEWS.items() if image in sample}
    if not shown:  # networks that see no pictures: the joints alone
      h, w = (_STRIDE * side for side in sample['ignore'].shape)
      grey = np.full((h, w, 3), 24, np.uint8)
      people = next(people for _, people in _VIEWS.values() if people in sample)
      shown = {'people': _draw(grey, _truth(sample, people))}
    out.append({'caption': maker.name(int(sample['row'])), 'pictures': shown})
  return out


def _truth(sample, field):
  """(keypoints (P,K,2), shown (P,K)) of the true people."""
  people = sample[field][sample['valid']]
  return people[..., :2], is_labelled(people[..., 5])


def _draw(image, people):
  for keypoints, shown in zip(*people, strict=True):
    image = drawing.draw_pose(image, keypoints, shown, SKELETON)
  return image


def _case(maker, outputs, row, shown):
  """People in the picture and from above: the true ones, and those of each output."""
  sample = maker.evaluate(row)
  truth = sample['people'][sample['valid']]
  known = truth[..., 4] > 0
  reach = 1.25 * max(truth[..., 4].max(initial=0), 200.0)
  above = lambda poses, there: drawing.draw_above(poses, there, SKELETON, maker.size, reach)
  found = {'truth': _draw(sample['image'], _truth(sample, 'people')),
           'truth above': above(truth[..., 2:5], known)}
  for name, fields in outputs.items():
    view = name.rpartition('/')[2]
    if name == 'batch' or view not in shown:
      continue
    answer = {field: values[row][fields['valid'][row]] for field, values in fields.items()
              if field not in ('valid', 'overflow')}
    there = answer['scores'] > 0
    found[name] = _draw(sample[_VIEWS[view][0]], (answer['keypoints'], there))
    found[f'{name} above'] = above(answer['keypoints_3d'], there)
  return {'caption': maker.name(row), 'pictures': found}
