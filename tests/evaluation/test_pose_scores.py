"""Numbers of poses that are drawn by hand: whose pose is whose, what divides, what is mixed."""
import dataclasses
import json
import os

import numpy as np
import pytest

from dslope_jax import skeletons
from dslope_jax.evaluation import base, pose_scores
from dslope_jax.evaluation.pose_scores import Subjects, check_fit, read_file, score
from dslope_jax.metrics import keypoint_ap, mixture
from dslope_jax.metrics import people as people_lib
from dslope_jax.tasks.subjects import of_source
from input_pipeline import sources
from tests.data_sets import write_coco, write_mpii
from tests.refusals import fails

COCO, COFW, K = skeletons.COCO, skeletons.COFW, 17
MIX = (('gnet', 'enet'),)
_DATA = os.environ.get('DSLOPE_DATA')


def subjects(images=(1, 1, 2), visibility=2, skeleton=COCO, seed=0, **fields) -> Subjects:
  """People who stand 300 pixels apart, in boxes of 100; fields: of their annotations, (N,)."""
  side = 100
  count, k = len(images), skeleton.num_keypoints
  rng = np.random.default_rng(seed)
  corners = np.arange(count)[:, None] * 300.0
  joints = corners[:, None] + rng.uniform(0, side, (count, k, 2))
  flags = np.broadcast_to(visibility, (count, k))
  boxes = np.concatenate([corners + [[0, 0]], np.full((count, 2), side)], 1)
  people = [{'id': 10 * i + 10, 'image_id': image, 'category_id': 1, 'bbox': boxes[i].tolist(),
             'keypoints': np.column_stack([joints[i] * (flags[i] > 0)[:, None],
                                           flags[i]]).ravel().tolist()}
            | {name: values[i] for name, values in fields.items()}
            for i, image in enumerate(images)]
  truth = {'images': [{'id': i} for i in sorted(set(images))], 'categories': [{'id': 1}],
           'annotations': people}
  everybody = people_lib.from_coco(truth, k)
  return Subjects(
    name='set', split='val', skeleton=skeleton, people=everybody, truth=truth,
    own=np.arange(count), detections=False, image_id=everybody.image_id,
    annotation_id=everybody.annotation_id, box_score=np.ones(count), box=boxes,
    crop_area=np.full(count, 1.25 * side ** 2))


def poses_of(s, error=0.0, rows=slice(None)):
  """The annotated joints, moved by `error` pixels to the right."""
  keypoints = s.people.keypoints[rows] + [error, 0]
  return {'keypoints': keypoints, 'scores': np.ones(keypoints.shape[:2])}


def nothing(s):
  return np.zeros((len(s.own), s.skeleton.num_keypoints), bool)


def noisy(s, seed, spread=8):
  rng = np.random.default_rng(seed)
  keypoints = s.people.keypoints + rng.normal(0, spread, s.people.keypoints.shape)
  return {'keypoints': keypoints, 'scores': rng.random(keypoints.shape[:2])}


def both_views(s, names=('gnet', 'enet')):
  return {f'{name}/{view}': noisy(s, 2 * i + j)
          for i, name in enumerate(names) for j, view in enumerate(('clean', 'occluded'))}


def write_results(path, s, keypoints, images=None, scores=1.0):
  path.write_text(json.dumps(keypoint_ap.to_coco_results(
    s.people.image_id if images is None else images, keypoints, np.ones(keypoints.shape[:2]),
    np.full(len(keypoints), scores))))
  return str(path)


def test_shares_are_percentages():
  s = subjects()
  scores = score(s, {'net/clean': poses_of(s)}, nothing(s), metric='coco_ap')
  found = scores.results['net/clean']
  assert found['AP'] == pytest.approx(100) and found['AR'] == pytest.approx(100)
  assert found['visible_joints'] == 100 and np.isnan(found['covered_joints'])
  trusted = score(s, both_views(s), nothing(s), metric='pck',
                  held_out=(s, both_views(s), nothing(s)))
  found, trust = trusted.results['gnet/clean'], trusted.files['report.json']['reliability']
  assert found['ECE'] == trust['gnet/clean']['right']['ece'] > 1
  assert found['Brier'] == trust['gnet/clean']['right']['brier'] > 1


