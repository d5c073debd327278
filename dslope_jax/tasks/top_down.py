"""Top-down pose in pictures: a sample is a person's crop, clean and occluded."""
import functools
import hashlib
import os

import jax
import numpy as np

from dslope_jax import heatmaps, systems
from dslope_jax.errors import UserError
from dslope_jax.evaluation import confidences, pose_scores
from dslope_jax.evaluation.base import EvalSet
from dslope_jax.systems.base import Facts
from dslope_jax.tasks import crop_pictures, people
from dslope_jax.tasks.base import Serving, Task, eval_batches, train_batches
from dslope_jax.tasks.subjects import of_source
from dslope_jax.training import optimizers
from dslope_jax.training import workdir as workdirs
from input_pipeline import geometry, pairs, sources
from input_pipeline.pairs import PairMaker
from input_pipeline.sources import checks, detections

FREE = ('data.root', 'data.num_workers', 'data.max_unreadable', 'data.patience')
SETS = sources
SETTLED = {'patches': ('data.name', 'data.train_split', 'data.loader', 'data.bank', 'data.holdout')}
_OF_PARTNER = 'covered', 'window'  # what scoring must know of an occluded picture


def build(config, workdir, training=True) -> Task:
  """The task of a config; without training it is that of the run in `workdir`."""
  size, source, stored_fits = tuple(config.data.size), None, None
  if training:
    source, held_out = people.load_train(config)
    facts = Facts(source.skeleton, size)
  else:
    facts = workdirs.read_facts(workdir)
    held_out, stored_fits = _held_out_of_run(config, workdir)
  system = systems.build(facts, **config.system.to_dict())  # before the bank, which takes long
  _check_optim(config, system)
  scored = {name: _scored_people(config, name, entry, facts)
            for name, entry in config.evals.items()}
  bank = people.load_bank(config, workdir, source,
                          scored=next((one for one, _ in scored.values()), None))
  if training:
    scored = {name: (people.with_unreadable(s), boxes) for name, (s, boxes) in scored.items()}
  evals = {name: _eval_set(config, name, *scored[name], system, facts, bank, held_out, stored_fits)
           for name in config.evals}
  found = {f'{s.name} {s.split}': s.findings for s in (
    *[source] * training, *(people for people, _ in scored.values()))}
  if not training:
    return Task(system, facts, example(facts), 0, None, evals, findings=found)
  maker = PairMaker(source, size, bank, config.data.recipe, config.seed,
                    geometry.Augmentation(**config.data.augmentation),
                    people.unbiased_crops(config), system.fields['loss'],
                    config.batch_size * optimizers.to_steps(config.duration,
                                                            len(source) / config.batch_size))
  if 'others' in system.fields['loss']:
    _tell_crowds(source)
  batches = functools.partial(train_batches, config, maker)
  sheet = (os.path.join(bank.folder, 'contact_sheet.jpg'),) if bank else ()
  return Task(system, facts, example(facts), len(source), batches, evals, source.digest, sheet,
              found, functools.partial(crop_pictures.show, config, system.stride, maker))


def _tell_crowds(source):
  crowded = sum(len(rows) > pairs.OTHERS for rows in source.by_picture())
  if crowded:
    print(f'{source.name} {source.split}: {crowded} people have more than {pairs.OTHERS} others on '
          f'their picture; the nearest {pairs.OTHERS} are in the targets')


def _check_optim(config, system):
  """Raises UserError where a field has switched networks on or off that only a word can, which adds
  or removes their optim sections, too."""
  made, trained = set(system.networks), set(config.optim)
  for field, suffix, word in (('states', 'states', 'states'), ('graph', 'gcn', 'no_graph')):
    on = config.system.get(field)
    odd = sorted(name for name in (made - trained if on else trained - made)
                 if name.endswith(suffix))
    if odd and on is not None:
      how = 'give' if on == (word == field) else 'leave out'
      raise UserError(f"system.{field} is {on}, but optim {'lacks' if on else 'names'} "
                      f"{', '.join(odd)}: {how} the word '{word}' after the config's name instead "
                      f'of --config.system.{field}')


def serve(config, facts: Facts) -> Serving:
  """Prediction on pictures with boxes x, y, width, height."""
  unbiased, size = people.unbiased_crops(config), facts.size
  system = systems.build(facts, **config.system.to_dict())

  def prepare(picture, boxes, camera=None):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    center, scale = geometry.box_to_center_scale(boxes.T, size[0] / size[1],
                                                 people.padding_of(config, None))
    maps = [geometry.crop_affine(c, s, 0, size, unbiased)
            for c, s in zip(center, scale, strict=True)]
    crops = [geometry.warp(picture, matrix, size) for matrix in maps]
    samples = {'image': np.array(crops, np.uint8).reshape(-1, size[1], size[0], 3),
               'center': center, 'scale': scale}
    if 'box' in system.fields['predict']:
      samples['box'] = np.array([geometry.box_in_crop(box, matrix, False, size) for box, matrix in
                                 zip(boxes, maps, strict=True)], np.float32).reshape(-1, 4)
    return samples

  return Serving(system, prepare, functools.partial(_finish, size, unbiased))


