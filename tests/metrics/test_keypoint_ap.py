"""Rescoring, OKS-NMS and AP against the published implementation and pycocotools."""
import copy
import gzip
import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dslope_jax.metrics import keypoint_ap
from dslope_jax.skeletons import COCO, CROWDPOSE

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/dslope/coco_eval'
NUMBERS = json.loads((GOLDEN / 'numbers.json').read_text())
NMS_RUNS = [name for name, run in NUMBERS['runs'].items()
            if 'oks_nms' in name and not run['soft']]
PUBLISHED_NAMES = ('AP', 'Ap .5', 'AP .75', 'AP (M)', 'AP (L)', 'AR', 'AR .5', 'AR .75', 'AR (M)',
                   'AR (L)')


def load(name):
  with gzip.open(GOLDEN / f'{name}.json.gz') as f:
    return json.load(f)


@pytest.fixture(scope='module')
def truth():
  return load('ground_truth')


@pytest.fixture(scope='module')
def poses():
  rows = load('predictions')
  columns = {k: np.array([r[k] for r in rows]) for k in ('keypoints', 'scale', 'box_score')}
  return columns | {'image_id': np.array([r['image_id'] for r in rows]),
                    'area': np.prod(columns['scale'] * 200, axis=1)}


def results(poses, scores, rows=slice(None)):
  k = poses['keypoints']
  return keypoint_ap.to_coco_results(
    poses['image_id'][rows], k[rows, :, :2], k[rows, :, 2], scores[rows])


def check_statistics(got, want):
  assert tuple(got) == keypoint_ap.STATISTICS
  for ours, theirs in zip(keypoint_ap.STATISTICS, PUBLISHED_NAMES, strict=True):
    assert got[ours] == pytest.approx(want[theirs], abs=1e-9), ours


@pytest.mark.parametrize('name', NMS_RUNS)
def test_published_run(name, truth, poses):
  run, kept = NUMBERS['runs'][name], load(f'kept_{name}')
  scores = keypoint_ap.rescore(poses['keypoints'][..., 2], poses['box_score'], run['in_vis_thre'])
  np.testing.assert_allclose(scores, kept['rescored'], rtol=0, atol=1e-12)
  rows = keypoint_ap.select(poses['image_id'], poses['keypoints'], scores, poses['area'],
                            COCO.sigmas, run['oks_thre'])
  per_image = kept['kept_prediction_indices_in_order_per_image']
  assert rows.tolist() == [row for image in per_image.values() for row in image]
  assert len(rows) == run['kept_total']
  check_statistics(keypoint_ap.coco_ap(truth, results(poses, scores, rows), COCO.sigmas),
                   run['stats'])


def test_no_suppression_box_scores(truth, poses):
  got = keypoint_ap.coco_ap(truth, results(poses, poses['box_score']), COCO.sigmas)
  check_statistics(got, NUMBERS['runs']['no_nms_box_score']['stats'])


@pytest.mark.parametrize('pair', NUMBERS['pairwise_oks'])
def test_published_oks(pair):
  got = keypoint_ap.oks(np.array([pair['g']]), np.array(pair['d']), [pair['area_g']],
                        pair['area_d'], COCO.sigmas)
  np.testing.assert_allclose(got[0], pair['oks_in_vis_none'], rtol=0, atol=1e-12)


def test_ground_truth_stays_as_it_is_and_nothing_is_printed(truth, poses, capfd):
  before, given_results = copy.deepcopy(truth), results(poses, poses['box_score'])
  results_before = copy.deepcopy(given_results)
  keypoint_ap.coco_ap(truth, given_results, COCO.sigmas)
  assert truth == before and given_results == results_before
  assert capfd.readouterr() == ('', '')


def test_missing_fields_are_filled_in(truth, poses):
  # CrowdPose has no areas; other writers leave out the counts.
  full, bare = copy.deepcopy(truth), copy.deepcopy(truth)
  for one, other in zip(full['annotations'], bare['annotations'], strict=True):
    one['area'] = 0.53 * one['bbox'][2] * one['bbox'][3]
    del other['area'], other['num_keypoints']
    if not other['iscrowd']:
      del other['iscrowd']
  guesses = results(poses, poses['box_score'])
  got = keypoint_ap.coco_ap(bare, guesses, COCO.sigmas)
  assert got == keypoint_ap.coco_ap(full, guesses, COCO.sigmas)
  assert got['AP'] != keypoint_ap.coco_ap(truth, guesses, COCO.sigmas)['AP']