def test_nme_of_faces_with_a_stated_side_divides_by_it():
  source = sources.load('synthetic', 'val', num_people=4, size=(64, 96))
  stated = np.array([128, 362, 50, 80], np.float32)
  s = of_source(dataclasses.replace(source, reference=stated))
  poses = {'net/clean': {'keypoints': source.keypoints + np.float32([4, 0]),
                         'scores': np.ones(source.visibility.shape)}}
  found = score(s, poses, nothing(s), metric='nme_box').results['net/clean']
  assert found['NME'] == pytest.approx(100 * np.mean(4 / stated), rel=1e-5)
  s = of_source(source)  # the side of the box, where nothing is stated
  found = score(s, poses, nothing(s), metric='nme_box').results['net/clean']
  side = np.sqrt(source.box[:, 2:].prod(1))
  assert found['NME'] == pytest.approx(100 * np.mean(4 / side), rel=1e-5)


def test_nme_of_points_by_visibility_and_of_faces_by_subset():
  """Hidden points are 6 pixels off, covered ones 9, others 3: in every face alike."""
  codes = np.full(COFW.num_keypoints, 2)
  codes[[20, 21]] = 1
  s = subjects((1, 2, 3), codes, COFW, subsets=[['blur'], [], ['blur', 'pose']])
  covered = nothing(s)
  covered[:, 24:28] = True
  off = np.where(covered[0], 9.0, np.where(codes == 1, 6.0, 3.0))
  pose = {'keypoints': s.people.keypoints + np.stack([off, 0 * off], -1)[None],
          'scores': np.ones(covered.shape)}
  corners = [COFW.index(f'{side}_eye_outer') for side in ('left', 'right')]
  length = np.linalg.norm(np.diff(s.people.keypoints[:, corners], axis=1)[:, 0], axis=-1)
  found = score(s, {'net/occluded': pose}, covered, metric='nme')
  row, mean = found.results['net/occluded'], lambda pixels, of=slice(None): pytest.approx(
    100 * np.mean(pixels / length[of]))
  assert row['NME'] == mean(off.mean())
  assert [row[f'NME({group})'] for group in ('visible', 'hidden', 'covered')] == [
    mean(3), mean(6), mean(9)]
  assert row['NME(blur)'] == mean(off.mean(), [0, 2]) and row['NME(pose)'] == mean(off.mean(), [2])
  for part, members in (('blur', [0, 2]), ('pose', [2])):
    errors = off.mean() / length[members]
    assert row[f'FR@0.10({part})'] == pytest.approx(100 * np.mean(errors > 0.1))
    assert row[f'AUC@0.10({part})'] == pytest.approx(
      100 * np.mean(np.clip(1 - errors / 0.1, 0, None)))
  plain = score(s, {'net/clean': pose}, nothing(s), metric='nme').results['net/clean']
  assert np.isnan(plain['NME(covered)']) and plain['NME(hidden)'] == mean(6)


def test_what_errors_of_faces_are_divided_by():
  s, divided_by = subjects(skeleton=COFW), pose_scores.divided_by
  assert divided_by('nme', s) == 'outer corners of the eyes' and not divided_by('coco_ap', s)
  assert divided_by('nme_pupil', s) == 'pupils'
  assert divided_by('nme_pupil', subjects(skeleton=skeletons.FACE_300W)) == 'middles of the eyes'
  assert divided_by('nme_box', s) == 'root of the box area'
  assert divided_by('nme_box', s._replace(reference=np.ones(3))) == 'box side of the annotations'


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_real_aflw_is_divided_by_the_side_that_it_states():
  source = sources.load('faces', 'test', faces_of='aflw', images='.', annotations='test_aflw.json',
                        root=os.path.join(_DATA, 'mmpose_tests/aflw'))
  s = of_source(source)
  poses = {'net/clean': poses_of(s, 8)}
  row = score(s, poses, nothing(s), metric='nme_box').results['net/clean']
  assert row['NME'] == pytest.approx(100 * (8 / 362 + 8 / 128) / 2, rel=1e-5)


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
@pytest.mark.parametrize('name', ['wflw', '300w', 'cofw'])
def test_real_faces_have_the_same_error_in_a_file(tmp_path, name):
  source = sources.load('faces', 'test', faces_of=name, images='.', annotations=f'test_{name}.json',
                        root=os.path.join(_DATA, 'mmpose_tests', name))
  s = of_source(source)
  check_fit('nme', s)
  ours = score(s, {'net/clean': noisy(s, 0, 30)}, nothing(s), metric='nme')
  path = tmp_path / 'ours.json'
  path.write_text(json.dumps(ours.files['predictions_net_clean.json']))
  poses, covered, missed = read_file(s, str(path))
  theirs = score(s, poses, covered, metric='nme').results['file/clean']
  assert not missed and theirs == pytest.approx(ours.results['net/clean'], nan_ok=True)
  assert 5 < theirs['NME'] < 100


