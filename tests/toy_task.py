"""A second task, as small as one can be: rings of points, some of them hidden, are completed.

A sample is a list of up to P points, padded; `points` shows all, `hidden_points` lacks some.
"""
import dataclasses
import functools
import hashlib
import json
import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.evaluation.base import EvalSet, SampleTable, Scores
from dslope_jax.systems.base import Facts, Learner, pair, single
from dslope_jax.tasks import base
from dslope_jax.training import workdir as workdirs
from input_pipeline import stream

FREE = ('data.num_workers',)
SETTLED = {}
P, PER_SEQUENCE = 6, 4


def build(config, workdir, training=True) -> base.Task:
  rings, held_out = _training_rings(config)
  facts = Facts(frames=P) if training else workdirs.read_facts(workdir)
  system = _system(config, facts)
  evals = {name: _eval_set(config, entry, held_out) for name, entry in config.evals.items()}
  example = {name: jax.ShapeDtypeStruct((1, *x.shape), x.dtype)
             for name, x in Maker(rings).blank(0).items()}
  maker = Maker(rings, config.seed, config.data.hide, system.fields['loss'])
  return base.Task(system, facts, example, len(maker), functools.partial(
    base.train_batches, config, maker), evals, rings.digest, show=functools.partial(_show, maker))


def serve(config, facts) -> base.Serving:
  def prepare(lists, boxes=None, camera=None):
    rings = Rings.of_lists(lists)
    return Maker(rings).shown(slice(None), rings.valid) | {'center': rings.center}

  return base.Serving(_system(config, facts), prepare, _finish)


def file_evals(config):
  return {name: _eval_set(config, entry, None) for name, entry in config.evals.items()}


# ---- the learner

class Net(nn.Module):
  width: int

  @nn.compact
  def __call__(self, points, shown, train=False):
    x = jnp.concatenate([points.reshape(len(points), -1), shown.astype(jnp.float32)], 1)
    x = nn.Dense(2 * points.shape[1])(nn.relu(nn.Dense(self.width)(x)))
    return x.reshape(points.shape)


def _system(config, facts):
  assert facts.frames == P
  of_valid = lambda squares, batch: (squares.sum(-1) * batch['valid']).sum() / batch['valid'].sum()

  def predict(forward, inputs, *, mirror):
    points = forward('net', *inputs, train=False)
    if mirror:
      points = (points - forward('net', -inputs[0], inputs[1], train=False)) / 2
    return {'': {'points': points}}

  learner = Learner(
    networks={'net': Net(config.system.width)},
    views={'clean': ('points', 'valid'), 'occluded': ('hidden_points', 'seen')},
    truth=('points', 'valid'), shapes=lambda inputs: {'net': inputs},
    run=lambda forward, inputs: forward('net', *inputs),
    fit=lambda points, batch: {'distance': of_valid((points - batch['points']) ** 2, batch)},
    compare=lambda own, other, batch: {'distance': of_valid((own - other) ** 2, batch)},
    predict=predict)
  if config.system.name == 'single':
    return single(learner, 'occluded')
  return pair({'gnet': learner, 'enet': learner}, {'gnet': 0.1, 'enet': 0.1})


# ---- the data

@dataclasses.dataclass(frozen=True)
class Rings:
  """N lists of points: (N,P,2) around their centres (N,2), (N,P) valid; (N,) sequence."""
  points: np.ndarray
  valid: np.ndarray
  center: np.ndarray
  sequence: np.ndarray

  @classmethod
  def of_lists(cls, lists, sequence=None):
    center = np.array([np.mean(points, 0) for points in lists], np.float32)
    padded, valid = np.zeros((len(lists), P, 2), np.float32), np.zeros((len(lists), P), bool)
    for row, points in enumerate(lists):
      padded[row, :len(points)], valid[row, :len(points)] = points - center[row], True
    return cls(padded, valid, center, np.arange(len(lists)) if sequence is None else sequence)

  @classmethod
  def draw(cls, name, split, sequences):
    rng = np.random.default_rng(zlib.crc32(f'{name} {split}'.encode()))
    sequence = np.repeat(np.arange(sequences), PER_SEQUENCE)
    return cls.of_lists([_ring(rng, name) for _ in sequence], sequence)

  @property
  def digest(self):
    parts = (self.points, self.valid, self.center, self.sequence)
    return hashlib.sha256(b''.join(x.tobytes() for x in parts)).hexdigest()[:12]

  def subset(self, rows):
    return Rings(self.points[rows], self.valid[rows], self.center[rows], self.sequence[rows])

  def lists(self, points):
    return [p[valid].tolist() for p, valid in zip(points, self.valid, strict=True)]


def _ring(rng, name):
  count, turn = rng.integers(3, P + 1), rng.uniform(0, 1)
  angle = 2 * np.pi * (np.arange(count) / count + turn)
  radius = 1 + 0.5 * (np.arange(count) % 2) * (name == 'stars')
  return rng.normal(0, 9, 2) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