def person(number, size, k=14):
  joints = np.random.default_rng(number).uniform(1, size, (k, 3))  # all labelled
  return {'id': number, 'image_id': number, 'category_id': 1, 'bbox': [0, 0, size, size],
          'keypoints': joints.ravel().tolist()}


def small_set(*sizes):
  people = [person(i, size) for i, size in enumerate(sizes)]
  return {'images': [{'id': i} for i in range(len(sizes))], 'categories': [{'id': 1}],
          'annotations': people}


def copies(truth):
  return [{k: a[k] for k in ('image_id', 'category_id', 'keypoints')} | {'score': 0.5}
          for a in truth['annotations']]


def test_fourteen_joints_perfect_poses_and_ids_from_zero():
  truth = small_set(60, 200, 300)
  got = keypoint_ap.coco_ap(truth, copies(truth), CROWDPOSE.sigmas)
  assert all(v == pytest.approx(1) for v in got.values())


def test_absent_size_is_nan_and_no_results_are_zeros():
  large = small_set(200, 300)
  got = keypoint_ap.coco_ap(large, copies(large), CROWDPOSE.sigmas)
  assert np.isnan(got['AP(M)']) and np.isnan(got['AR(M)']) and got['AP(L)'] == pytest.approx(1)
  assert set(keypoint_ap.coco_ap(small_set(60, 200), [], CROWDPOSE.sigmas).values()) == {0.0}


def test_image_ids_choose():
  truth = small_set(60, 200, 300)
  for image_ids, want in ((None, 2 / 3), (np.array([0, 1]), 1), ([2], 0)):
    got = keypoint_ap.coco_ap(truth, copies(truth)[:2], CROWDPOSE.sigmas, image_ids)
    assert got['AR'] == pytest.approx(want)


def change(entries, **fields):
  return [entry | fields for entry in entries]


@pytest.mark.parametrize('message, edit', [
  ('nothing to evaluate', lambda t, r: (t | {'annotations': []}, r, None)),
  ('nothing to evaluate', lambda t, r: (t | {'categories': [{'id': 7}]}, r, None)),
  ('nothing to evaluate', lambda t, r: (t, r, [])),
  ('image_ids: 1 pictures', lambda t, r: (t, r, [99])),
  ('results: 1 pictures', lambda t, r: (t, change(r, image_id=99), None)),
  ('results: 1 categories', lambda t, r: (t, change(r, category_id=99), None)),
  ('2 results hold NaN', lambda t, r: (t, change(r, keypoints=[np.nan] * 42), None)),
  ('2 results hold NaN', lambda t, r: (t, change(r, score=np.nan), None)),
  ('2 results have not', lambda t, r: (t, change(r, keypoints=[1.] * 51), None)),
  ('annotation 0 has 51', lambda t, r: (
    t | {'annotations': change(t['annotations'], keypoints=[1] * 51)}, r, None)),
  ('annotation 0 has 42 .* 0 as bbox', lambda t, r: (
    t | {'annotations': change(t['annotations'], bbox=[])}, r, None)),
  (r"no \['images'\]", lambda t, r: ({k: t[k] for k in ('annotations', 'categories')}, r, None)),
])
def test_coco_ap_errors(message, edit):
  truth = small_set(60, 200)
  truth, guesses, image_ids = edit(truth, copies(truth))
  with pytest.raises(ValueError, match=message) as error:
    keypoint_ap.coco_ap(truth, guesses, CROWDPOSE.sigmas, image_ids)
  assert '\n' not in str(error.value)


def test_results_are_plain_numbers(poses):
  first = results(poses, poses['box_score'].astype(np.float32), slice(0, 2))[0]
  assert json.loads(json.dumps(first)) == first
  assert {type(v) for v in first['keypoints']} == {float} and type(first['image_id']) is int
  assert first['keypoints'][:3] == poses['keypoints'][0, 0].tolist()
  assert keypoint_ap.to_coco_results([], np.zeros((0, 17, 2)), np.zeros((0, 17)), []) == []


