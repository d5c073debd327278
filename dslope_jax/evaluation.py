"""Evaluation: jitted prediction over padded batches, gathered to the host, scored and stamped."""
import json
import os

import jax
import numpy as np

from dslope_jax import heatmaps, sharding, visualize
from dslope_jax.metrics import keypoint_ap, occlusion, pck
from dslope_jax.systems.base import Forward, System

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

  source: rows of people. batches: () -> iterator over padded batches of this process.
  stamp: what the numbers depend on, printed with them and written to every file.
  metric: 'coco_ap', 'pckh' or 'pck'. oks_nms: threshold of the suppression of double poses.
  codec, sigma: of the targets.
  """

  def __init__(self, system, mesh, source, batches, *, size, metric, flip, shift, stamp,
               oks_nms=0.9, sigma=2.0, codec='hrnet'):
    if metric not in METRICS:
      raise ValueError(f"an eval's metric is one of {sorted(METRICS)}, not '{metric}'")
    _check_fit(metric, source)
    self.mesh, self.source, self.batches, self.size = mesh, source, batches, size
    self.metric, self.stamp, self.oks_nms, self.sigma = metric, stamp, oks_nms, sigma
    self.codec = heatmaps.codec(codec)
    split = sharding.by_sample(mesh)
    self._predict = jax.jit(
      make_predict(system, source.skeleton.flip_pairs, flip=flip, shift=shift, codec=codec,
                   sigma=sigma),
      in_shardings=(sharding.replicated(mesh), split), out_shardings=split)

  def predict(self, weights):
    """{'network/kind': {keypoints (N,K,2) picture pixels, scores (N,K)}}, covered (N,K), sample.

    sample: images and joints of the first batch with its predictions in crop pixels, for sheets.
    """
    found, sample = {}, None
    in_flight = None
    for batch in self.batches():
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
    """{'network/kind': {metric: number}}; writes results and predictions to `folder` if given."""
    predictions, covered, sample = self.predict(weights)
    results, files = {}, {}
    for name, p in predictions.items():
      results[name], files[name] = METRICS[self.metric](self, p)
      results[name] |= self._by_visibility(p, covered)
    stamp = self.stamp | {'weights_step': step}
    self.last_sheet = self.sheet(predictions, sample)
    if folder and jax.process_index() == 0:
      os.makedirs(folder, exist_ok=True)
      _write_json(os.path.join(folder, 'results.json'), {'stamp': stamp, 'results': results})
      for name, rows in files.items():
        _write_json(os.path.join(folder, f'predictions_{name.replace("/", "_")}.json'), rows)
      visualize.save(os.path.join(folder, 'pictures.jpg'), self.last_sheet)
    return results, stamp

  def _by_visibility(self, p, covered):
    """Share of right joints among visible, hidden (v = 1) and patch-covered ones, in percent."""
    s = self.source
    areas = s.scale.prod(1) * 200 ** 2 / 1.25 ** 2 * 0.53  # of the unpadded box, as CrowdPose's
    right = occlusion.oks_correct(p['keypoints'], s.keypoints, areas, s.skeleton.sigmas)
    groups = occlusion.split(right, occlusion.joint_groups(s.visibility, covered))
    return {f'{k}_joints': v['share'] for k, v in groups.items()}

  def coco_ap(self, p):
    s = self.source
    scores = keypoint_ap.rescore(p['scores'], s.box_score)
    kept = keypoint_ap.select(s.image_id, p['keypoints'], scores, s.scale.prod(1) * 200 ** 2,
                              s.skeleton.sigmas, self.oks_nms)
    results = keypoint_ap.to_coco_results(s.image_id[kept], p['keypoints'][kept],
                                          p['scores'][kept], scores[kept], s.category_id)
    return keypoint_ap.coco_ap(s.ground_truth, results, s.skeleton.sigmas), results

  def pckh(self, p):
    s = self.source
    table = pck.mpii_table(p['keypoints'], s.keypoints, s.visibility > 0, s.head_size)
    return table, self._all_poses(p)

  def pck(self, p):
    s = self.source
    reference = pck.torso_diagonal(s.keypoints, s.visibility, s.skeleton)
    table = pck.pck(p['keypoints'], s.keypoints, s.visibility > 0, reference, 0.2,
                    s.skeleton.names)
    return {'PCK@0.2': table.pop('PCK')} | table, self._all_poses(p)

  def _all_poses(self, p):
    s = self.source
    return keypoint_ap.to_coco_results(s.image_id, p['keypoints'], p['scores'],
                                       keypoint_ap.rescore(p['scores'], s.box_score),
                                       s.category_id)

  def sheet(self, predictions, sample, count=12):
    """Pairs of the first people: truth, target heatmaps, and every network's pose."""
    columns = ['truth', 'target', *predictions]
    labelled = (sample['visibility'] > 0).astype(np.float32)
    targets, _ = self.codec.encode(sample['keypoints'], labelled, self.size, sigma=self.sigma)
    rows = []
    for i in np.flatnonzero(sample['mask'])[:count]:
      row = int(sample['row'][i])
      s = self.source
      pictures = [visualize.draw_pose(sample['image'][i], sample['keypoints'][i],
                                      sample['visibility'][i] > 0, s.skeleton),
                  visualize.draw_heatmaps(sample['image'][i], targets[i])]
      for name, p in predictions.items():
        crop = sample[_FIELDS[name.split('/')[1]]][i]
        keypoints = heatmaps.from_picture(p['keypoints'][[row]], s.center[[row]], s.scale[[row]],
                                          self.size, self.codec.unbiased)[0]
        pictures.append(visualize.draw_pose(crop, keypoints, p['scores'][row] > 0.1, s.skeleton))
      rows.append(pictures)
    return visualize.sheet(rows, columns)


