"""CrowdPose's evaluation against the official evaluator's numbers."""
import copy
import gzip
import json
import os
import pathlib

import numpy as np
import pytest

from dslope_jax.metrics import crowdpose_ap, keypoint_ap
from dslope_jax.skeletons import CROWDPOSE

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/dslope/crowdpose_eval'
NUMBERS = json.loads((GOLDEN / 'numbers.json').read_text())
OFFICIAL_NAMES = ('AP', 'AP .5', 'AP .75', 'AR', 'AR .5', 'AR .75', 'AP (easy)', 'AP (medium)',
                  'AP (hard)')
_DATA = os.environ.get('DSLOPE_DATA')


def load(name):
  with gzip.open(GOLDEN / f'{name}.json.gz') as f:
    return json.load(f)


@pytest.fixture(scope='module')
def synthetic():
  return load('synthetic_ground_truth'), load('synthetic_predictions')


def check(got, want):
  assert tuple(got) == crowdpose_ap.STATISTICS
  for ours, theirs in zip(crowdpose_ap.STATISTICS, OFFICIAL_NAMES, strict=True):
    if '(' in ours:  # the official evaluator rounds these
      assert round(got[ours], 4) == want[theirs], ours
    else:
      assert got[ours] == pytest.approx(want[theirs], abs=1e-9), ours


def test_synthetic_set(synthetic, capfd):
  before = copy.deepcopy(synthetic)
  check(crowdpose_ap.crowdpose_ap(*synthetic), NUMBERS['synthetic']['stats'])
  assert synthetic == before and capfd.readouterr() == ('', '')


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_real_annotations():
  truth = json.loads(pathlib.Path(_DATA, 'crowdpose/crowdpose_val.json').read_text())
  real = NUMBERS['real']
  got = crowdpose_ap.crowdpose_ap(truth, load('real_predictions'), real['image_ids'])
  check(got, real['stats'])
  before = len(truth['images'])
  truth['images'] = [i for i in truth['images'] if i['id'] in set(real['image_ids'])]
  truth['annotations'] = [a for a in truth['annotations'] if a['image_id'] in real['image_ids']]
  assert len(truth['images']) < before
  assert crowdpose_ap.crowdpose_ap(truth, load('real_predictions')) == got


def test_sigmas_are_the_official_ones():
  np.testing.assert_allclose(CROWDPOSE.sigmas, NUMBERS['keypoint_sigmas'], rtol=0, atol=1e-12)


def test_levels_are_the_sets_of_their_pictures(synthetic):
  """A level's AP is the AP of its pictures alone, whatever else is in the set."""
  truth, results = synthetic
  whole = crowdpose_ap.crowdpose_ap(truth, results)
  for name, inside in (('easy', lambda c: c < 0.2), ('medium', lambda c: 0.2 <= c < 0.8),
                       ('hard', lambda c: c >= 0.8)):
    ids = [i['id'] for i in truth['images'] if inside(i['crowdIndex'])]
    assert len(ids) == NUMBERS['synthetic']['images_per_crowd_level'][name]
    alone = crowdpose_ap.crowdpose_ap(truth, results, ids)
    assert alone['AP'] == alone[f'AP({name})'] == whole[f'AP({name})']
    assert all(np.isnan(v) == (k != f'AP({name})') for k, v in alone.items() if '(' in k)
  merged = crowdpose_ap.crowdpose_ap(truth, results, levels=(0, 9))
  assert merged['AP(medium)'] == merged['AP'] and np.isnan(merged['AP(hard)'])


def test_areas_are_ever_those_of_the_boxes(synthetic):
  truth, results = copy.deepcopy(synthetic)
  for annotation in truth['annotations']:
    annotation['area'] = 1e6
  check(crowdpose_ap.crowdpose_ap(truth, results), NUMBERS['synthetic']['stats'])
  assert keypoint_ap.coco_ap(truth, results, CROWDPOSE.sigmas)['AP'] > NUMBERS['synthetic'][
    'stats']['AP']


def test_no_results_and_perfect_results(synthetic):
  truth, _ = synthetic
  assert set(crowdpose_ap.crowdpose_ap(truth, []).values()) == {0.0}
  own = [{k: a[k] for k in ('image_id', 'category_id', 'keypoints')} | {'score': 1.0}
         for a in truth['annotations'] if a['num_keypoints']]
  assert list(crowdpose_ap.crowdpose_ap(truth, own).values()) == pytest.approx([1] * 9)


@pytest.mark.parametrize('crowding', [None, 'high', float('nan')])
def test_a_picture_needs_its_crowd_index(synthetic, crowding):
  truth, results = copy.deepcopy(synthetic)
  truth['images'][3]['crowdIndex'] = crowding
  with pytest.raises(ValueError, match=f"picture {truth['images'][3]['id']} has the crowdIndex"):
    crowdpose_ap.crowdpose_ap(truth, results)
  with pytest.raises(ValueError, match='nothing to evaluate'):
    crowdpose_ap.crowdpose_ap(truth, results, [])
