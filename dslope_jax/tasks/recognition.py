"""Recognition: a sample is the crop of a face, clean and occluded; who it is of is learned."""
import dataclasses
import functools
import inspect
import os

import jax
import numpy as np

from dslope_jax import systems
from dslope_jax.errors import UserError
from dslope_jax.evaluation import drawing, identity_scores
from dslope_jax.evaluation.base import EvalSet
from dslope_jax.systems.base import Facts
from dslope_jax.tasks import people
from dslope_jax.tasks.base import (
  FACES,
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
from dslope_jax.visibility import VISIBLE
from input_pipeline import face_alignment, face_crops, geometry, identities, stream
from input_pipeline.face_crops import Augmentation, FaceMaker
from input_pipeline.identities import pairing

FREE = ('data.root', 'data.num_workers', 'data.max_unreadable', 'data.patience')
SETS = identities
SETTLED = {'patches': ('data.name', 'data.train_split', 'data.loader', 'data.bank')}
_LEAST = 16  # pixels: the stages of all networks halve a crop four times
_APART = 100  # identities of a set whose folds share none: fewer would have few different impostors
VIEWS = {'clean': 'image', 'occluded': 'occluded_image'}


def build(config, workdir, training=True) -> Task:
  """The task of a config; without training it is that of the run in `workdir`, and has no class
  head: the identities that are evaluated are other ones."""
  size = tuple(config.data.size)
  if len(size) != 2 or size[0] != size[1] or size[0] < _LEAST:
    raise UserError(f'data.size is {size}; crops of faces are squares, such as (112, 112), of '
                    f'{_LEAST} pixels or more')
  if training:
    source = load(config, config.data.train_split)
    if len(source.names) < 2:
      raise UserError(f'{source.name} {source.split} has {len(source.names)} identity; two are '
                      'needed to train')
    facts = Facts(size=size, classes=len(source.names))
  else:
    source, facts = None, workdirs.read_facts(workdir)._replace(classes=0)
  system = systems.build(facts, **config.system.to_dict())
  bank = people.bank_of(config, workdir, functools.partial(_people_of_bank, config, source))
  evals = {name: _eval_set(config, name, system, source, bank) for name in config.evals}
  if not training:
    return Task(system, facts, example(facts), 0, None, evals)
  length = config.batch_size * optimizers.to_steps(config.duration,
                                                   len(source) / config.batch_size)
  maker = dataclasses.replace(
    _maker(config, source, bank, config.data.recipe, system.fields['loss']), seed=config.seed,
    augmentation=Augmentation(**config.data.augmentation), length=length)
  sheet = (os.path.join(bank.folder, 'contact_sheet.jpg'),) if bank else ()
  return Task(system, facts, example(facts), len(source),
              functools.partial(train_batches, config, maker), evals, source.digest, sheet,
              show=functools.partial(_show, maker))


def serve(config, facts: Facts) -> Serving:
  """Embeddings of faces in pictures, cut out by their landmarks or boxes as for the training."""
  system = systems.build(facts._replace(classes=0), **config.system.to_dict())
  size, crop, padding = facts.size, config.data.crop, config.data.padding

  def prepare(picture, boxes, landmarks=None, skeleton=None):
    """boxes: (P,4) or None; landmarks: (P,K,2) or None, of this skeleton, None of the five points.
    Without either the picture is one face."""
    five = None if landmarks is None or crop == 'box' else face_alignment.five_points(skeleton)
    count = 1 if boxes is None and landmarks is None else len(
      landmarks if boxes is None else boxes)
    crops = []
    for i in range(count):
      points = None if landmarks is None else landmarks[i]
      face = face_crops.placed(
        picture.shape[1::-1], size[0], five, None if boxes is None else boxes[i], points,
        None if points is None else np.full(len(points), VISIBLE), skeleton, padding)
      crops.append(geometry.warp(picture, face.to_crop, size))
    return {'image': np.array(crops, np.uint8).reshape(-1, *size[::-1], 3)}

  return Serving(system, prepare, lambda outputs, samples: outputs, FACES, 'unit length')


def load(config, split, data=None):
  """The `identities.Identities` of a split; what was left out of it is printed. data: section
  `evals.NAME.data`, whose empty fields are those of `config.data`."""
  return load_set(identities, _data_set(config, data), split)


def _data_set(config, data):
  """`data_set` without empty options, which are as the loader has them; the configs name those of
  all sets."""
  name, root, options = data_set(config, data)
  taken = inspect.signature(identities.loader(name)).parameters
  return name, root, {option: value for option, value in options.items()
                      if value != '' and (value or option in taken)}


def example(facts: Facts) -> dict:
  """A batch of shapes, B = 1."""
  w, h = facts.size
  picture = jax.ShapeDtypeStruct((1, h, w, 3), np.uint8)
  return {'image': picture, 'occluded_image': picture,
          'identity': jax.ShapeDtypeStruct((1,), np.int32)}


def _people_of_bank(config, source):
  """The people that patches are cut from, at most `data.bank.num_people`: of `source`, or, where it
  is None, of the training split."""
  source = source or load(config, config.data.train_split)
  wanted = min(len(source), config.data.bank.num_people)
  rows = np.random.default_rng(config.data.bank.seed).permutation(len(source))[:wanted]
  return face_crops.as_source(source, np.sort(rows))


def _maker(config, source, bank, recipe, fields):
  data = config.data
  return FaceMaker(source, tuple(data.size), bank, recipe, 0, crop=data.crop, padding=data.padding,
                   fields=fields)


def _eval_set(config, name, system, trained_on, bank):
  entry = config.evals[name]
  source = load(config, entry.split, entry.data)
  if trained_on is not None and data_set(config, entry.data)[:2] == data_set(config)[:2]:
    known = sorted(set(trained_on.names) & set(source.names))
    if known:
      print(f'warning: evals.{name}: {len(known)} of {len(source.names)} identities are trained '
            f"on, such as '{known[0]}': the numbers do not tell of others", flush=True)
  pairs, folds, about = _pairs(source, entry.pairs)
  faces = identity_scores.faces_of(source.identity, source.video, pairs, folds, [
    str(name) for name in np.array(source.names)[source.identity]])

  def batches(recipe=None):
    return eval_batches(config, entry, _maker(
      config, source, bank, recipe or entry.recipe, system.fields['predict']))

  def score(outputs, held_out_outputs, full=True, fits=None):
    return identity_scores.score(faces, outputs, mixes=system.mixes, full=full)

  return EvalSet(
    stamp=_stamp(config, entry, source, bank) | about, rows=len(source), batches=batches,
    test={'flip': entry.flip}, score=score,
    variants={f'severity{level}': {'recipe': f'face_severity{level}' if level else 'none'}
              for level in range(6)},
    pictures=functools.partial(
      _cases, _maker(config, source, bank, entry.recipe, tuple(VIEWS.values())), faces))


def _pairs(source, count):
  """(pairs, folds or None, what the stamp says of them): the set's own, or `count` at most."""
  pairs, folds, drawn = source.pairs, source.folds, source.pairs is None
  if drawn and len(source.names) >= _APART:
    pairs, folds = pairing.draw_in_folds(source.identity, source.video, count, seed=0)
  elif drawn:
    pairs = pairing.draw(source.identity, source.video, count, seed=0)
  of = 'every tenth pair' if folds is None else 'no identity in two' if drawn else 'given'
  return pairs, folds, {'pairs': f"{len(pairs)} {'drawn' if drawn else 'given'}", 'folds': of}


def _stamp(config, entry, source, bank):
  size, crop = config.data.size, config.data.crop
  return {'data': source.name, 'split': source.split, 'pictures': len(source),
          'identities': len(source.names), 'digest': source.digest,
          'loader': describe_loader(_data_set(config, entry.data)[2]),
          'size': f'{size[0]}x{size[1]}', 'crop': crop, 'padding': config.data.padding,
          'flip': entry.flip, 'recipe': entry.recipe, 'benchmark': face_crops.BENCHMARK,
          'bank': bank.digest if bank else 'none', 'ema': config.ema_decay > 0}


# ---- pictures

def _show(maker, count):
  """The crops that the loss sees; see `Task.show`."""
  out = []
  for sample in stream.first_samples(maker, count):
    out.append({'caption': maker.name(int(sample['row'])), 'pictures': {
      view: sample[field] for view, field in VIEWS.items() if field in sample}})
  return out


def _cases(maker, faces, outputs, rows):
  """A face, clean and occluded, and whom each network finds for the occluded picture."""
  rows, out = list(rows), []
  found = identity_scores.nearest(faces, outputs, rows)
  for i, row in enumerate(rows):
    sample = maker.evaluate(row)
    shown = {view: sample[field] for view, field in VIEWS.items()}
    answers = [f'{network}: {faces.names[found[network][i]]}' for network in found]
    for network in found:
      match = int(found[network][i])
      shown[f'{network} finds'] = drawing.framed(
        maker.evaluate(match)['image'], faces.identity[match] == faces.identity[row])
    out.append({'caption': ', '.join([str(faces.names[row]), *answers]), 'pictures': shown})
  return out
