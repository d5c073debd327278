"""Evaluation: jitted prediction over padded batches, gathered to the host, scored and stamped."""
import copy
import json
import os

import jax
import numpy as np

from dslope_jax import heatmaps
from dslope_jax.evaluation import drawing, scoring
from dslope_jax.metrics import occlusion_report, result_files
from dslope_jax.systems.base import Forward, System
from dslope_jax.training import sharding

_FIELDS = {'clean': 'image', 'occluded': 'occluded_image'}


def make_predict(system: System, flip_pairs, *, flip: bool, shift: bool, codec='hrnet', sigma=2.0):
  """(weights, batch) -> {'network/kind': {keypoints (B,K,2) crop pixels, scores (B,K)}}.

  kind is 'clean' or 'occluded'; flip averages with the mirrored picture in the same call.
  codec: rule of `heatmaps.codec` that reads the maps. sigma: of their targets.
  """
  rule = heatmaps.codec(codec)

  def predict(weights, batch):
    forward = Forward(system.networks, weights['params'], weights['batch_stats'])
    out = {}
    for kind, field in _FIELDS.items():
      maps = system.predict(forward, batch[field])
      mirrored = system.predict(forward, batch[field][:, :, ::-1]) if flip else {}
      for name, own in maps.items():
        if flip:
          own = heatmaps.flip_merge(own, mirrored[name], flip_pairs, shift)
        keypoints, scores = rule.decode(own, sigma)
        map_size, size = own.shape[2:0:-1], batch[field].shape[2:0:-1]
        keypoints = heatmaps.to_crop(keypoints, map_size, size, rule.unbiased)
        out[f'{name}/{kind}'] = {'keypoints': keypoints, 'scores': scores}
    return out
  return predict