def test_a_face_far_off_is_not_a_missed_one(tmp_path):
  s = subjects(images=(1, 2), skeleton=COFW)
  error, reference = 40.0, np.full(2, 200.0)
  s = s._replace(reference=reference)
  path = write_results(tmp_path / 'far.json', s, s.people.keypoints + [error, 0])
  poses, covered, missed = read_file(s, path)
  scores = score(s, poses, covered, metric='nme_box')
  assert missed == [] and scores.results['file/clean']['NME'] == pytest.approx(20)
  assert scores.results['file/clean']['missed'] == 0


def test_missed_faces_are_failures_but_not_in_the_mean(tmp_path):
  s = subjects(images=(1, 1, 2), skeleton=COFW)._replace(reference=np.full(3, 200.0))
  path = write_results(tmp_path / 'one.json', s, s.people.keypoints[1:] + [4, 0], [1, 2])
  poses, covered, missed = read_file(s, path)
  found = score(s, poses, covered, metric='nme_box')
  row = found.results['file/clean']
  assert missed == [10] and row['missed'] == 1
  assert row['NME'] == pytest.approx(2) and row['FR@0.10'] == pytest.approx(100 / 3)
  assert row['AUC@0.08'] == pytest.approx(100 * 2 / 3 * (1 - .02 / .08))
  assert row['visible_joints'] == pytest.approx(200 / 3)
  table = found.samples['file/clean']['NME']
  assert table.numerator.tolist() == pytest.approx([0, 2, 2])
  assert table.denominator.tolist() == [0, 1, 1]


def test_missed_people_count_as_wrong_in_pck(tmp_path):
  s = subjects()
  path = write_results(tmp_path / 'some.json', s, s.people.keypoints[[0, 2]], [1, 2])
  poses, covered, missed = read_file(s, path)
  row = score(s, poses, covered, metric='pck').results['file/clean']
  assert missed == [20] and row['PCK@0.2'] == pytest.approx(200 / 3)
  nobody = read_file(s, write_results(tmp_path / 'none.json', s, np.zeros((0, K, 2)), []))
  row = score(s, *nobody[:2], metric='pck').results['file/clean']
  assert nobody[2] == [10, 20, 30] and row['PCK@0.2'] == row['visible_joints'] == 0


def test_what_is_covered_belongs_to_the_person_of_the_box():
  s = subjects(images=(1, 1))
  # One box, on the first person, who is all covered; its pose is on the second.
  box = s._replace(detections=True, own=np.array([0]), image_id=np.array([1]),
                   annotation_id=np.array([10]), box_score=np.array([.9]), box=s.box[:1],
                   crop_area=s.crop_area[:1])
  scores = score(box, {'net/occluded': poses_of(s, rows=[1])}, np.ones((1, K), bool),
                 metric='coco_ap')
  joints = scores.files['report.json']['report']['net/occluded']['by']['joint']
  assert joints['covered'] == {'joints': K, 'right': 0, 'share': 0}
  assert joints['visible'] == {'joints': K, 'right': K, 'share': 100}
  row = scores.results['net/occluded']
  assert (row['covered_joints'], row['visible_joints']) == (0, 100)
  table = scores.samples['net/occluded']['right_joints']
  assert table.numerator.tolist() == [0, 100 * K] and table.denominator.tolist() == [K, K]


def test_of_two_boxes_of_a_person_the_compared_one_counts():
  s = subjects(images=(1,))
  twice = s._replace(detections=True, **{
    name: np.repeat(getattr(s, name), 2, 0)
    for name in ('own', 'image_id', 'annotation_id', 'box_score', 'box', 'crop_area')})
  covered = np.zeros((2, K), bool)
  covered[0, :5], covered[1, 5:] = True, True
  for best in (0, 1):
    keypoints = np.stack([s.people.keypoints[0] + (0 if i == best else 30) for i in range(2)])
    poses = {'net/occluded': {'keypoints': keypoints, 'scores': np.ones((2, K))}}
    scores = score(twice, poses, covered, metric='coco_ap')
    joints = scores.files['report.json']['report']['net/occluded']['by']['joint']
    assert joints['covered']['joints'] == joints['covered']['right'] == (5, 12)[best]