def file_evals(config) -> dict[str, EvalSet]:
  """The sets of `config.evals` to score result files by: neither networks nor pictures."""
  evals = {}
  for name, entry in config.evals.items():
    if entry.metric == 'none':
      raise UserError(f"evals.{name}.metric is 'none': nothing can be scored without annotations")
    with checks.without_pictures():
      source = people.load_source(config, entry.split, entry.data)
    subjects = of_source(source)
    pose_scores.check_fit(entry.metric, subjects)
    score_file = functools.partial(_score_file, subjects, entry.metric)
    stamp = _stamp_of_people(config, entry, source, subjects) | _stamp_of_metric(entry, subjects)
    evals[name] = EvalSet(stamp, len(source), None, {}, None, score_file=score_file)
  return evals


def _score_file(subjects, metric, path):
  poses, covered, missed = pose_scores.read_file(subjects, path)
  scores = pose_scores.score(subjects, poses, covered, metric=metric)
  return scores, (f'{len(missed)} of {len(subjects.own)} people have no pose in the file (such as '
                  f'annotation {missed[0]}); their joints count as wrong' if missed else '')


def example(facts: Facts) -> dict:
  """A batch of shapes, B = 1."""
  (w, h), k = facts.size, facts.skeleton.num_keypoints
  shape = jax.ShapeDtypeStruct
  return {'image': shape((1, h, w, 3), np.uint8), 'occluded_image': shape((1, h, w, 3), np.uint8),
          'keypoints': shape((1, k, 2), np.float32), 'visibility': shape((1, k), np.uint8),
          'covered': shape((1, k), np.bool_), 'outside': shape((1, k), np.bool_),
          'box': shape((1, 4), np.float32),
          'others': shape((1, pairs.OTHERS, k, 3), np.float32)}


def _eval_set(config, name, source, boxes, system, facts, bank, held_out, stored_fits):
  entry = config.evals[name]
  subjects = of_source(source, entry.boxes != 'gt')
  held_out = people.without(held_out, source)
  pose_scores.check_fit(entry.metric, subjects)
  held_subjects = held_out and of_source(held_out)
  finish = functools.partial(_finish, facts.size, people.unbiased_crops(config))
  batches = functools.partial(_eval_batches, config, entry, bank, system.fields['predict'])
  stored_fits = None if held_out else stored_fits

  def score(outputs, held_out_outputs, full=True, fits=stored_fits):
    calibration = held_out_outputs and (held_subjects, finish(held_out_outputs, vars_of(held_out)),
                                        *_of_partner(held_out_outputs))
    return pose_scores.score(
      subjects, finish(outputs, vars_of(source)), *_of_partner(outputs), metric=entry.metric,
      oks_nms=entry.oks_nms, mixes=system.mixes, fits=fits, held_out=calibration, full=full)

  vars_of = lambda s: {'center': s.center, 'scale': s.scale}
  calibrated_on = (len(held_out) if held_out else f"{stored_fits['people']}, stored" if stored_fits
                   else 'nobody')
  return EvalSet(
    stamp=_stamp_of_people(config, entry, source, subjects) | _stamp(
      config, entry, bank, facts.skeleton.flip_pairs is not None) | _stamp_of_metric(
      entry, subjects) | {'boxes': boxes, 'calibrated_on': calibrated_on},
    rows=len(source), batches=functools.partial(batches, source),
    test={'flip': entry.flip, 'shift': entry.shift}, score=score, keep=_OF_PARTNER,
    held_out=(len(held_out), functools.partial(batches, held_out)) if held_out else None,
    variants=_variants(facts.skeleton, entry.recipe) if entry.metric != 'none' else {},
    pictures=functools.partial(crop_pictures.cases, config, system.stride, _maker(
      config, source, bank, entry.recipe, pairs.FIELDS)))


def _refuse_other_keypoints(name, source, facts):
  theirs, ours = source.skeleton.names, facts.skeleton.names
  if theirs == ours:
    return
  if len(theirs) == len(ours):
    k = next(k for k in range(len(ours)) if theirs[k] != ours[k])
    differ = f"keypoint {k + 1} is '{theirs[k]}', not '{ours[k]}'"
  else:
    differ = f'{len(theirs)}, not {len(ours)}'
  raise UserError(f'evals.{name}: {source.name} {source.split} has other keypoints '
                  f'({source.skeleton.name}) than the networks ({facts.skeleton.name}): {differ}; '
                  f'name other data in evals.{name}.data, or other weights')


