"""Calibrated confidences of outputs, mixtures by them, and how far they can be trusted.

A calibration is {'right', 'visible', 'present': {output: fit}, 'gates': {'gnet+enet': fit},
'people': number of those that it was fitted to}, ready for json. An output is a name without its
view.
"""
import functools
import glob
import os
from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec
import numpy as np

from dslope_jax import own_files
from dslope_jax.evaluation.answers import Answers
from dslope_jax.metrics import calibration, mixture, pose_errors
from dslope_jax.systems.base import without_view
from dslope_jax.visibility import PROBABILITIES, VISIBLE


class _Curve(TypedDict):
  kind: Literal['isotonic']
  x: list[float]
  y: list[Annotated[float, msgspec.Meta(ge=0, le=1)]]


class _Logistic(TypedDict):
  kind: Literal['logistic']
  mean: list[float]
  deviation: list[Annotated[float, msgspec.Meta(gt=0)]]
  weights: list[float]
  bias: float


class _Gate(TypedDict):
  gate: _Logistic
  reach: float | None
  fits: tuple[_Curve | None, _Curve | None] | None
  context: bool


class _Calibration(TypedDict):
  right: dict[str, _Curve]
  visible: dict[str, _Curve]
  present: NotRequired[dict[str, _Curve]]
  gates: dict[str, _Gate]
  people: int


def read(path) -> dict:
  """The calibration in a file that an evaluation wrote. Raises FileNotFoundError or UserError."""
  mend = 'remove it, or evaluate again where the held-out people are'
  found = own_files.read_json(path, _Calibration, mend)
  with own_files.told(path, mend):
    found = msgspec.convert(found, _Calibration)  # whole numbers to floats, of whatever size
    gates = found['gates'].values()
    for curve in (*(c for field in PROBABILITIES for c in found.get(field, {}).values()),
                  *(curve for gate in gates for curve in gate['fits'] or () if curve)):
      if not len(curve['x']) == len(curve['y']) > 0 or curve['x'] != sorted(curve['x']):
        raise ValueError('the x and y of a curve do not belong together')
    for fit in (gate['gate'] for gate in gates):
      if not len(fit['mean']) == len(fit['deviation']) == len(fit['weights']) > 0:
        raise ValueError('the features of a gate are not as many as its weights')
  return found


def stored(workdir, step: int | None = None):
  """(path, calibration) of a run, None where it has stored none; raises as `read`.

  That which was published with its weights, else that of the evaluation of `step`, else of the last
  evaluated step.
  """
  place, found = glob.escape(str(workdir)), []
  for path in glob.glob(os.path.join(place, 'eval_*', '*', 'calibration.json')):
    of_step = path.split(os.sep)[-3].removeprefix('eval_')
    if of_step.isdecimal():
      found.append((int(of_step) == step, int(of_step), path))
  files = glob.glob(os.path.join(place, 'calibration.json')) or [path for *_, path in sorted(found)]
  return (files[-1], read(files[-1])) if files else None


def calibrate(subjects, poses, covered, window=None, mixes=()):
  """Fits on people that no network was trained on; None where nobody has a labelled joint.

  right: a joint's own OKS reaching one half; visible: labelled visible and not covered; present: in
  the picture, where some joints (v = 3) are not. All views together, since the view is not known at
  test time. What a network tells itself is not fitted.
  """
  answers = {name: Answers(subjects, name, pose, covered, window=window)
             for name, pose in poses.items()}
  of_output = {}
  for name, of_view in answers.items():
    of_output.setdefault(without_view(name), []).append(of_view)
  if not subjects.counted.any():
    return None
  fits = {field: {} for field in (*PROBABILITIES, 'gates')} | {'people': len(subjects.own)}
  for output, views in of_output.items():
    for field in PROBABILITIES:
      known = [_known(view, field) for view in views]
      scores, truth = (np.concatenate(part) for part in zip(*known, strict=True))
      if field not in views[0].pose and not (field == 'present' and truth.all()):
        fits[field][output] = calibration.fit_isotonic(scores, truth)
  for mix in mixes:
    views = [name.rsplit('/', 1)[1] for name in poses if without_view(name) == mix[0]]
    pairs = [[answers.get(f'{output}/{view}') for output in mix] for view in views]
    gate = _fit_gate([pair for pair in pairs if None not in pair],
                     [fits['right'].get(output) for output in mix])
    if gate:
      fits['gates']['+'.join(mix)] = gate
  return fits