@pytest.mark.parametrize('metric', ['coco_ap', 'pck'])
def test_detections_are_scored_as_the_file_that_is_written(tmp_path, metric):
  s = subjects(images=(1, 1, 2, 2, 2, 3))
  own = np.array([0, 0, 1, 3, -1, 5, 4])  # nobody finds person 2
  rng = np.random.default_rng(1)
  keypoints = s.people.keypoints[own] + rng.normal(0, 6, (7, K, 2))
  boxes = s._replace(
    detections=True, own=own, image_id=np.array([1, 1, 1, 2, 3, 3, 2]), box=s.box[own],
    annotation_id=s.annotation_id[own], box_score=rng.random(7), crop_area=s.crop_area[own])
  poses = {'net/clean': {'keypoints': keypoints, 'scores': rng.random((7, K))}}
  ours = score(boxes, poses, np.zeros((7, K), bool), metric=metric)
  path = tmp_path / 'ours.json'
  path.write_text(json.dumps(ours.files['predictions_net_clean.json']))
  theirs, covered, missed = read_file(s, str(path))
  theirs = score(s, theirs, covered, metric=metric)
  assert ours.results['net/clean'] == pytest.approx(theirs.results['file/clean'], nan_ok=True)
  assert missed == [30] and 0 < ours.results['net/clean']['visible_joints'] < 100
  for one, other in zip(ours.samples['net/clean']['right_joints'],
                        theirs.samples['file/clean']['right_joints'], strict=True):
    np.testing.assert_array_equal(one, other)


def test_areas_are_those_of_the_people_whatever_the_crop(tmp_path):
  root, tables = write_mpii(tmp_path / 'mpii'), []
  for padding in (1.0, 1.25):
    source = sources.load('mpii', 'valid', root=root, padding=padding)
    s = of_source(source)
    poses = {'net/clean': {'keypoints': source.keypoints + np.float32([9, 0]),
                           'scores': np.ones((4, 16))}}
    tables.append(score(s, poses, np.zeros((4, 16), bool), metric='pckh').results['net/clean'])
  assert tables[0] == pytest.approx(tables[1], nan_ok=True)
  assert 0 < tables[0]['visible_joints'] < 100


def test_faces_without_a_labelled_corner_have_no_reference():
  visibility = np.full((3, COFW.num_keypoints), 2)
  visibility[1, COFW.index('left_eye_outer')] = 0
  s = subjects(visibility=visibility, skeleton=COFW)
  row = score(s, {'net/clean': poses_of(s, 3)}, nothing(s), metric='nme').results['net/clean']
  corners = s.people.keypoints[[0, 2]][:, [COFW.index(f'{side}_eye_outer')
                                           for side in ('left', 'right')]]
  reference = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=-1)
  assert row['no_reference'] == 1 and row['NME'] == pytest.approx(np.mean(300 / reference))
  visibility[:, COFW.index('right_eye_outer')] = 0
  s = subjects(visibility=visibility, skeleton=COFW)
  fails(lambda: check_fit('nme', s), "metric 'nme' needs faces", 'corners', "choose 'nme_box'")
  check_fit('nme_pupil', s)


def test_what_a_metric_needs_is_told_before_training():
  s = subjects()
  check_fit('pck', s)
  fails(lambda: check_fit('PCK', s), "not 'PCK'")
  fails(lambda: check_fit('pckh', s), 'head sizes', 'set val', "choose 'pck'")
  fails(lambda: check_fit('nme', s), 'the points of coco do not mark both eyes', 'nme_box')
  fails(lambda: check_fit('crowdpose_ap', s), 'crowdIndex')
  fails(lambda: check_fit('jhmdb_pck', s), 'keypoints of JHMDB')
  unlabelled = subjects(visibility=0)
  fails(lambda: check_fit('coco_ap', unlabelled), 'annotated joints', "'none'")
  check_fit('none', unlabelled)
  arms = np.zeros((3, K), int)
  arms[:, :5] = 2
  fails(lambda: check_fit('pck', subjects(visibility=arms)), 'shoulders and hips')