def _scored_people(config, name, entry, facts):
  """(people of an entry of `config.evals`, whose boxes they have)."""
  source = people.load_source(config, entry.split, entry.data)
  _refuse_other_keypoints(name, source, facts)
  boxes = 'ground truth'
  if entry.boxes != 'gt':
    size = config.data.size
    source, elsewhere = detections.with_detections(
      source, entry.boxes, aspect=size[0] / size[1],
      padding=people.padding_of(config, entry.data))
    people.told(source)
    boxes = os.path.basename(entry.boxes)
    print(f"{entry.split}: {len(source)} boxes of '{entry.boxes}'; {elsewhere} more are on "
          'pictures outside this split')
  if not len(source):
    raise UserError(f"{source.name} {entry.split} has no annotated people; give a detector's "
                    f'boxes with --config.evals.{name}.boxes=DETECTIONS.json')
  return source, boxes


def _stamp_of_people(config, entry, source, subjects):
  """truth: of what answers are compared with; crops: of where the networks look."""
  found, skeleton = subjects.people, source.skeleton
  truth = (found.image_id, found.keypoints, found.visibility, found.areas, found.boxes, found.crowd,
           found.ignored, found.covered, subjects.head_size, subjects.reference, skeleton.sigmas)
  return {'data': source.name, 'split': entry.split, 'people': len(source),
          'digest': source.digest, 'truth': _hash(truth),
          'crops': _hash((source.center, source.scale, source.box_score)),
          'loader': people.loader_of(config, entry.data)}


def _hash(columns):
  found = hashlib.sha256()
  for column in columns:
    found.update(b'' if column is None else np.ascontiguousarray(column).tobytes())
  return found.hexdigest()[:12]


def _stamp(config, entry, bank, mirrored):
  rule, size = heatmaps.codec(config.system.codec), config.data.size
  return {'size': f'{size[0]}x{size[1]}', 'flip': entry.flip and mirrored,
          'shift': entry.shift and not rule.unbiased, 'decoder': rule.stamp,
          'sigma': config.system.sigma, 'recipe': entry.recipe, 'benchmark': pairs.BENCHMARK,
          'bank': bank.digest if bank else 'none', 'ema': config.ema_decay > 0,
          'oks_nms': entry.oks_nms}


def _stamp_of_metric(entry, subjects):
  """divided_by: of errors of faces, what they are measured in."""
  length = pose_scores.divided_by(entry.metric, subjects)
  return {'metric': entry.metric} | ({'divided_by': length} if length else {})


def _maker(config, source, bank, recipe, fields):
  return PairMaker(source, tuple(config.data.size), bank, recipe, seed=0,
                   unbiased=people.unbiased_crops(config), fields=fields)


def _eval_batches(config, entry, bank, fields, source, recipe=None):
  """fields: that are predicted from. recipe: a variant, of which only the occluded pictures are
  made."""
  fields = (*(name for name in fields if name != 'image' or not recipe), *_OF_PARTNER)
  return eval_batches(
    config, entry, _maker(config, source, bank, recipe or entry.recipe, fields))


def _of_partner(outputs):
  return [outputs['batch'][field] for field in _OF_PARTNER]


def _variants(skeleton, recipe):
  """Every severity, and every joint hidden alone; severity 0 hides nothing. Those of faces where
  the recipe of the evaluation is one of them."""
  family = 'face_severity' if 'face_severity' in recipe else 'severity'
  levels = {'severity0': 'none'} | {f'severity{level}': f'{family}{level}' for level in range(1, 6)}
  joints = {f'joint={name}': f'joint={name}' for name in skeleton.names}
  return {name: {'recipe': recipe} for name, recipe in (levels | joints).items()}


def _finish(size, unbiased, outputs, samples):
  """Poses in picture pixels; samples: 'center' and 'scale' (N,2) of the crops."""
  return {row: fields | {'keypoints': heatmaps.to_picture(
            fields['keypoints'], samples['center'], samples['scale'], size, unbiased)}
          for row, fields in outputs.items() if row != 'batch'}


def _held_out_of_run(config, workdir):
  """(people that a run held out or None, None), or (None, its stored calibration) where they are
  not there, or were not published with the weights."""
  if 'published' in config:
    return None, (confidences.stored(workdir) or (None, None))[1]
  try:
    return people.load_held_out(config), None
  except (OSError, ValueError) as error:
    stored = confidences.stored(workdir)
    if not stored:
      print(f'the held-out people of this run cannot be loaded ({error}), and it has stored no '
            'calibration: confidences are not calibrated')
      return None, None
    print(f"the held-out people of this run cannot be loaded ({error}); its calibration "
          f"'{stored[0]}' is used")
    return None, stored[1]