@dataclasses.dataclass(frozen=True)
class Maker:
  rings: Rings
  seed: int = 0
  hide: int = 0
  fields: tuple[str, ...] = ('points', 'valid', 'hidden_points', 'seen')

  def __len__(self):
    return len(self.rings.points)

  def name(self, row):
    return f'ring {row}'

  def train(self, index, row):
    return self._sample(row, np.random.default_rng([self.seed, row, index // len(self)]))

  def evaluate(self, row):
    return self._sample(row, np.random.default_rng(row))

  def blank(self, row):
    return {name: np.zeros_like(x) for name, x in self.evaluate(row).items()}

  def shown(self, row, seen):
    r = self.rings
    return {'points': r.points[row], 'valid': r.valid[row], 'seen': seen,
            'hidden_points': r.points[row] * seen[..., None]}

  def _sample(self, row, rng):
    seen = self.rings.valid[row].copy()
    seen[rng.permutation(seen.sum())[:self.hide]] = False
    return {name: x for name, x in self.shown(row, seen).items() if name in self.fields}


def _load(config, split, data):
  return Rings.draw(data.name or config.data.name, split,
                    **config.data.loader.to_dict() | data.loader.to_dict())


def _training_rings(config):
  """(rings to train on, held-out ones or None): whole sequences."""
  data = config.data
  rings = Rings.draw(data.name, data.train_split, **data.loader.to_dict())
  held_out = rings.sequence < data.holdout * (rings.sequence.max() + 1)
  return rings.subset(~held_out), rings.subset(held_out) if held_out.any() else None


def _show(maker, count):
  """Rings as white points, those that are left out as grey ones."""
  cases = []
  for sample in stream.first_samples(dataclasses.replace(maker, fields=Maker.fields), count):
    picture = np.zeros((64, 64, 3), np.uint8)
    x, y = (16 * sample['points'][sample['valid']] + 32).astype(int).T
    picture[y, x] = np.where(sample['seen'][sample['valid']], 255, 128)[:, None]
    cases.append({'caption': maker.name(int(sample['row'])), 'pictures': {'ring': picture}})
  return cases


# ---- the evaluation

def _finish(outputs, samples):
  return {row: {'points': fields['points'] + samples['center'][:, None]}
          for row, fields in outputs.items() if row != 'batch'}


def _eval_set(config, entry, held_out):
  rings = _load(config, entry.split, entry.data)
  batches = lambda of, hide=entry.hide: base.eval_batches(config, entry, Maker(of, hide=hide))
  stamp = {'data': entry.data.name or config.data.name, 'split': entry.split,
           'digest': rings.digest, 'hide': entry.hide, 'mirror': entry.mirror,
           'ema': config.ema_decay > 0, 'calibrated_on': len(held_out.points) if held_out else 0}
  return EvalSet(
    stamp, len(rings.points), functools.partial(batches, rings), {'mirror': entry.mirror},
    functools.partial(_score, rings, held_out), keep=('seen',),
    held_out=held_out and (len(held_out.points), functools.partial(batches, held_out)),
    variants={'one': {'hide': 1}, 'two': {'hide': 2}},
    score_file=functools.partial(_score_file, rings))


def _score(rings, held_out, outputs, held_out_outputs, full=True, fits=None):
  """The mean distance; what held-out rings are off by, on average, is taken away first."""
  truth, fits = rings.points + rings.center[:, None], dict(fits or {})
  results, samples, files = {}, {}, {}
  for row, found in _finish(outputs, {'center': rings.center}).items():
    points = found['points']
    if held_out_outputs:
      off = held_out_outputs[row]['points'] - held_out.points
      fits[row] = off[held_out.valid].mean(0).tolist()
    if row in fits:
      points = points - np.array(fits[row])
    distance = 100 * np.linalg.norm(points - truth, axis=-1) * rings.valid
    hidden = rings.valid & ~outputs['batch']['seen']
    results[row] = {'EPE': float(distance.sum() / rings.valid.sum()),
                    'EPE_hidden': float(distance[hidden].sum() / max(hidden.sum(), 1))}
    samples[row] = {'EPE': SampleTable(rings.sequence, distance.sum(1, dtype=np.float64),
                                       rings.valid.sum(1).astype(np.float64))}
    files[f'predictions_{row.replace("/", "_")}.json'] = rings.lists(points)
  files |= {'calibration.json': fits} if fits else {}
  return Scores(results, samples, files, tuple(np.argsort(-distance.sum(1)).tolist()))


def _score_file(rings, path):
  with open(path, encoding='utf-8') as f:
    lists = json.load(f)
  found = Rings.of_lists([np.array(points) for points in lists])
  if not np.array_equal(found.valid, rings.valid):
    raise UserError(f"'{path}' has other rings than this set; give the file of this split")
  return _score(rings, None, {'file/clean': {'points': found.points + (
    found.center - rings.center)[:, None]}, 'batch': {'seen': rings.valid}}, None), ''