def test_only_what_is_named_is_mixed():
  s = subjects()
  poses = both_views(s, ('gnet', 'enet', 'gnet/refined', 'enet/refined'))
  assert set(score(s, poses, nothing(s), metric='pck').results) == set(poses)
  rules = {'average', 'confidence', 'pick'}
  rows = set(score(s, poses, nothing(s), metric='pck', mixes=MIX).results)
  assert rows - set(poses) == {f'{r}/{view}' for r in rules for view in ('clean', 'occluded')}
  mixes = (*MIX, ('gnet/refined', 'enet/refined'))
  scores = score(s, poses, nothing(s), metric='pck', mixes=mixes,
                 held_out=(s, poses, nothing(s)))
  assert set(scores.results) - set(poses) == {
    f'{r}/{readout}{view}' for r in (*rules, 'gate') for readout in ('', 'refined/')
    for view in ('clean', 'occluded')}
  fits = scores.files['calibration.json']
  assert set(fits['gates']) == {'gnet+enet', 'gnet/refined+enet/refined'}
  assert set(fits['right']) == set(fits['visible']) == {name.rsplit('/', 1)[0] for name in poses}
  alone = {'net/clean': noisy(s, 0), 'net/occluded': noisy(s, 1)}
  assert set(score(s, alone, nothing(s), metric='pck', mixes=MIX).results) == set(alone)


def test_the_mean_of_two_poses():
  s = subjects()
  poses = {'gnet/clean': poses_of(s, 8), 'enet/clean': poses_of(s, -2)}
  scores = score(s, poses, nothing(s), metric='coco_ap', mixes=MIX)
  mean = np.reshape([p['keypoints'] for p in scores.files['predictions_average_clean.json']],
                    (3, K, 3))
  np.testing.assert_allclose(mean[..., :2], s.people.keypoints + [3, 0])


def test_equal_networks_have_no_gate():
  s, held_out = subjects(), subjects(seed=1)
  poses = {f'{name}/{view}': noisy(held_out, 0) for name in ('gnet', 'enet')
           for view in ('clean', 'occluded')}
  scores = score(s, both_views(s), nothing(s), metric='pck', mixes=MIX,
                 held_out=(held_out, poses, nothing(s)))
  assert scores.files['calibration.json']['gates'] == {}
  assert 'average/clean' in scores.results and 'gate/clean' not in scores.results


def test_held_out_people_without_labels_calibrate_nothing():
  s, blank = subjects(), subjects(visibility=0)
  scores = score(s, both_views(s), nothing(s), metric='pck', mixes=MIX,
                 held_out=(blank, both_views(blank), nothing(s)))
  assert 'ECE' not in scores.results['gnet/clean'] and 'calibration.json' not in scores.files


def test_the_gate_sees_the_embeddings_of_both_networks(monkeypatch):
  """Fitted, stored and applied with them; poses without them do not fit then."""
  s, rng = subjects(), np.random.default_rng(0)
  poses = {name: pose | {'embedding': rng.normal(size=(3, 4)).astype(np.float32)}
           for name, pose in both_views(s).items()}
  monkeypatch.setattr(mixture, '_helps', lambda *_: True)
  first = score(s, poses, nothing(s), metric='pck', mixes=MIX, held_out=(s, poses, nothing(s)))
  stored = json.loads(json.dumps(first.files['calibration.json'], allow_nan=False))
  gate = stored['gates']['gnet+enet']
  assert gate['context'] and len(gate['gate']['weights']) == 4 + 2 + 2 * 4
  again = score(s, poses, nothing(s), metric='pck', mixes=MIX, fits=stored)
  for name in ('gate/clean', 'gate/occluded'):
    assert again.results[name] == pytest.approx(first.results[name], nan_ok=True)
  fails(lambda: score(s, both_views(s), nothing(s), metric='pck', mixes=MIX, fits=stored),
        'the fit has 14 features')


def test_a_stored_calibration_gives_the_same_numbers():
  s = subjects()
  held_out = s, both_views(s), nothing(s)
  first = score(s, both_views(s), nothing(s), metric='coco_ap', mixes=MIX, held_out=held_out)
  stored = json.loads(json.dumps(first.files['calibration.json'], allow_nan=False))
  again = score(s, both_views(s), nothing(s), metric='coco_ap', mixes=MIX, fits=stored)
  assert stored['people'] == 3 and 'gate/occluded' in again.results
  for name, row in first.results.items():
    assert again.results[name] == pytest.approx(row, nan_ok=True)
  one = again.files['predictions_enet_occluded.json'][0]
  assert len(one['right']) == len(one['visible']) == K and min(one['right']) >= 0