class Evaluator:
  """Scores every network on clean and on occluded pictures of one source.

  source: rows of people. batches: recipe -> iterator over padded batches of this process.
  held: (source, batches) of people kept from training, to calibrate on; or None.
  stamp: what the numbers depend on, printed with them and written to every file.
  metric: of `scoring.METRICS`. oks_nms: threshold of the suppression of double poses.
  codec, sigma: of the targets.
  """

  def __init__(self, system, mesh, source, batches, *, size, metric, flip, shift, stamp, recipe,
               oks_nms=0.9, sigma=2.0, codec='hrnet', held=None):
    scoring.check_fit(metric, source)
    self.mesh, self.source, self.batches, self.size = mesh, source, batches, size
    self.metric, self.stamp, self.oks_nms, self.sigma = metric, stamp, oks_nms, sigma
    self.recipe, self.held = recipe, held
    self.codec = heatmaps.codec(codec)
    split = sharding.by_sample(mesh)
    self._predict = jax.jit(
      make_predict(system, source.skeleton.flip_pairs, flip=flip, shift=shift, codec=codec,
                   sigma=sigma),
      in_shardings=(sharding.replicated(mesh), split), out_shardings=split)

  def fit(self, weights):
    """Calibration by the people held out of training; None where there are none."""
    if not self.held:
      return None
    other = copy.copy(self)
    other.source, other.batches = self.held
    predictions, covered, _ = other.predict(weights)
    return scoring.calibrate(other.source, predictions, covered)

  def predict(self, weights, recipe=None):
    """{'network/kind': {keypoints (N,K,2) picture pixels, scores (N,K)}}, covered (N,K), sample.

    recipe: of the occluded pictures, if not the evaluator's own.
    sample: images and joints of the first batch with its predictions in crop pixels, for sheets.
    """
    found, sample = {}, None
    in_flight = None
    for batch in self.batches(recipe or self.recipe):
      device = sharding.to_global({f: batch[f] for f in _FIELDS.values()}, self.mesh)
      host = {k: batch[k] for k in ('row', 'mask', 'covered')}
      result = (host, self._predict(weights, device))
      if in_flight:  # fetched while the next batch is computed
        self._collect(in_flight, found)
      in_flight = result
      if sample is None:
        sharding.wait_for_all()  # the first call compiled
        sample = {k: np.array(v) for k, v in batch.items()}
    self._collect(in_flight, found)
    covered = found.pop('picture')['covered']
    predictions = {}
    for name, p in found.items():
      keypoints = heatmaps.to_picture(p['keypoints'], self.source.center, self.source.scale,
                                      self.size, self.codec.unbiased)
      predictions[name] = {'keypoints': keypoints, 'scores': p['scores']}
    return predictions, covered, sample

  def _collect(self, item, found):
    """Scatters a batch's results to their rows; padding is dropped."""
    host, result = item
    if jax.process_count() > 1:
      host = sharding.to_host(sharding.to_global(host, self.mesh))
    result = sharding.to_host(result)
    rows = host['row'][host['mask']]
    for name, values in (result | {'picture': {'covered': host['covered']}}).items():
      for key, value in values.items():
        empty = np.zeros((len(self.source), *value.shape[1:]), value.dtype)
        found.setdefault(name, {}).setdefault(key, empty)[rows] = value[host['mask']]

  def run(self, weights, step: int, folder=None):
    """({'network/kind': {metric: number}}, stamp); writes everything to `folder` if given.

    Rows of two networks together follow those of each.
    """
    fits = self.fits = self.fit(weights)
    alone, covered, sample = self.predict(weights)
    alone = scoring.with_probabilities(alone, fits)
    self.last = alone, covered
    stamp = self.stamp | {'weights_step': step,
                          'calibrated_on': fits['people'] if fits else 'nobody'}
    self.last_sheet = self.sheet(alone, sample)
    write = folder and jax.process_index() == 0
    if write:
      os.makedirs(folder, exist_ok=True)
      stale = os.path.join(folder, 'report.html')  # of the numbers that are replaced now
      if os.path.exists(stale):
        os.remove(stale)
      drawing.save(os.path.join(folder, 'pictures.jpg'), self.last_sheet)
    results, reports, trust = {}, {}, {}
    for name, pose in (alone | scoring.mixtures(alone, fits)).items():
      results[name], poses, reports[name] = scoring.score(self.source, pose, self.metric, covered,
                                                          self.oks_nms)
      network, kind = name.split('/')
      if fits and self.metric != 'none':
        trust[name] = scoring.calibrated(self.source, pose, covered, fits, network, kind)
        results[name] |= {'ECE': trust[name]['right']['ece']}
      if write:
        self._write_poses(folder, name.replace('/', '_'), pose, poses)
    if write:
      write_json(os.path.join(folder, 'results.json'), {'stamp': stamp, 'results': results})
      write_json(os.path.join(folder, 'report.json'),
                 {'stamp': stamp, 'report': reports, 'reliability': trust,
                  'per_joint': self.per_joint()})
      if fits:
        write_json(os.path.join(folder, 'calibration.json'), fits)
    return results, stamp

  def _write_poses(self, folder, name, pose, poses):
    s = self.source
    write_json(os.path.join(folder, f'predictions_{name}.json'), poses)
    if s.skeleton.name == 'mpii':
      result_files.write_mpii(os.path.join(folder, f'predictions_{name}.mat'), pose['keypoints'])
    if self.metric == 'none':
      return
    occlusion_report.save_joint_table(
      os.path.join(folder, f'joints_{name}.npz'), s.image_id,
      scoring.right_joints(s, pose['keypoints']), s.visibility > 0)

  def per_joint(self):
    """{'network/kind': {joint: percent right}} of the last run."""
    return {name: scoring.per_joint(self.source, pose) for name, pose in self.last[0].items()}

  def worst(self, count):
    """The people of the last run with the fewest right joints on occluded pictures, for
    `report.write`: caption and pictures of every network on both kinds."""
    predictions, s = self.last[0], self.source
    right = np.mean([scoring.right_joints(s, p['keypoints']) & (s.visibility > 0)
                     for n, p in predictions.items() if n.endswith('occluded')], 0).sum(1)
    share = right / np.maximum((s.visibility > 0).sum(1), 1)
    order = [row for row in np.argsort(share, kind='stable') if s.visibility[row].any()][:count]
    wanted, cases = {int(row): i for i, row in enumerate(order)}, {}
    for batch in self.batches(self.recipe):
      for i in np.flatnonzero(batch['mask']):
        row = int(batch['row'][i])
        if row in wanted:
          shown = self._pictures(batch, i, predictions)
          cases[wanted[row]] = {
            'caption': f'annotation {s.annotation_id[row]}, {os.path.basename(s.file[row])}: '
                       f'{share[row]:.0%} of the joints right',
            'pictures': {title: p for title, p in shown.items() if title != 'target'}}
    return [cases[i] for i in sorted(cases)]

  def sheet(self, predictions, sample, count=12):
    """Pairs of the first people: truth, target heatmaps, and every network's pose."""
    rows = [self._pictures(sample, i, predictions) for i in np.flatnonzero(sample['mask'])[:count]]
    return drawing.sheet([list(row.values()) for row in rows], list(rows[0]))

  def _pictures(self, batch, i, predictions):
    """{title: (H,W,3)} of sample i of a batch: truth, target, every network's pose."""
    row, s = int(batch['row'][i]), self.source
    labelled = batch['visibility'][i] > 0
    target, _ = self.codec.encode(batch['keypoints'][[i]], labelled[None].astype(np.float32),
                                  self.size, sigma=self.sigma)
    out = {'truth': drawing.draw_pose(batch['image'][i], batch['keypoints'][i], labelled,
                                        s.skeleton),
           'target': drawing.draw_heatmaps(batch['image'][i], target[0])}
    for name, p in predictions.items():
      keypoints = heatmaps.from_picture(p['keypoints'][[row]], s.center[[row]], s.scale[[row]],
                                        self.size, self.codec.unbiased)[0]
      crop = batch[_FIELDS[name.split('/')[1]]][i]
      out[name] = drawing.draw_pose(crop, keypoints, p['scores'][row] > 0.1, s.skeleton)
    return out


def table(results: dict, stamp: dict) -> str:
  """The results of all networks on both kinds of pictures as text, under their stamp."""
  shown = [k for k, v in next(iter(results.values())).items() if isinstance(v, float)]
  head = '  '.join(f'{k}={v}' for k, v in stamp.items())
  if not shown:
    return head + '\nposes written, nothing to score'
  width = max(len(name) for name in results) + 2
  lines = [head, ' ' * width + '  '.join(f'{k:>8}' for k in shown)]
  for name, row in results.items():
    cells = ('-' if row[k] != row[k] else f'{row[k]:.4g}' for k in shown)
    lines.append(f'{name:<{width}}' + '  '.join(f'{cell:>{max(8, len(k))}}' for cell, k in
                                                zip(cells, shown, strict=True)))
  return '\n'.join(lines)


def write_json(path, value):
  """Whole or not at all: a reader never sees half a file."""
  with open(path + '.part', 'w', encoding='utf-8') as f:
    json.dump(_plain(value), f)
  os.replace(path + '.part', path)


def _plain(value):
  """NaN, which json does not know, as null."""
  if isinstance(value, dict):
    return {k: _plain(v) for k, v in value.items()}
  if isinstance(value, list):
    return [_plain(v) for v in value]
  if isinstance(value, float) and value != value:
    return None
  return value
