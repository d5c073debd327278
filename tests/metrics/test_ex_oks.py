"""Ex-OKS by hand, its properties, and AP by it beside COCO's."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dslope_jax.metrics import ex_oks, keypoint_ap
from dslope_jax.metrics import people as people_lib

SIGMAS = (0.05, 0.1, 0.025)
K = len(SIGMAS)
WINDOW = np.array([0.0, 0, 100, 60])


def test_windows_are_enlarged_boxes_cut_to_the_picture():
  boxes = np.array([[20.0, 20, 40, 80], [20, 20, 40, 80]])
  assert ex_oks.windows(boxes).tolist() == [[15, 10, 65, 110]] * 2
  sizes = np.array([[60, 200], [0, 0]])
  assert ex_oks.windows(boxes, sizes).tolist() == [[15, 10, 59.5, 110], [15, 10, 65, 110]]
  seen = np.array([[-np.inf, 30, np.inf, np.inf]] * 2)
  assert ex_oks.windows(boxes, None, seen).tolist() == [[15, 30, 65, 110]] * 2


@pytest.mark.parametrize('inside, truth, present, place, wanted', [
  (True, (50, 30), 1, (53, 34), 5),  # both inside
  (True, (50, 30), .5, (53, 34), 5),  # one half is enough
  (True, (50, 25), .49, (53, 34), 25),  # said to be outside: from the truth to the upper edge
  (True, (94, 30), 0, (94, 30), 6),
  (False, (130, 30), 1, (92, 30), 8),  # from what is said to the right edge
  (False, (50, 30), 1, (50, 55), 5),  # v = 3 is outside wherever it is
  (False, (130, 30), .1, (7, 7), 0),  # both outside
  (False, (130, 30), 1, (130, 30), 0),  # a place beyond the window says so, too
  (True, (130, 30), 1, (130, 30), 0),  # and so does a labelled one
  (True, (90, 30), 1, (107, 30), 10)])
def test_the_four_distances(inside, truth, present, place, wanted):
  found = ex_oks.distances(np.array([truth], float), np.array([inside]), np.array([place], float),
                           np.array([present]), WINDOW)
  assert found.tolist() == [wanted]


def test_ex_oks_by_hand():
  """Distances 5, 8 and 0 of three joints of one person of 1000 square pixels."""
  truth = np.array([[50., 30], [130, 30], [0, 0]])
  places = np.array([[53., 34], [92, 30], [20, 20]])
  found = ex_oks.ex_oks(truth, np.array([2, 3, 0]), places, np.ones(3), WINDOW, 1000.0, SIGMAS)
  wanted = (np.exp(-25 / (2 * 1000 * 0.1 ** 2)) + np.exp(-64 / (2 * 1000 * 0.2 ** 2))) / 2
  assert found == pytest.approx(wanted, rel=1e-12)
  assert np.isnan(ex_oks.ex_oks(truth, np.zeros(3), places, np.ones(3), WINDOW, 1000.0, SIGMAS))


POINTS = hnp.arrays(float, (K, 2), elements=st.floats(-200, 300))


@settings(deadline=None)
@given(POINTS, POINTS, hnp.arrays(np.int64, K, elements=st.integers(0, 3)),
       hnp.arrays(float, K, elements=st.floats(0, 1)))
def test_properties(truth, places, codes, present):
  """1 for the truth itself, 0 to 1 for all, never below OKS where all is inside and said so."""
  of = lambda codes, places, present: ex_oks.ex_oks(truth, codes, places, present, WINDOW, 900.0,
                                                    SIGMAS)
  value = of(codes, places, present)
  assert (np.isnan(value)) == (not codes.any())
  if codes.any():
    assert 0 <= value <= 1
    assert of(codes, truth, codes != 3) == 1
  everything = np.full(K, 2)
  squared = np.square(truth - places).sum(1)
  plain = np.exp(-squared / (2 * 900 * np.square(2 * np.array(SIGMAS)))).mean()
  assert of(everything, places, np.ones(K)) >= plain - 1e-12


def people_of(joints, images=(1, 1, 2)):
  """A COCO dict of people (N,K,3) in boxes of 100 by 60."""
  return {'images': [{'id': i, 'width': 600, 'height': 400} for i in sorted(set(images))],
          'categories': [{'id': 1}],
          'annotations': [{'id': n + 1, 'image_id': image, 'category_id': 1, 'area': 3000.0,
                           'bbox': [200.0 * (n % 2), 0, 100, 60], 'keypoints': of.ravel().tolist()}
                          for n, (of, image) in enumerate(zip(joints, images, strict=True))]}


def results_of(joints, images=(1, 1, 2), present=None):
  found = keypoint_ap.to_coco_results(images, joints[..., :2], np.ones(joints.shape[:2]),
                                      np.linspace(1, .5, len(joints)))
  return [r | {'present': None if present is None else present[n].tolist()}
          for n, r in enumerate(found)]


def scored(joints, results, **people):
  truth = people_of(joints)
  everybody = people_lib.from_coco(truth, K)
  for field, value in people.items():
    getattr(everybody, field)[:] = value
  return ex_oks.ex_ap(truth, results, everybody, SIGMAS), keypoint_ap.coco_ap(truth, results,
                                                                             SIGMAS)


def joints(seed=0):
  rng = np.random.default_rng(seed)
  places = rng.uniform((10, 10), (90, 50), (3, K, 2)) + [[[0, 0]], [[200, 0]], [[0, 0]]]
  return np.concatenate([places, np.full((3, K, 1), 2.0)], 2)


def test_it_is_coco_ap_where_everybody_is_inside():
  truth = joints()
  moved = truth + np.r_[3.0, 0, 0]
  found, coco = scored(truth, results_of(moved))
  assert 0 < coco['AP'] < 1
  assert found['ExAP'] == pytest.approx(coco['AP']) and found['ExAR'] == pytest.approx(coco['AR'])
  assert found['ExAP(visible)'] == found['ExAP']
  assert np.isnan([found['ExAP(hidden)'], found['ExAP(outside)']]).all()


def test_who_says_what_is_outside_gains_and_who_denies_it_loses():
  truth = joints()
  truth[:, 2] = -80, 30, 3  # the last joint of everybody is left of the picture
  guess = truth.copy()
  guess[:, 2, :2] = [[50, 30], [250, 30], [50, 30]]  # the middle of the window
  present = np.tile([1, 1, 0.2], (3, 1))
  told, coco = scored(truth, results_of(guess, present=present))
  assert coco['AP'] == 1 and told['ExAP'] == told['ExAP(outside)'] == 1
  denied, coco = scored(truth, results_of(guess))
  assert coco['AP'] == 1 and denied['ExAP(outside)'] == 0 < denied['ExAP'] < 0.8
  assert denied['ExAP(visible)'] == 1


def test_hidden_joints_are_those_of_v_1_and_the_covered_ones():
  truth = joints()
  truth[0, 1, 2] = 1
  wrong = truth.copy()
  for person, joint, middle in ((0, 1, 50), (1, 0, 250)):
    wrong[person, joint, 0] += 45 if truth[person, joint, 0] < middle else -45
  covered = np.zeros((3, K), bool)
  covered[1, 0] = True
  found, _ = scored(truth, results_of(wrong), covered=covered)
  assert found['ExAP(visible)'] == 1 and found['ExAP(hidden)'] == 0 < found['ExAP'] < 1
