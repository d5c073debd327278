"""How a network's score falls as more of the person is hidden, and which joints it needs."""
import os

import jax
import tqdm

from dslope_jax.evaluation import scoring
from dslope_jax.evaluation.engine import write_json


def run(evaluator, weights, folder=None) -> dict:
  """The metric of every network at severity 0 to 5 and with each joint hidden alone.

  To be called after `evaluator.run`, whose calibration it takes. Severity 0 hides nothing.
  Returns {network: {'metric': name, 'severity': [[level, value], ...], 'area': mean of the curve
  over severity 0 to 5, 'joints': {joint: value}}}; written to stress.json in `folder` if given.
  """
  if evaluator.metric == 'none':
    raise ValueError("metric 'none' has no number to draw a curve of; choose another for --stress")
  recipes = ['none', *(f'severity{level}' for level in range(1, 6))]
  recipes += [f'joint={name}' for name in evaluator.source.skeleton.names]
  curves, joints = {}, {}
  for level, recipe in enumerate(tqdm.tqdm(recipes, 'stress', disable=jax.process_index() > 0)):
    for network, (metric, value) in _scores(evaluator, weights, recipe).items():
      if level <= 5:
        curves.setdefault(network, (metric, []))[1].append([level, value])
      else:
        joints.setdefault(network, {})[recipe.removeprefix('joint=')] = value
  out = {network: {'metric': metric, 'severity': curve, 'area': _area(curve),
                   'joints': joints[network]} for network, (metric, curve) in curves.items()}
  if folder and jax.process_index() == 0:
    write_json(os.path.join(folder, 'stress.json'), {'stamp': evaluator.stamp, 'stress': out})
  return out


def _scores(evaluator, weights, recipe):
  """{network: (first number of the metric, its value)} on the occluded pictures of a recipe."""
  predictions, covered, _ = evaluator.predict(weights, recipe)
  predictions |= scoring.mixtures(predictions, evaluator.fits)
  out = {}
  for name, pose in predictions.items():
    network, kind = name.split('/')
    if kind == 'occluded':
      out[network] = scoring.main_number(evaluator.source, pose, evaluator.metric,
                                         evaluator.oks_nms)
  return out


def _area(curve):
  """Mean height of a polyline of (x, y), by trapezia."""
  pairs = list(zip(curve[:-1], curve[1:], strict=True))
  return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairs) / (curve[-1][0] - curve[0][0])


def text(stress: dict) -> str:
  """The curves as a table."""
  metric = next(iter(stress.values()))['metric']
  lines = [f'{metric} by severity' + ''.join(f'{level:>10}' for level in range(6)) + '      mean']
  width = len(lines[0]) - 10 * 7
  for network, found in stress.items():
    values = ''.join(f'{value:10.4g}' for _, value in found['severity'])
    lines.append(f'{network:<{width}}{values}{found["area"]:10.4g}')
  return '\n'.join(lines)
