"""Crops of people, drawn with what networks learn from and what they answer."""
import dataclasses
import os

import cv2
import numpy as np

from dslope_jax import heatmaps
from dslope_jax.evaluation import drawing
from dslope_jax.visibility import is_labelled
from input_pipeline import stream
from input_pipeline.occlusion import mixtures

VIEWS = {'clean': 'image', 'occluded': 'occluded_image'}
_SHOWN = 256  # pixels of height that a crop on a sheet of samples has at least


def show(config, stride, maker, count):
  """The crops that the loss sees, with their joints, and the target; see `Task.show`. Of a
  curriculum each stage has its share of the count."""
  views = {view: field for view, field in VIEWS.items() if field in maker.fields}
  hidden = ('covered', 'outside') * ('occluded' in views)
  fields = (*views.values(), 'keypoints', 'visibility', *hidden)
  maker, source = dataclasses.replace(maker, fields=fields), maker.source
  zoom = -(-_SHOWN // maker.size[1])  # crops may be small: what is drawn on them shall be sharp
  cases, stages = [], mixtures.stages(maker.recipe)
  shares = [len(part) for part in np.array_split(range(count), len(stages))]
  samples = [(recipe, sample) for recipe, share in zip(stages, shares, strict=True)
             for sample in stream.first_samples(dataclasses.replace(maker, recipe=recipe), share)]
  for recipe, sample in samples:
    points = zoom * sample['keypoints'] + (zoom - 1) / 2
    labelled = is_labelled(sample['visibility'])
    covered, outside = (labelled & sample.get(field, False) for field in ('covered', 'outside'))
    shown = {}
    for view, field in views.items():
      crop = cv2.resize(sample[field], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
      pose = drawing.mark(drawing.draw_pose(crop, points, labelled, source.skeleton), points,
                          sample['visibility'] == 1, cv2.MARKER_SQUARE)
      if view == 'occluded':
        pose = drawing.mark(pose, points, covered | outside, cv2.MARKER_TILTED_CROSS)
      shown |= {view: crop, f'{view}, joints': pose}
    shown['target'] = drawing.draw_heatmaps(crop, _target(config, stride, maker.size, sample))
    named = lambda flags: ' '.join(source.skeleton.names[k] for k in np.flatnonzero(flags))
    row, reason = int(sample['row']), sample['unreadable'].item().decode('utf-8', 'ignore')
    cases.append({'pictures': shown, 'caption': reason or (
      f'annotation {source.annotation_id[row]}, {os.path.basename(source.file[row])}'
      + f', recipe {recipe}' * (len(stages) > 1)
      + f', covered: {named(covered) or "nothing"}' * ('occluded' in views)
      + f', outside: {named(outside)}' * bool(outside.any()))})
  return cases


def cases(config, stride, maker, outputs, rows):
  """Ground truth, target and every network's pose on the crop that it saw."""
  source, out = maker.source, []
  skeleton = source.skeleton
  for row in rows:
    sample = maker.evaluate(row)
    labelled = is_labelled(sample['visibility'])
    shown = {'truth': drawing.draw_pose(sample['image'], sample['keypoints'], labelled, skeleton),
             'target': drawing.draw_heatmaps(sample['image'],
                                             _target(config, stride, maker.size, sample))}
    for name, pose in outputs.items():
      if name != 'batch':
        crop = sample[VIEWS[name.rsplit('/', 1)[1]]]
        shown[name] = drawing.draw_pose(crop, pose['keypoints'][row], pose['scores'][row] > 0.1,
                                        skeleton)
    out.append({'caption': f'annotation {source.annotation_id[row]}, '
                           f'{os.path.basename(source.file[row])}', 'pictures': shown})
  return out


def _target(config, stride, size, sample):
  """Heatmaps (h,w,K) of a sample."""
  target, _ = heatmaps.codec(config.system.codec).encode(
    sample['keypoints'][None], is_labelled(sample['visibility'])[None].astype(np.float32), size,
    stride, sigma=config.system.sigma)
  return target[0]
