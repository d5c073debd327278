"""A network that knows every pose is perfect: the whole evaluation adds nothing of its own.

Pictures are painted so that every pixel says which point of which picture it shows. The network
reads from a crop how it was cut, as nothing else tells it, and draws the heatmaps of the people's
true keypoints there. Then all goes its way: crops, batches, flip, merge, decoding, the way back to
the picture, suppression of double poses, metric.
"""
import functools
import json

import cv2
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import common
from dslope_jax import heatmaps, models, skeletons, tasks
from dslope_jax.evaluation.engine import Engine
from dslope_jax.systems import base
from dslope_jax.training import sharding
from input_pipeline import sources
from input_pipeline.sources.synthetic import World
from tests import data_sets

SIZE, STRIDE, SIGMA = (288, 384), 4, 2.0
FIRST = 20  # blue of the first picture; each further one has one more
# Where an answer may lie, heatmap pixels from the truth: x from, to; y from, to.
# 'hrnet': targets lie on whole pixels, so +-1/2 in y. A mirrored crop of W pixels turns x into
# W - 1 - x; moved back and shifted by a pixel, its target lies a quarter to the right of x before
# it is rounded. The merged peak is that of both or, where they differ, a quarter beside one.
# 'dark': the same quarter, halved by the merge; nothing is rounded. 'udp': nothing of all this.
BOUNDS = {'hrnet': (-.27, .52, -.52, .52), 'dark': (.08, .17, -.05, .05),
          'udp': (-.05, .05, -.05, .05)}
_keypoints = lambda file, skeleton, **options: functools.partial(
  data_sets.write_keypoints, file=file, skeleton=skeleton, **options)
# {form: (function that writes it, split, metric, options of the loader, codecs: forms of one loader
# share them)}
FORMS = {
  'synthetic': (None, 'val', 'pck', dict(num_people=8, size=(64, 96), people=(1, 2)), BOUNDS),
  'coco': (data_sets.write_coco, 'val', 'coco_ap', {}, BOUNDS),
  'mpii': (data_sets.write_mpii, 'valid', 'pckh', {}, ['hrnet', 'udp']),
  'lsp': (data_sets.write_lsp, 'train', 'pck', {}, ['udp']),
  'aic': (_keypoints('annotations/aic_val.json', skeletons.AIC), 'val', 'coco_ap',
          dict(images='images'), ['dark']),
  'crowdpose': (_keypoints('json/crowdpose_val.json', skeletons.CROWDPOSE), 'val',
                'crowdpose_ap', {}, ['udp']),
  'jhmdb': (_keypoints('annotations/Sub1_test.json', skeletons.JHMDB, folder='.'), 'test',
            'jhmdb_pck', {}, ['hrnet']),
  'faces': (_keypoints('annotations/cofw_test.json', skeletons.COFW), 'test', 'nme',
            dict(faces_of='cofw'), ['dark'])}


class Oracle(nn.Module):
  """Knows people of the size that it was trained on, 'side' being that of their crop; of others, a
  sixth larger or smaller, it sees nothing. All that it knows are its weights: see `knowledge`."""
  skeleton: skeletons.Skeleton
  codec: str

  def __call__(self, images, train=False):
    known = {name: self.get_variable('params', name) for name in _KNOWN}
    first, pixel, number = _measure(images)
    far = jnp.abs(first[:, None] + pixel[:, None] * np.divide(SIZE, 2) - known['center']).sum(-1)
    row = (far + 1e6 * (number[:, None] != known['number'])).argmin(1)
    keypoints = (known['keypoints'][row] - first[:, None]) / pixel[:, None]
    # Of a mirrored person, what looks like the left hand is the right one.
    keypoints = jnp.where(pixel[:, :1, None] < 0, keypoints[:, self.skeleton.flip_order], keypoints)
    fills = known['side'][row] / jnp.abs(pixel[:, 0]) / SIZE[0]
    seen = (jnp.abs(fills - 1) < 1 / 6)[:, None] * jnp.ones(keypoints.shape[:2])
    return {'heatmaps': heatmaps.codec(self.codec).encode(keypoints, seen, SIZE, STRIDE, SIGMA)[0]}


_KNOWN = ('number', 'keypoints', 'center', 'side')


def knowledge(load, padding):
  """(people, weights of an `Oracle`): of N people the number of the picture, keypoints, centre and
  width of the crop, pixels of the picture."""
  source = load() if padding is None else load(padding=1.0)
  side = source.scale[:, 0] * 200 * (padding or 1)
  _, number = np.unique(source.file, return_inverse=True)
  values = number, source.keypoints, source.center, side
  return source, dict(zip(_KNOWN, [np.float32(x) for x in values], strict=True))


def _measure(images):
  """(B,2) point of the picture that each crop's first pixel shows, and step to the next ones, by
  least squares over all that show any; (B,) number of the picture."""
  pixels = 255 * (images * jnp.array(base._STD) + jnp.array(base._MEAN))
  blue = jnp.round(pixels[..., 2])
  number = blue.max((1, 2))
  shown = (blue == number[:, None, None]).astype(jnp.float32)
  first, step = [], []
  for axis, size in enumerate(SIZE):
    place = jnp.arange(size, dtype=jnp.float32)
    place = place if axis == 0 else place[:, None]
    mean = lambda x: (x * shown).sum((1, 2), keepdims=True) / shown.sum((1, 2), keepdims=True)
    point = pixels[..., axis] / 2
    away = place - mean(place)
    step.append(mean(away * (point - mean(point))) / mean(away ** 2))
    first.append(mean(point) - step[-1] * mean(place))
  return *(jnp.concatenate(x, 1)[..., 0] for x in (first, step)), number - FIRST