def test_visible_is_calibrated_to_what_is_under_patches():
  s = subjects()
  covered = np.zeros((3, K), bool)
  covered[:, :8] = True
  poses = {f'net/{view}': poses_of(s) | {'scores': np.where(covered & (view == 'occluded'), .2, .9)}
           for view in ('clean', 'occluded')}
  scores = score(s, poses, covered, metric='pck', held_out=(s, poses, covered))
  fit = scores.files['calibration.json']
  assert fit['visible']['net'] == {'kind': 'isotonic', 'x': [.2, .9], 'y': [0, 1]}
  assert fit['right']['net']['y'] == [1, 1]
  found = scores.files['predictions_net_occluded.json'][0]
  assert found['visible'] == [0] * 8 + [1] * 9 and found['right'] == [1] * K
  assert scores.files['report.json']['reliability']['net/occluded']['visible']['ece'] == 0


def test_less_than_full_gives_the_numbers_of_the_metric_alone():
  s = subjects()
  poses = both_views(s)
  full = score(s, poses, nothing(s), metric='coco_ap', mixes=MIX)
  quick = score(s, poses, nothing(s), metric='coco_ap', mixes=MIX, full=False)
  assert list(quick.results) == list(full.results)
  for name, row in quick.results.items():
    assert row == pytest.approx({k: full.results[name][k] for k in row}, nan_ok=True)
    assert next(iter(row)) == 'AP' and 'visible_joints' not in row
  assert quick[1:] == ({}, {}, ())


@pytest.mark.parametrize('metric, name', [('pck', 'PCK@0.2'), ('pckh', 'PCKh@0.5'),
                                          ('nme_box', 'NME')])
def test_samples_add_up_to_the_number(metric, name, tmp_path):
  visibility = np.random.default_rng(3).integers(0, 3, (5, 16))
  visibility[:, [2, 13]] = 2  # a shoulder and the opposite hip
  s = subjects(images=(1, 1, 2, 4, 4), visibility=visibility, skeleton=skeletons.MPII)
  s = s._replace(head_size=np.array([20, 30, 25, 40, 35.]))
  scores = score(s, {'net/clean': noisy(s, 0, 15)}, nothing(s), metric=metric)
  row, tables = scores.results['net/clean'], scores.samples['net/clean']
  assert set(tables) == {'right_joints', name} and next(iter(row)) == name
  ratio = lambda table: table.numerator.sum() / table.denominator.sum()
  assert ratio(tables[name]) == pytest.approx(row[name]) and 0 < row[name] < 100
  report = scores.files['report.json']['report']['net/clean']
  assert ratio(tables['right_joints']) == pytest.approx(report['overall']['share'])
  assert tables[name].group.tolist() == [1, 1, 2, 4, 4]
  base.save_samples(tmp_path / 'samples.npz', scores.samples)
  read = base.load_samples(tmp_path / 'samples.npz')['net/clean'][name]
  np.testing.assert_array_equal(read.numerator, tables[name].numerator)


def test_report_and_table_count_the_same_joints():
  visibility = np.random.default_rng(0).integers(0, 3, (4, K))
  covered = np.random.default_rng(1).random((4, K)) < .4
  s = subjects(images=(1, 1, 2, 3), visibility=visibility, iscrowd=[0, 1, 0, 0])
  scores = score(s, both_views(s), covered, metric='pck', mixes=MIX)
  for name, report in scores.files['report.json']['report'].items():
    labelled = int((visibility[[0, 2, 3]] > 0).sum())  # a crowd is not asked for
    assert report['overall']['joints'] == labelled
    for split, bins in report['by'].items():
      assert sum(row['joints'] for row in bins.values()) == labelled, split
    for group, row in report['by']['joint'].items():
      assert scores.results[name][f'{group}_joints'] == row['share']
    parts = scores.files['report.json']['per_joint'][name]
    assert set(parts) <= set(COCO.names) and all(0 <= v <= 100 for v in parts.values())
    assert scores.samples[name]['right_joints'].denominator.sum() == labelled
  json.dumps(scores.files, allow_nan=False)


def test_people_who_are_not_in_the_rows_are_not_asked_for():
  s = subjects(images=(1, 1, 2))
  some = s._replace(own=np.array([2]), image_id=s.image_id[2:], box=s.box[2:],
                    annotation_id=s.annotation_id[2:], box_score=np.ones(1),
                    crop_area=s.crop_area[2:])
  scores = score(some, {'net/clean': poses_of(s, rows=[2])}, np.zeros((1, K), bool), metric='pck')
  assert scores.results['net/clean']['PCK@0.2'] == 100
  assert scores.files['report.json']['report']['net/clean']['overall'] == {
    'people': 1, 'joints': K, 'right': K, 'share': 100}


