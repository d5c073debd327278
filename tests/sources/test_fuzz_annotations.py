"""Whatever an annotation, detection or result file holds, it is read or refused in one line."""
import contextlib
import copy
import functools
import io
import json
import operator
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dslope_jax import skeletons
from dslope_jax.errors import UserError
from dslope_jax.metrics import keypoint_ap
from dslope_jax.metrics.result_files import read_results
from dslope_jax.tasks import subjects
from input_pipeline import sources
from input_pipeline.sources import detections
from input_pipeline.sources.checks import without_pictures

K = 5
_DELETED = '<deleted>'
_NAMES = ['muzzle', 'left_paw', 'right_paw', 'rump', 'tail']


def truth(names=_NAMES):
  rng, k = np.random.default_rng(0), len(names)
  joints = np.concatenate([rng.uniform(12, 48, (3, k, 2)).round(1), np.full((3, k, 1), 2)], 2)
  return {
    'images': [{'id': i, 'file_name': f'{i}.jpg', 'width': 96, 'height': 80, 'crowdIndex': 0.5}
               for i in (1, 2)],
    'annotations': [
      {'id': i + 1, 'image_id': 1 + i % 2, 'category_id': 4, 'bbox': [10, 10, 40, 40],
       'area': 900.0, 'iscrowd': 0, 'num_keypoints': k, 'keypoints': joints[i].ravel().tolist(),
       'covered': [0] * k, 'segmentation': [[10, 10, 50, 10, 50, 50, 10, 50]]} for i in range(3)],
    'categories': [{'id': 4, 'name': 'cat', 'keypoints': list(names),
                    'skeleton': [[1, 4], [4, 5]], 'sigmas': [.1] * k, 'flip_pairs': [[1, 2]]}]}


def results():
  return [{'image_id': 1 + i, 'category_id': 4, 'score': 0.5, 'bbox': [10, 10, 40 + i, 40],
           'keypoints': [float(v + i) for v in range(10, 10 + 3 * K)]} for i in range(2)]


def places(tree, at=()):
  """Paths to everything in a tree."""
  yield at
  items = tree.items() if isinstance(tree, dict) else enumerate(
    tree) if isinstance(tree, list) else ()
  for key, value in items:
    yield from places(value, (*at, key))


def edited(tree, edits):
  """The tree with values put in, in turn; a place that an edit before removed is left."""
  tree = copy.deepcopy(tree)
  for path, value in edits:
    if not path:
      return value
    *above, last = path
    with contextlib.suppress(KeyError, IndexError, TypeError):
      parent = functools.reduce(operator.getitem, above, tree)
      if value == _DELETED:
        del parent[last]
      elif isinstance(parent, (dict, list)):
        parent[last] = copy.deepcopy(value)
  return tree


_SCALARS = st.none() | st.booleans() | st.sampled_from(
  [_DELETED, 0, 1, -1, 2, 3, 0.5, 1e300, -1e300, 2**31, 2**63, -2**70, 10**400, float('nan'),
   float('inf'), '', '1', 'no', 'left', 'a\nb\x1b', '\ud800', '../x', [], [[]], {}, [1], [0, 0],
   [0] * (3 * K)])
_VALUES = _SCALARS | st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=4) | (
  st.dictionaries(st.sampled_from(['id', 'counts', 'size', 'keypoints']), inner, max_size=3)),
  max_leaves=6)


def edits_of(tree):
  return st.lists(st.tuples(st.sampled_from(list(places(tree))), _VALUES), min_size=1, max_size=3)


def one_line(action):
  """What the action returns; None where it refuses, which must be one short line."""
  with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter('error')
    try:
      return action()
    except (UserError, OSError) as error:
      text = str(error)
      assert text.isprintable() and len(text) < 1500, text
      return None


def write(path, content):
  path.write_text(json.dumps(content))  # surrogates are escaped
  return str(path)


def load(folder, content, name='coco', split='x', **options):
  write(folder / 'a.json', content)
  with without_pictures():
    return sources.load(name, split, root=str(folder), annotations='a.json', images='.', **options)