def test_rescore_by_hand():
  scores = np.array([[.25, .5, .75], [.25, .125, 0], [.2, .1, 0]])
  got = keypoint_ap.rescore(scores, np.array([.5, 1, 1], np.float32))
  assert got.dtype == np.float64 and got.tolist() == [.25, .25, 0]  # the threshold itself is out


@st.composite
def crowds(draw):
  n = draw(st.integers(1, 12))
  coordinates = st.floats(0, 100, width=32)
  keypoints = draw(hnp.arrays(np.float64, (n, 4, 2), elements=coordinates))
  scores = draw(hnp.arrays(np.float64, n, elements=st.floats(0, 1)))
  areas = draw(hnp.arrays(np.float64, n, elements=st.floats(1, 1e4)))
  images = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 3)))
  return images, keypoints, scores, areas, np.full(4, .08)


@settings(deadline=None, max_examples=50)
@given(crowds())
def test_oks_properties(crowd):
  _, keypoints, _, areas, sigmas = crowd
  got = keypoint_ap.oks(keypoints, keypoints, areas, areas, sigmas)
  np.testing.assert_array_equal(np.diag(got), 1)
  np.testing.assert_allclose(got, got.T, atol=1e-12)
  assert (got >= 0).all() and (got <= 1).all()


@settings(deadline=None, max_examples=50)
@given(crowds(), st.sampled_from([.05, .5, .9]))
def test_suppression_properties(crowd, threshold):
  _, keypoints, scores, areas, sigmas = crowd
  hard = keypoint_ap.oks_nms(keypoints, scores, areas, sigmas, threshold)
  assert scores[hard[0]] == scores.max()
  assert len(set(hard.tolist())) == len(hard)
  assert (np.diff(scores[hard]) <= 0).all()
  likeness = keypoint_ap.oks(keypoints, keypoints, areas, areas, sigmas)
  among = likeness[np.ix_(hard, hard)]
  assert (among[~np.eye(len(hard), dtype=bool)] <= threshold).all()
  assert (likeness[:, hard].max(1) > threshold)[np.setdiff1d(np.arange(len(scores)), hard)].all()


@settings(deadline=None, max_examples=50)
@given(crowds())
def test_select_is_suppression_per_image(crowd):
  images, keypoints, scores, areas, sigmas = crowd
  want = []
  for image in dict.fromkeys(images.tolist()):
    rows = np.flatnonzero(images == image)
    want += rows[keypoint_ap.oks_nms(keypoints[rows], scores[rows], areas[rows], sigmas)].tolist()
  assert keypoint_ap.select(images, keypoints, scores, areas, sigmas).tolist() == want


def test_select_of_nothing():
  none = np.zeros(0)
  assert keypoint_ap.select(none, np.zeros((0, 17, 2)), none, none, COCO.sigmas).shape == (0,)


@pytest.mark.parametrize('message, edit', [
  ('1 of 3 poses hold NaN', lambda k, s, a: (k / [[[0]], [[1]], [[1]]], s, a)),
  ('3 of 3 poses hold NaN', lambda k, s, a: (k, s * np.nan, a)),
  ('3 scores and 4 sigmas', lambda k, s, a: (k[:2], s, a)),
  ('3 scores and 4 sigmas', lambda k, s, a: (k[:, :3], s, a)),
  ('3 scores and 4 sigmas', lambda k, s, a: (k, s, a[:1])),
])
def test_suppression_errors(message, edit):
  with np.errstate(divide='ignore'):
    keypoints, scores, areas = edit(np.ones((3, 4, 2)), np.ones(3), np.ones(3))
  with pytest.raises(ValueError, match=message):
    keypoint_ap.select(np.zeros(3), keypoints, scores, areas, np.ones(4))
  with pytest.raises(ValueError, match='image_ids has shape'):
    keypoint_ap.select(np.zeros(2), np.ones((3, 4, 2)), np.ones(3), np.ones(3), np.ones(4))