def paint(number, width, height):
  """(H,W,3) RGB: twice x, twice y, and which picture it is."""
  y, x = np.mgrid[:height, :width]
  return np.stack([2 * x, 2 * y, np.full_like(x, FIRST + number)], -1).astype(np.uint8)


@pytest.fixture(scope='module')
def data(request, tmp_path_factory):
  """(form, its folder or '', function: options -> its people) of painted pictures."""
  write, split, _, options, _ = FORMS[request.param]
  if write is None:
    options, root = options, ''
  else:
    root = write(tmp_path_factory.mktemp(request.param) / 'set')
    options = options | {'root': root}
  load = functools.partial(sources.load, request.param, split, aspect=SIZE[0] / SIZE[1], **options)
  if root:
    for number, file in enumerate(sorted(set(load().file))):
      height, width = cv2.imread(file).shape[:2]
      done, content = cv2.imencode('.png', paint(number, width, height)[..., ::-1])
      assert done
      content.tofile(file)
  return request.param, root, load


def write_detections(path, source):
  """Boxes that miss the annotated ones by a little, each found twice; an alarm for nothing."""
  rng, entries = np.random.default_rng(0), []
  people = zip(source.image_id.tolist(), source.box.astype(float), strict=True)
  for row, (image, box) in enumerate(people):
    for score in ((0.95, 0.9), (0.5, 0.4))[row % 2]:  # a second one is above others' first
      grown = rng.uniform(0, .03, 2) * box[2:]
      found = [*(box[:2] - grown / 2), *(box[2:] + grown)]
      entries.append({'image_id': image, 'category_id': 1, 'bbox': found, 'score': score})
  entries.append({'image_id': int(source.image_id[0]), 'category_id': 1, 'bbox': [1, 1, 9, 12],
                  'score': 0.5})
  path.write_text(json.dumps(entries))


def config_of(form, root, codec, padding, boxes):
  _, split, metric, options, _ = FORMS[form]
  config = common.top_down()
  config.system.update(dict(codec=codec, sigma=SIGMA))
  config.data.update(dict(name=form, root=root, train_split=split, size=SIZE, recipe='none'))
  config.data.loader = ConfigDict(options | ({'padding': padding} if root else {}))
  if not root:
    del config.data.root
  config.evals = ConfigDict({
    name: common.evaluation(split, metric) | dict(recipe='none', boxes=file, batch_size=4)
    for name, file in boxes.items()})
  return config


# The world has boxes of one padding.
CASES = [(form, codec, padding) for form, (write, *_, codecs) in FORMS.items() for codec in codecs
         for padding in ((1.0, 1.25, 1.5) if write else (1.25,))]


@pytest.mark.parametrize('data, codec, padding', CASES, indirect=['data'])
def test_a_perfect_network_is_perfect(data, tmp_path, monkeypatch, codec, padding):
  form, root, load = data
  source, known = knowledge(load, padding if root else None)
  boxes = {'annotated': 'gt'}
  if root:
    write_detections(tmp_path / 'detections.json', source)
    boxes['detected'] = str(tmp_path / 'detections.json')
  else:
    pictures = dict(zip(source.file.tolist(), known['number'], strict=True))
    monkeypatch.setattr(World, 'read', lambda world, row: paint(pictures[source.file[row]],
                                                                *world.size))
  monkeypatch.setattr(models, 'build', lambda **_: Oracle(source.skeleton, codec))
  task = tasks.build(config_of(form, root, codec, padding, boxes), str(tmp_path))
  weights = {'params': {'net': known}, 'batch_stats': {'net': {}}}
  for entry in task.evals.values():
    outputs = Engine(task.system, entry, sharding.make_mesh()).predict(
      weights, entry.rows, entry.batches())
    scores = entry.score(outputs, None)
    assert set(scores.results) == {'net/clean', 'net/occluded'}
    for row, numbers in scores.results.items():
      poses = scores.files[f'predictions_{row.replace("/", "_")}.json']
      check_errors(poses, source, known, codec)
      check_numbers(numbers, FORMS[form][2])


def check_errors(poses, source, known, codec):
  """Every joint within the codec's bounds, but for those at the edge of a crop."""
  x0, x1, y0, y1 = BOUNDS[codec]
  for row in range(len(source)):
    given = np.array([np.reshape(p['keypoints'], (-1, 3))[:, :2] for p in poses
                      if p['image_id'] == source.image_id[row]])
    unit = known['side'][row] / SIZE[0] * STRIDE  # a heatmap pixel
    truth, labelled = source.keypoints[row], source.visibility[row] > 0
    inside = np.abs(truth - source.center[row]) / unit < np.array(SIZE) / STRIDE / 2 - 4
    error = ((given - truth) / unit)[:, labelled & inside.all(1)]
    error = error[np.abs(error).mean((1, 2)).argmin()]
    assert len(error) > 3
    assert error[:, 0].min() >= x0 and error[:, 0].max() <= x1, error
    assert error[:, 1].min() >= y0 and error[:, 1].max() <= y1, error


def check_numbers(numbers, metric):
  if metric == 'nme':
    assert numbers['NME'] < 0.7  # of 'dark': an eighth of a heatmap pixel
    return
  main = [k for k in numbers if k in ('AP', 'PCKh@0.5') or k.startswith('PCK@')]
  assert main and all(numbers[k] == pytest.approx(100) for k in main), numbers
