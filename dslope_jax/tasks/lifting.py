"""Lifting: a sample is a clip of one person's 2D keypoints, clean and with joints hidden."""
import functools

import jax
import numpy as np

from dslope_jax import cameras, systems
from dslope_jax.errors import UserError
from dslope_jax.evaluation import drawing, lifting_scores
from dslope_jax.evaluation.base import EvalSet
from dslope_jax.systems.base import Facts
from dslope_jax.tasks.base import (
  TRACKS,
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
from input_pipeline import clips, sequences, stream, windows
from input_pipeline.clips import ClipMaker

FREE = ('data.root', 'data.num_workers', 'data.patience')
SETS = sequences
SETTLED = {}
_KEPT = ('keypoints_3d', 'visibility', 'covered')  # what scoring must know beside the predictions
# Of answers: the image space has no scale of its own.
UNITS = {'camera': 'mm', 'image': 'half picture width'}
_INPUTS = {'clean': 'keypoints_2d', 'occluded': 'occluded_keypoints_2d'}


def build(config, workdir, training=True) -> Task:
  """The task of a config; without training it is that of the run in `workdir`."""
  if config.data.target not in clips.TARGETS:
    raise UserError(f"data.target is one of {', '.join(clips.TARGETS)}, not '{config.data.target}'")
  needs = {'system.model.xy_residual': config.system.model.get('xy_residual', False),
           "system.normalise 'clip'": config.system.get('normalise', '') == 'clip'}
  for field, asked in needs.items():
    if asked and config.data.target != 'image':
      raise UserError(f"{field} needs data.target 'image', whose x and y have the unit of the "
                      'input')
  source = None
  if training:
    source = load(config, config.data.train_split)
    facts = Facts(source.skeleton, frames=config.data.frames)
  else:
    facts = workdirs.read_facts(workdir)
  system = systems.build(facts, **config.system.to_dict())
  evals = {name: _eval_set(config, name, system, facts) for name in config.evals}
  if not training:
    return Task(system, facts, example(facts), 0, None, evals)
  clips.check_recipe(config.data.recipe, 'data.recipe', source, training=True)
  if config.data.recipe in ('none', clips.EXACT) and _INPUTS['occluded'] in system.fields['loss']:
    print(f"warning: data.recipe '{config.data.recipe}' hides no joint: the occluded clips of the "
          'training are the clean ones', flush=True)
  table = windows.of(source, config.data.frames, config.data.stride, config.data.windows)
  per_epoch = len(table) / config.batch_size
  maker = ClipMaker(source, table, config.data.recipe, config.seed, config.data.target,
                    config.data.flip_prob, system.fields['loss'],
                    config.batch_size * optimizers.to_steps(config.duration, per_epoch))
  return Task(system, facts, example(facts), len(table),
              functools.partial(train_batches, config, maker), evals, source.digest,
              show=functools.partial(_show, maker))


def serve(config, facts: Facts) -> Serving:
  """Prediction on one person's 2D keypoints (F,J,2) in the pixels of pictures W x H, with their
  confidence (F,J), frame by frame; poses (F,J,3) are relative to the root."""
  system = systems.build(facts, **config.system.to_dict())
  unit = UNITS[config.data.target]

  def prepare(keypoints, confidence, size):
    places, counted = windows.cut(len(keypoints), facts.frames, facts.frames, 'cover')
    fields = {'keypoints_2d': cameras.normalise_screen(keypoints, *size), 'confidence': confidence}
    return {'counted': counted} | {
      name: np.asarray(values, np.float32)[places] for name, values in fields.items()
      if name in system.fields['predict']}

  def finish(outputs, samples):
    factor = np.float32(1000 if unit == 'mm' else 1)
    return {row: {'keypoints_3d': fields['keypoints_3d'][samples['counted']] * factor}
            for row, fields in outputs.items()}

  return Serving(system, prepare, finish, TRACKS, unit)


def load(config, split, data=None):
  """The sequences of a split; what was left out of it is printed. data: section
  `evals.NAME.data`, whose empty fields are those of `config.data`."""
  found = load_set(sequences, data_set(config, data), split)
  if config.data.target == 'camera' and found.sequences[0].image_3d is not None:
    raise UserError(f"{found.name} has its poses in image space; take --config.data.target=image")
  if config.data.target == 'image':
    for sequence in found.sequences:
      if sequence.image_3d is None and any(c.focal is None for c in sequence.cameras):
        raise UserError(f"{found.name} {found.split}: '{sequence.name}' has no focal length, which "
                        "data.target 'image' needs; take --config.data.target=camera")
  return found


def example(facts: Facts) -> dict:
  """A batch of shapes, B = 1."""
  t, j = facts.frames, facts.skeleton.num_keypoints
  shape = lambda *last, dtype=np.float32: jax.ShapeDtypeStruct((1, t, j, *last), dtype)
  return {'keypoints_2d': shape(2), 'confidence': shape(), 'occluded_keypoints_2d': shape(2),
          'occluded_confidence': shape(), 'keypoints_3d': shape(3),
          'visibility': shape(dtype=np.uint8), 'covered': shape(dtype=np.bool_)}


# ---- the evaluation

def _eval_set(config, name, system, facts):
  entry = config.evals[name]
  source = load(config, entry.split, entry.data)
  if source.skeleton.names != facts.skeleton.names:
    raise UserError(f"evals.{name}: {source.name} {source.split} has the joints of "
                    f'{source.skeleton.name}, and the networks those of {facts.skeleton.name}')
  lifting_scores.check_fit(entry.metric, source.skeleton)
  blind = [s.name for s in source.sequences if s.image_3d is not None and s.factor is None]
  if blind:
    raise UserError(f"evals.{name}: '{blind[0]}' of {source.name} {source.split} has no ground "
                    'truth in mm (2.5d_factor, joints_2.5d_image); score the test split')
  clips.check_recipe(entry.recipe, f'evals.{name}.recipe', source)
  table = windows.of(source, facts.frames, entry.stride or facts.frames, entry.windows)
  fields = system.fields['predict']
  inputs = tuple(field for field in _INPUTS.values() if field in fields)
  maker = lambda recipe, only=clips.FIELDS: ClipMaker(
    source, table, recipe, 0, config.data.target, fields=tuple(
      field for field in clips.FIELDS if field in only))
  truth = functools.cache(lambda: _clips(config, maker(entry.recipe)))

  def batches(recipe=None):
    of_view = lambda field: recipe is None or field.startswith('occluded_')
    wanted = {*filter(of_view, fields), *_KEPT}
    return eval_batches(config, entry, maker(recipe or entry.recipe, wanted))

  def score(outputs, held_out_outputs, full=True, fits=None):
    return lifting_scores.score(truth(), outputs, metric=entry.metric, mixes=system.mixes,
                                full=full)

  return EvalSet(
    stamp=_stamp(config, entry, source, table, facts), rows=len(table), batches=batches,
    test={'flip': entry.flip}, score=score, keep=(*_KEPT, *inputs),
    variants={} if clips.without_camera(source) else {
      f'severity{level}': {'recipe': f'severity{level}' if level else 'none'}
      for level in range(6)},
    pictures=lambda outputs, rows: _cases(maker(entry.recipe), truth(), outputs, rows))


def _stamp(config, entry, source, table, facts):
  return {'data': source.name, 'split': source.split, 'clips': len(table),
          'frames_scored': int(table.counted.sum()), 'digest': source.digest,
          'loader': describe_loader(data_set(config, entry.data)[2]),
          'frames': facts.frames, 'stride': entry.stride or facts.frames,
          'windows': entry.windows, 'metric': entry.metric, 'recipe': entry.recipe,
          'benchmark': clips.BENCHMARK, 'target': config.data.target, 'flip': entry.flip,
          'ema': config.ema_decay > 0}


def _clips(config, maker):
  """What scoring knows of the clips of a maker."""
  found = [maker.clip(row) for row in range(len(maker))]
  of = lambda field: np.array([getattr(sequence, field) for sequence, _, _ in found])
  takes = of('take')
  source, table = maker.sequences, maker.windows
  factors = [s.factor for s, _, _ in found]
  return lifting_scores.Clips(
    source.skeleton, source.root, config.data.target,
    keypoints_3d=np.array([clip.keypoints_3d for _, _, clip in found]),
    counted=table.counted,
    params=np.array([np.zeros(9) if clip.camera.focal is None else clip.camera.params
                     for _, _, clip in found]),
    width=np.array([clip.camera.size[0] for _, _, clip in found]),
    factor=None if factors[0] is None else np.array(
      [f[frames] for f, frames in zip(factors, table.frames, strict=True)], np.float32),
    group=np.unique(takes, return_inverse=True)[1], action=of('action'), family=of('family'),
    subject=of('subject'), names=np.array([maker.name(row) for row in range(len(maker))]))


# ---- pictures

def _show(maker, count):
  """The clips that the loss sees, at their middle frame; see `Task.show`."""
  out = []
  for sample in stream.first_samples(maker, count):
    out.append({'caption': maker.name(int(sample['row'])),
                'pictures': _pictures(sample, maker.sequences.skeleton)})
  return out


def _pictures(sample, skeleton):
  """{title: picture} of the 2D keypoints of a sample, at its middle frame."""
  middle, shown = len(next(iter(sample.values()))) // 2, {}
  for view, field in _INPUTS.items():
    if field in sample:
      confidence = sample.get(field.replace('keypoints_2d', 'confidence'))
      known = np.ones(skeleton.num_keypoints, bool) if confidence is None else (
        confidence[middle] > 0)
      shown[f'input {view}'] = drawing.draw_points(sample[field][middle], known, skeleton)
  return shown


def _cases(maker, truth, outputs, rows):
  """The 2D keypoints, and ground truth and predictions from two sides, at the middle frame."""
  out, middle = [], truth.keypoints_3d.shape[1] // 2
  for row in rows:
    shown = _pictures(maker.evaluate(row), truth.skeleton)
    one = lifting_scores.row_of(truth, row)
    shown['truth'] = drawing.draw_sides(one.truth[0, middle], truth.skeleton)
    for name, found in outputs.items():
      if name != 'batch':
        pose = lifting_scores.in_mm(found['keypoints_3d'][row:row + 1], one)
        shown[name] = drawing.draw_sides(pose[0, middle], truth.skeleton)
    out.append({'caption': str(truth.names[row]), 'pictures': shown})
  return out