def test_the_worst_come_first():
  s = subjects(images=(1, 2, 3, 4))
  wrong = np.zeros((4, K, 2))
  wrong[2, :9], wrong[0, :4] = 500, 500
  poses = {'net/clean': poses_of(s),
           'net/occluded': poses_of(s) | {'keypoints': s.people.keypoints + wrong}}
  assert score(s, poses, nothing(s), metric='pck').worst == (2, 0, 1, 3)
  poses = {'net/clean': poses['net/occluded']}  # no occluded view: any will do
  assert score(s, poses, nothing(s), metric='pck').worst == (2, 0, 1, 3)


def test_files_of_sets_that_keep_their_annotations():
  s = subjects(images=(1, 2), visibility=0, skeleton=skeletons.MPII)
  s = s._replace(own=np.array([-1, -1]))
  keypoints = np.random.default_rng(0).uniform(0, 99, (2, 16, 2))
  poses = {'net/refined/clean': {'keypoints': keypoints, 'scores': np.ones((2, 16))}}
  scores = score(s, poses, nothing(s), metric='none')
  assert scores.results == {'net/refined/clean': {}} and not scores.samples and not scores.worst
  assert set(scores.files) == {'predictions_net_refined_clean.json',
                               'predictions_net_refined_clean.mat', 'report.json'}
  np.testing.assert_array_equal(scores.files['predictions_net_refined_clean.mat'], keypoints)
  assert len(scores.files['predictions_net_refined_clean.json']) == 2


def test_double_poses_are_suppressed_for_detections_alone():
  s = subjects(images=(1,))
  twice = s._replace(detections=True, own=np.array([0, 0]), image_id=np.array([1, 1]),
                     annotation_id=np.array([10, 10]), box_score=np.array([.5, .9]),
                     box=s.box[[0, 0]], crop_area=s.crop_area[[0, 0]])
  poses = {'net/clean': poses_of(s, rows=[0, 0])}
  count = lambda **options: len(score(twice, poses, np.zeros((2, K), bool), **options).files[
    'predictions_net_clean.json'])
  assert count(metric='coco_ap') == count(metric='none') == 1
  assert count(metric='coco_ap', oks_nms=0) == count(metric='pck') == 2


def test_a_network_that_gives_nan_is_no_missed_person():
  s = subjects()
  pose = poses_of(s)
  pose['keypoints'][1, 3] = np.nan
  fails(lambda: score(s, {'net/clean': pose}, nothing(s), metric='pck'),
        'net/clean: 1 of 3 poses hold NaN')


def test_covered_joints_of_an_exported_benchmark(tmp_path):
  def cover(truth):
    for annotation in truth['annotations']:
      annotation['covered'] = [1] * 5 + [0] * 12
  source = sources.load('coco', 'val', root=write_coco(tmp_path / 'coco', edit=cover))
  s = of_source(source)
  wrong = source.keypoints.astype(float)
  wrong[:, :5] += 1000  # all that are covered are wrong, all others right
  poses, covered, missed = read_file(s, write_results(tmp_path / 'poses.json', s, wrong))
  assert list(poses) == ['file/occluded'] and covered.sum() == 5 * len(source) and not missed
  scores = score(s, poses, covered, metric='coco_ap')
  row = scores.results['file/occluded']
  assert row['covered_joints'] == 0 and row['visible_joints'] == 100
  report = scores.files['report.json']['report']['file/occluded']
  assert report['by']['joint']['covered']['joints'] == 5 * len(source)
  # The same of networks on these pictures.
  row = score(s, {'net/clean': {'keypoints': wrong, 'scores': np.ones((4, K))}}, nothing(s),
              metric='coco_ap').results['net/clean']
  assert row['covered_joints'] == 0 and row['visible_joints'] == 100


def test_a_result_file_needs_annotated_people(tmp_path):
  s = subjects()
  path = write_results(tmp_path / 'poses.json', s, s.people.keypoints)
  fails(lambda: read_file(s._replace(detections=True), path), 'evals.NAME.boxes')
  fails(lambda: read_file(s, str(tmp_path / 'no.json')), 'no.json', kind=OSError)