def _check_fit(metric, source):
  """Raises ValueError, before anything is trained, where a metric lacks what it divides by."""
  where = f'{source.name} {source.split}'
  if metric == 'coco_ap' and source.ground_truth is None:
    raise ValueError(f"metric 'coco_ap' needs annotations in COCO's form, which {where} lacks; "
                     "choose 'pck' or 'pckh'")
  if metric == 'pckh' and (source.head_size is None or not (source.head_size > 0).any()):
    raise ValueError(f"metric 'pckh' needs head sizes, which {where} lacks (MPII has them for "
                     "split 'valid', in annot/gt_valid.mat); choose 'pck'")
  if metric == 'pck' and not pck.torso_diagonal(source.keypoints, source.visibility,
                                                source.skeleton).any():
    raise ValueError(f"metric 'pck' needs people with shoulders and hips, which {where} lacks; "
                     "pass --config.evals.NAME.metric=coco_ap")


METRICS = {'coco_ap': Evaluator.coco_ap, 'pckh': Evaluator.pckh, 'pck': Evaluator.pck}


def table(results: dict, stamp: dict) -> str:
  """The results of all networks on both kinds of pictures as text, under their stamp."""
  shown = [k for k, v in next(iter(results.values())).items() if isinstance(v, float)]
  width = max(len(name) for name in results) + 2
  lines = ['  '.join(f'{k}={v}' for k, v in stamp.items()),
           ' ' * width + '  '.join(f'{k:>8}' for k in shown)]
  for name, row in results.items():
    lines.append(f'{name:<{width}}' + '  '.join(f'{row[k]:>{max(8, len(k))}.4g}' for k in shown))
  return '\n'.join(lines)


def _write_json(path, value):
  """Whole or not at all: a reader never sees half a file."""
  with open(path + '.part', 'w', encoding='utf-8') as f:
    json.dump(_plain(value), f)
  os.replace(path + '.part', path)


def _plain(value):
  """NaN, which json does not know, as null."""
  if isinstance(value, dict):
    return {k: _plain(v) for k, v in value.items()}
  if isinstance(value, float) and value != value:
    return None
  return value