def _known(answers, field, scores='scores'):
  """(L,) confidences and (L,) bool outcomes of people who have a pose: of the labelled
  joints, for 'present' also of those outside of the picture."""
  people = answers.people if answers.view == 'occluded' else answers.subjects.people
  labelled, counted = people.labelled, answers.subjects.counted & (answers.rows >= 0)
  if field == 'right':
    truth = answers.right
  elif field == 'visible':
    truth = (people.visibility == VISIBLE) & ~people.covered
  else:
    truth, labelled = labelled, people.visibility > 0
  labelled = labelled & counted[:, None]
  return answers.of_people(scores)[labelled], truth[labelled]


def _fit_gate(pairs, fits):
  """The gate of two outputs; pairs: their `Answers`, view by view. None where they are equal."""
  if not pairs:
    return None
  people, counted = pairs[0][0].subjects.people, pairs[0][0].subjects.counted
  both = [np.stack([np.concatenate([pair[i].of_people(field)[counted] for pair in pairs])
                    for i in range(2)]) for field in ('keypoints', 'scores')]
  often = lambda column: np.concatenate([column[counted]] * len(pairs))
  is_right = functools.partial(
    pose_errors.right_joints, ground_truth=often(people.keypoints), areas=often(people.areas),
    sigmas=pairs[0][0].subjects.skeleton.sigmas)
  context = None
  if all('embedding' in answers.pose for pair in pairs for answers in pair):
    context = np.concatenate([np.concatenate([answers.of_people('embedding')[counted]
                                              for answers in pair], 1) for pair in pairs])
  return mixture.fit_gate(*both, often(people.keypoints), often(people.labelled), is_right, fits,
                          context, often(people.image_id))


def with_mixtures(poses, mixes, fits=None):
  """The poses, and after them those of outputs together, 'RULE/[READOUT/]VIEW': plain average,
  weighted by confidence, the more confident one of each joint and, where it was fitted, a gate.

  With fits they have those of `PROBABILITIES` (N,K) that networks do not tell themselves. 'right'
  of a mixture is its confidence, the other two are what its members say on average.
  """
  fits, out = fits or {}, {}
  for name, pose in poses.items():
    output = without_view(name)
    out[name] = pose | {field: calibration.apply(fits[field][output], pose['scores'])
                        for field in PROBABILITIES
                        if field not in pose and output in fits.get(field, {})}
  for mix in mixes:
    right = [fits.get('right', {}).get(output) for output in mix]
    readout, gate = mix[0].split('/')[1:], fits.get('gates', {}).get('+'.join(mix))
    for view in [name.rsplit('/', 1)[1] for name in poses if without_view(name) == mix[0]]:
      members = [out.get(f'{output}/{view}') for output in mix]
      if None in members:
        continue
      both = [np.stack([pose[field] for pose in members]) for field in ('keypoints', 'scores')]
      embeddings = [pose['embedding'] for pose in members if 'embedding' in pose]
      context = np.concatenate(embeddings, 1) if len(embeddings) == len(members) else None
      for rule in mixture.RULES if gate else mixture.CALIBRATED:
        fit = (gate, context) if rule == 'gate' else (right,)
        keypoints, scores = mixture.RULES[rule](*both, *fit)
        pose = {'keypoints': keypoints, 'scores': scores} | {
          field: np.mean([pose[field] for pose in members], 0) for field in ('visible', 'present')
          if all(field in pose for pose in members)}
        out['/'.join([rule, *readout, view])] = pose | ({'right': scores} if all(right) else {})
  return out


def reliability(answers):
  """How far the probabilities of an output can be trusted, as {'right', 'visible',
  'present': {'ece', 'brier' (percent), 'rows' of `calibration.reliability` (0..1)}}, those of
  `PROBABILITIES` that it has."""
  out = {}
  for field in PROBABILITIES:
    if field in answers.pose:
      p, truth = _known(answers, field, field)
      if len(p):
        out[field] = {'ece': 100 * calibration.ece(p, truth),
                      'brier': 100 * calibration.brier(p, truth),
                      'rows': calibration.reliability(p, truth)}
  return out


def numbers(trust):
  """What a row of the table says of a `reliability`, in percent: 'ECE' is of 'right',
  'ECE(visible)' of another one."""
  of = lambda field: '' if field == 'right' else f'({field})'
  return {f'{name}{of(field)}': found[name.lower()] for field, found in trust.items()
          for name in ('ECE', 'Brier')}