def test_ap_of_a_file_is_of_its_poses_as_they_are(tmp_path):
  s = subjects()
  doubled = np.concatenate([s.people.keypoints, s.people.keypoints + 60])
  path = write_results(tmp_path / 'poses.json', s, doubled, np.tile(s.people.image_id, 2),
                       np.r_[np.full(3, .5), np.full(3, .9)])
  poses, covered, _ = read_file(s, path)
  row = score(s, poses, covered, metric='coco_ap').results['file/clean']
  want = keypoint_ap.coco_ap(s.truth, json.loads((tmp_path / 'poses.json').read_text()),
                             COCO.sigmas)
  assert row['AP'] == pytest.approx(100 * want['AP']) and row['AP'] < 60
  assert row['visible_joints'] == 100  # everybody has the pose that is most like them


def test_people_of_a_source(tmp_path):
  source = sources.load('coco', 'val', root=write_coco(tmp_path / 'coco'))
  s = of_source(source.subset([2, 0]))
  assert s.own.tolist() == [2, 0] and len(s.people) == 4 and not s.detections
  np.testing.assert_allclose(s.people.keypoints[s.own], source.keypoints[[2, 0]], rtol=1e-6)
  assert s.counted.tolist() == [True, False, True, False]
  assert s.by_person(np.array([7, 8]), -1).tolist() == [8, -1, 7, -1]
  world = sources.load('synthetic', 'val', num_people=3, size=(64, 96))
  np.testing.assert_array_equal(of_source(world).people.keypoints, world.keypoints)
  assert isinstance(s, pose_scores.Subjects)


def test_what_is_beyond_the_border_of_the_occluded_view_is_outside():
  """There v is 3: neither AP nor PCK asks for it, Ex-OKS and `present` do; the clean view stays."""
  s = subjects(images=(1, 2))
  points = s.people.keypoints
  window = np.tile([-np.inf, -np.inf, np.inf, np.inf], (2, 1))
  window[0, 2] = np.sort(points[0, :, 0])[11] + 1e-3  # five joints of the first are cut off
  cut = points[..., 0] > window[:, None, 2]
  poses = {f'net/{view}': poses_of(s) for view in ('clean', 'occluded')}
  poses['net/occluded']['keypoints'][cut] += 500
  for pose in poses.values():
    pose |= {'present': np.where(cut, .25, .75), 'visible': np.full(cut.shape, .5)}
  scores = score(s, poses, nothing(s), window, metric='ex_coco_ap')
  clean, occluded = scores.results['net/clean'], scores.results['net/occluded']
  assert clean['AP'] == occluded['AP'] == occluded['ExAP'] == pytest.approx(100)
  assert occluded['ExAP(outside)'] == pytest.approx(100) and np.isnan(clean['ExAP(outside)'])
  assert clean['ExAP'] < 100  # five joints are there, and said not to be
  assert occluded['Brier(present)'] == pytest.approx(100 * .25 ** 2)
  assert occluded['ECE(present)'] == pytest.approx(25) and occluded['ECE(visible)'] == 50
  assert clean['Brier(present)'] > occluded['Brier(present)']
  report = scores.files['report.json']['report']
  assert [report[f'net/{view}']['overall']['joints'] for view in ('clean', 'occluded')] == [34, 29]
  first = scores.files['predictions_net_occluded.json'][0]
  assert first['present'] == np.where(cut, .25, .75)[0].tolist() and first['right'] is None
  far = score(s, poses, nothing(s), metric='pck').results
  assert far['net/occluded']['PCK@0.2'] < 100
  assert score(s, poses, nothing(s), window, metric='pck').results['net/occluded'][
    'PCK@0.2'] == 100


def test_present_is_calibrated_where_somebody_is_outside():
  s = subjects(images=(1, 2), visibility=np.resize([2, 2, 3], (2, K)))
  pose = poses_of(s) | {'scores': np.where(s.people.visibility == 3, .1, .6)}
  found = score(s, {'net/clean': pose}, nothing(s), metric='coco_ap',
                held_out=(s, {'net/clean': pose}, nothing(s)))
  assert found.files['calibration.json']['present']['net'] == {
    'kind': 'isotonic', 'x': [.1, .6], 'y': [0, 1]}
  assert found.results['net/clean']['ECE(present)'] == 0
  whole = subjects(images=(1, 2))
  pose = poses_of(whole)
  found = score(whole, {'net/clean': pose}, nothing(whole), metric='coco_ap',
                held_out=(whole, {'net/clean': pose}, nothing(whole)))
  assert found.files['calibration.json']['present'] == {}
  assert found.files['predictions_net_clean.json'][0]['present'] is None