def use(source):
  """What training, evaluation and the patch bank read of a set."""
  of = subjects.of_source(source)
  for row in range(len(source)):
    one_line(lambda: source.mask(row))  # noqa: B023 - called here
  k = source.skeleton.num_keypoints
  poses = keypoint_ap.to_coco_results(
    source.image_id, source.keypoints, np.ones((len(source), k)), np.ones(len(source)),
    source.category_id)
  assert len(of.people) >= len(source)
  return keypoint_ap.coco_ap(source.ground_truth, poses, source.skeleton.sigmas)


@settings(deadline=None, max_examples=150)
@given(edits_of(truth()))
@example([(('annotations', 0, 'area'), 10**400)])
@example([(('annotations', 0, 'segmentation'), [[5, 6]])])
@example([(('images', 0, 'crowdIndex'), 'a')])
@example([(('categories', 0, 'sigmas'), [float('inf')] * K)])
def test_annotations(tmp_path_factory, edits):
  folder = tmp_path_factory.mktemp('set')
  content = edited(truth(), edits)
  for skip in (False, True):
    source = one_line(lambda: load(folder, content, skip_invalid=skip))  # noqa: B023 - called here
    if source is not None and len(source):
      one_line(lambda: use(source))  # noqa: B023


@functools.cache
def whole(folder):
  return load(folder, truth())


@settings(deadline=None, max_examples=80)
@given(edits_of(results()))
def test_results(tmp_path_factory, edits):
  folder = tmp_path_factory.getbasetemp()
  source = whole(folder)
  path = write(folder / 'r.json', edited(results(), edits))
  one_line(lambda: read_results(path, source.ground_truth, K))


@settings(deadline=None, max_examples=80)
@given(edits_of(results()))
@example([((0, 'bbox', 2), 1e300)])
@example([((0, 'score'), -1e300)])
def test_detections(tmp_path_factory, edits):
  folder = tmp_path_factory.getbasetemp()
  source = whole(folder)
  path = write(folder / 'd.json', edited(results(), edits))
  one_line(lambda: detections.with_detections(source, path, aspect=0.75, padding=1.25))


def own_forms():
  """{data set: (content in its own form, options)}."""
  aic = [{'image_id': 'a', 'human_annotations': {'human1': [10, 10, 50, 50]},
          'keypoint_annotations': {'human1': [20, 30, 1] * 14}}]
  ochuman = {'keypoint_names': list(skeletons.COCO.names), 'images': [
    {'image_id': 'a', 'file_name': 'a.jpg', 'width': 96, 'height': 80, 'annotations': [
      {'bbox': [10, 10, 50, 50], 'keypoints': [20, 30, 1] * 17, 'segms': {
        'outer': [[10, 10, 50, 10, 50, 50]], 'inner': []}}]}]}
  forms = {'crowdpose': truth(skeletons.CROWDPOSE.names), 'jhmdb': truth(skeletons.JHMDB.names),
           'aic': aic, 'ochuman': ochuman, 'coco_objects': truth() | {'categories': [
             {'id': 4, 'name': 'cat'}]}, 'faces': truth(skeletons.AFLW.names)}
  for face in forms['faces']['annotations']:
    face |= {'center': [30, 30], 'scale': 0.3, 'box_size': 50}
  return {name: (form, {'faces_of': 'aflw'} if name == 'faces' else {})
          for name, form in forms.items()}


# Inputs that once ended in a traceback.
FOUND = {'aic': [((0, 'keypoint_annotations', 'human1'), [10**400] * 42)],
         'ochuman': [(('images', 0, 'annotations', 0, 'keypoints'), [10**400] * 51)],
         'faces': [(('annotations', 0, 'center', 0), 1e300)]}


@pytest.mark.parametrize('name', own_forms())
def test_own_forms(tmp_path, name):
  content, options = own_forms()[name]
  split = 'all' if name == 'ochuman' else 'x'
  assert len(load(tmp_path, content, name, split, **options))

  @settings(deadline=None, max_examples=25)
  @given(edits_of(content))
  @example(FOUND.get(name, []))
  def check(edits):
    broken = edited(content, edits)
    source = one_line(lambda: load(tmp_path, broken, name, split, **options))
    for row in range(len(source or ())):
      one_line(lambda: source.mask(row))  # noqa: B023

  check()
