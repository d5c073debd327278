"""Every kind of fault of an annotation set is found by its kind, and a good set has none."""
import copy
import dataclasses
import functools
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax import plausibility
from dslope_jax.errors import UserError
from dslope_jax.metrics import people as people_lib
from dslope_jax.metrics.result_files import read_results
from dslope_jax.tasks import people
from dslope_jax.training import workdir
from input_pipeline import sources
from input_pipeline.geometry import Augmentation
from input_pipeline.pairs import PairMaker
from input_pipeline.sources import coco, detections, findings
from input_pipeline.sources.checks import without_pictures
from tests.refusals import fails

_DATA = os.environ.get('DSLOPE_DATA')
SIZE = np.array([320, 384])


@functools.cache
def world():
  return sources.load('synthetic', 'train', num_people=24, size=tuple(SIZE.tolist()))


def load(folder, edit=None, **options):
  truth = copy.deepcopy(world().as_coco())
  if edit:
    edit(truth)
  (folder / 'a.json').write_text(json.dumps(truth))
  with without_pictures():
    return sources.load('coco', 'train', root=str(folder), annotations='a.json', images='.',
                        **options)


def found(folder, edit):
  """{kind: its finding} of the edited set, whether it is refused or not."""
  try:
    return {f.kind: f for f in load(folder, edit).findings}
  except plausibility.ImplausibleError as error:
    assert '\n' not in str(error) and str(error).startswith(str(folder / 'a.json'))
    return {f.kind: f for f in error.findings}


# ---- edits of the first person, of every third one, of all

def _first(**fields):
  return lambda truth: truth['annotations'][0].update(fields)


def _all(function):
  return lambda truth: [a.update(function(a)) for a in truth['annotations']]


def _some(function):
  return lambda truth: [a.update(function(a)) for a in truth['annotations'][::6]]


def _boxes(function):
  return lambda a: {'bbox': np.asarray(function(*a['bbox']), float).round(3).tolist()}


def _joints(function):
  """function: of x, y, v (K,) of a person."""
  def edit(a):
    x, y, v = np.array(a['keypoints']).reshape(-1, 3).T
    x2, y2, v2 = (np.broadcast_to(part, x.shape) for part in function(x, y, v))
    blank = np.array(v2) == 0
    columns = np.where(blank, 0, x2), np.where(blank, 0, y2), v2
    return {'keypoints': np.stack(columns, 1).round(4).ravel().tolist()}
  return edit


def _corners(x, y, w, h):
  return x, y, x + w, y + h


def _shuffled(truth):
  boxes = [a['bbox'] for a in truth['annotations']]
  for a, box in zip(truth['annotations'], boxes[7:] + boxes[:7], strict=True):
    a['bbox'] = box


def _animals(truth):
  truth['categories'] = [truth['categories'][0] | {'id': i, 'name': n} for i, n in
                         ((1, 'antelope'), (2, 'bear'), (3, 'cat'))]
  for i, a in enumerate(truth['annotations']):
    a['category_id'] = 1 + i % 3


def _renamed(names):
  return lambda truth: truth['categories'][0].update(keypoints=names)


def _own_limbs(truth):
  truth['categories'][0]['keypoints'][0] = 'muzzle'
  truth['categories'][0]['skeleton'] = [[0, 1], [0, 2], [5, 6]]


FAULTS = {  # name: (edit, kind, severity, how many)
  'NaN area': (_first(area=float('nan')), 'area', 'error', 1),
  'infinite area': (_first(area=float('inf')), 'area', 'error', 1),
  'no area': (_first(area=0), 'area', 'error', 1),
  'negative area': (_first(area=-5), 'area', 'error', 1),
  'area as text': (_all(lambda a: {'area': str(a['area'])}), 'area', 'error', 24),
  'areas of shares': (_all(lambda a: {'area': a['area'] / 122880}), 'areas-are-shares', 'error',
                      24),
  'some areas of shares': (_some(lambda a: {'area': 0.2}), 'areas-are-shares', 'warning', 4),
  'areas of pictures': (_some(lambda a: {'area': 9 * a['bbox'][2] * a['bbox'][3]}),
                        'areas-beyond-boxes', 'warning', 4),
  'crowd as a word': (_first(iscrowd='no'), 'iscrowd', 'error', 1),
  'crowd as a list': (_first(iscrowd=[0]), 'iscrowd', 'error', 1),
  'crowd of 2': (_first(iscrowd=2), 'iscrowd', 'error', 1),
  'number as text': (_first(num_keypoints='17'), 'num_keypoints', 'error', 1),
  'number NaN': (_first(num_keypoints=float('nan')), 'num_keypoints', 'error', 1),
  'numbers 0': (_all(lambda a: {'num_keypoints': 0}), 'num_keypoints-all-0', 'error', 24),
  'numbers differ': (_some(lambda a: {'num_keypoints': 3}), 'num_keypoints-differ', 'warning', 4),
  'covered too short': (_first(covered=[1]), 'covered', 'error', 1),
  'covered as text': (_first(covered='1'), 'covered', 'error', 1),
  'no box': (_first(bbox=None), 'bbox', 'error', 1),
  'box of text': (_first(bbox=['1', '2', '3', '4']), 'bbox', 'error', 1),
  'box of a null': (_first(bbox=[1, 2, None, 4]), 'bbox', 'error', 1),
  'box as a dict': (_first(bbox={'x': 1}), 'bbox', 'error', 1),
  'boxes of corners': (_all(_boxes(_corners)), 'boxes-are-corners', 'error', None),
  'boxes of centres': (_all(_boxes(lambda x, y, w, h: (x + w / 2, y + h / 2, w, h))),
                       'boxes-are-centres', 'error', None),
  'boxes of shares': (_all(_boxes(lambda x, y, w, h: (x / 320, y / 384, w / 320, h / 384))),
                      'boxes-are-shares', 'error', 24),
  'some boxes of shares': (_some(_boxes(lambda x, y, w, h: (x / 320, y / 384, w / 320, h / 384))),
                           'boxes-are-shares', 'warning', 4),
  'all in percent': (lambda truth: (
    _all(_boxes(lambda x, y, w, h: (x / 3.2, y / 3.84, w / 3.2, h / 3.84)))(truth),
    _all(_joints(lambda x, y, v: (x / 3.2, y / 3.84, v)))(truth)), 'boxes-are-percent', 'error',
                     24),
  'boxes of others': (_shuffled, 'joints-outside-boxes', 'warning', None),
  'boxes larger than pictures': (_some(_boxes(lambda x, y, w, h: (0, 0, 700, 800))),
                                 'boxes-leave-pictures', 'warning', 4),
  'exchanged sizes': (lambda truth: [i.update(width=250, height=460) for i in truth['images']],
                      'boxes-leave-pictures', 'warning', None),
  'keypoints as text': (_first(keypoints=['a'] * 51), 'keypoints', 'error', 1),
  'a null joint': (_first(keypoints=[None, 2, 2] * 17), 'keypoints', 'error', 1),
  'joints of two numbers': (_first(keypoints=[5, 6] * 17), 'keypoints', 'error', 1),
  'joints of shares': (_all(_joints(lambda x, y, v: (x / 320, y / 384, v))), 'joints-are-shares',
                       'error', None),
  'some joints of shares': (_some(_joints(lambda x, y, v: (x / 320, y / 384, v))),
                            'joints-are-shares', 'warning', 4),
  'y before x': (_all(_joints(lambda x, y, v: (y, x, v))), 'joints-outside-boxes', None, None),
  'joints of a larger picture': (_all(_joints(lambda x, y, v: (4 * x, 4 * y, v))),
                                 'joints-outside-pictures', 'error', None),
  'joints within the box': (lambda truth: [
    a.update(_joints(lambda x, y, v: (x - a['bbox'][0], y - a['bbox'][1], v))(a))  # noqa: B023
    for a in truth['annotations']], 'joints-outside-boxes', 'error', None),
  'v = 4': (_all(_joints(lambda x, y, v: (x, y, np.where(v > 0, 4, 0)))), 'visibility', 'error',
            24),
  'v = -1': (_some(_joints(lambda x, y, v: (x, y, -1))), 'visibility', 'error', 4),
  'v of a network': (_all(_joints(lambda x, y, v: (x, y, 0.4 * v))), 'visibility', 'error', 24),
  'only v = 1': (_all(_joints(lambda x, y, v: (x, y, np.minimum(v, 1)))), 'nothing-visible',
                 'warning', 24),
  'labelled at the origin': (
    _some(_joints(lambda x, y, v: (x * (v == 2), y * (v == 2), np.maximum(v, 1)))),
    'joints-at-origin', 'warning', 4),
  'all at one point': (_some(_joints(lambda x, y, v: (90, 90, v))), 'joints-at-one-point',
                       'warning', 4),
  'people twice': (lambda truth: truth['annotations'].extend(
    [a | {'id': 900 + i} for i, a in enumerate(truth['annotations'][:3])]), 'people-twice',
                   'warning', 3),
  'ids twice': (_some(lambda a: {'id': 1}), 'id', 'error', 3),
  'id of text': (_first(id='1'), 'id', 'error', 1),
  'id without picture': (_first(image_id='1'), 'image_id', 'error', 1),
  'pictures twice': (lambda truth: truth['images'][1].update(
    file_name=truth['images'][0]['file_name']), 'pictures-twice', 'warning', 2),
  'category of text': (_some(lambda a: {'category_id': '1'}), 'unknown-categories', 'warning', 4),
  'three categories': (_animals, 'several-categories', 'warning', 3),
  'limbs from 0': (_own_limbs, 'limbs-from-0', 'warning', 3),
  'numbers as names': (_renamed([str(i) for i in range(17)]), 'no-mirror-pairs', 'warning', 17),
  'outlines of points': (_some(lambda a: {'segmentation': [[5, 6]]}), 'outlines-of-points',
                         'warning', 4),
  'empty outlines': (_some(lambda a: {'segmentation': [[]]}), 'outlines-of-points', 'warning', 4),
}


@pytest.mark.parametrize('case', FAULTS)
def test_a_fault_is_found_by_its_kind(tmp_path, case):
  edit, kind, severity, count = FAULTS[case]
  of = found(tmp_path, edit)
  assert kind in of, of
  assert severity in (None, of[kind].severity)
  assert count in (None, of[kind].count) and of[kind].count
  line = plausibility.line(of[kind])
  assert '\n' not in line and of[kind].mend in line
  assert len(of[kind].ids) <= 3


def test_people_without_keypoints_are_told(tmp_path):
  def edit(truth):
    del truth['annotations'][1]['keypoints']
    truth['annotations'][2]['keypoints'] = [0] * 51  # as COCO marks people without labels
    truth['annotations'][3].update(keypoints=[], iscrowd=1)
    del truth['annotations'][3]['num_keypoints'], truth['annotations'][2]['num_keypoints']

  of = found(tmp_path, edit)
  assert list(of) == ['without-keypoints']
  number = world().as_coco()['annotations'][1]['id']
  assert plausibility.line(of['without-keypoints']).startswith(
    f'1 annotation has no keypoints and is left out (annotation {number}); ')


def test_a_good_set_has_no_findings(tmp_path):
  assert load(tmp_path).findings == ()
  assert world().findings == ()


@pytest.mark.parametrize('case', ['boxes of corners', 'joints of shares', 'numbers as names'])
def test_one_fault_is_told_alone(tmp_path, case):
  """What follows from it would only hide it."""
  assert len(found(tmp_path, FAULTS[case][0])) == 1


def test_all_errors_are_counted_in_one_line(tmp_path):
  def edit(truth):
    for a in truth['annotations'][:5]:
      a['area'] = -1
    truth['annotations'][7]['bbox'] = None
  fails(lambda: load(tmp_path, edit), 'a.json: annotation 1: its area -1 is not',
        '5 more annotations are invalid: 4 by area, 1 by bbox', kind=plausibility.ImplausibleError)


def test_text_from_files_is_cut_and_quoted(tmp_path):
  for fields in ({'area': 'x\n\x1b[2J' * 9999}, {'image_id': 'x\n' * 9999},
                 {'bbox': ['\x1b'] * 9999}, {'iscrowd': '\n' * 9999},
                 {'category_id': '\n\x1b' * 9999}):
    try:
      lines = [plausibility.line(f) for f in load(tmp_path, _first(**fields)).findings]
      assert lines
    except UserError as error:
      lines = [str(error)]
    assert all(line.isprintable() and len(line) < 1000 for line in lines)


def test_crowds_and_unlabelled_people_are_checked_too(tmp_path):
  def edit(truth, **fields):
    truth['annotations'][0] |= {'iscrowd': 1, 'area': 0}  # 0: nobody is compared with it
    truth['annotations'][1] |= {'keypoints': [0] * 51, 'num_keypoints': 0} | fields
  assert len(load(tmp_path, edit)) == 22
  for fields in ({'area': float('nan')}, {'area': 'x'}, {'num_keypoints': 'x'}, {'iscrowd': 'x'}):
    fails(lambda: load(tmp_path, functools.partial(edit, **fields)), 'annotation 2')  # noqa: B023


def test_categories_with_the_same_keypoints_are_one_set(tmp_path):
  source = load(tmp_path, _animals)
  assert len(source) == 24 and source.category_id == 1
  assert {a['category_id'] for a in source.ground_truth['annotations']} == {1}
  text = source.findings[0].text
  assert "3 categories with the same keypoints are read as one: 'antelope' (id 1, 8 ann" in text
  assert [len(load(tmp_path, _animals, category=c)) for c in ('bear', '3')] == [8, 8]
  fails(lambda: load(tmp_path, _animals, category='dog'), "no category 'dog'", "'bear' (id 2, 8")
  # A result of any of the three is one of the set.
  path = tmp_path / 'r.json'
  poses = [{'image_id': i, 'category_id': 2, 'score': 1, 'keypoints': k}
           for i, k in zip(source.image_id.tolist(), np.concatenate(
             [source.keypoints, source.visibility[..., None]], 2).reshape(24, 51).tolist(),
             strict=True)]
  path.write_text(json.dumps(poses))
  assert len(read_results(str(path), source.ground_truth, 17).score) == 24


def test_categories_with_other_keypoints_are_asked_for(tmp_path):
  def edit(truth, people=True):
    hand = {'id': 2, 'name': 'hand', 'keypoints': ['wrist', 'thumb']}
    truth['categories'].append(hand)
    if people:
      truth['annotations'].append(truth['annotations'][0] | {
        'id': 99, 'category_id': 2, 'num_keypoints': 2, 'keypoints': [9, 9, 2, 8, 8, 2]})
  fails(lambda: load(tmp_path, edit), 'different keypoints', "'hand' (id 2, 1 annotations)",
        'loader.category=NAME')
  assert len(load(tmp_path, edit, category='person')) == 24
  assert load(tmp_path, edit, category='hand').keypoints.shape == (1, 2, 2)
  assert load(tmp_path, functools.partial(edit, people=False)).findings == ()  # nobody of it


def test_crowdposes_own_count_of_joints_is_right():
  """Its files leave head and neck out of num_keypoints."""
  truth = {'num_keypoints': 12}
  source = type('S', (), {'skeleton': findings.skeletons.CROWDPOSE, 'annotation_id': np.array([5]),
                          'visibility': np.full((1, 14), 2), 'labelled': np.ones((1, 14), bool)})
  assert findings._of_counts([truth], source) == []
  assert findings._of_counts([{'num_keypoints': 11}], source)[0].ids == (5,)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
  text = json.dumps(world().as_coco())
  for name, odd in (('plain', ''), ('slow', ' NaN'[:0])):
    path = tmp_path / f'{name}.json'
    path.write_bytes(b'\xef\xbb\xbf' + (text + odd).encode())
    with without_pictures():
      source = coco.load('x', root=str(tmp_path), annotations=path.name, images='.')
    assert len(source) == 24
  (tmp_path / 'r.json').write_bytes(b'\xef\xbb\xbf[]')
  assert len(read_results(str(tmp_path / 'r.json'), world().as_coco(), 17).score) == 0


def test_a_root_may_begin_with_a_tilde(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  load(tmp_path)
  with without_pictures():
    assert len(sources.load('coco', 'x', root='~', annotations='a.json', images='.')) == 24


# ---- detections and result files

def _detections(tmp_path, change, boxes=None):
  source = load(tmp_path)
  boxes = source.box.tolist() if boxes is None else boxes
  entries = [{'image_id': int(i), 'category_id': 1, 'score': 0.5, 'bbox': list(change(*b))}
             for i, b in zip(source.image_id, boxes, strict=False)]
  (tmp_path / 'd.json').write_text(json.dumps(entries))
  with_files = detections.with_detections(
    source, str(tmp_path / 'd.json'), aspect=0.75, padding=1.25)
  return with_files[0]


def test_boxes_of_a_detector(tmp_path):
  assert _detections(tmp_path, lambda *box: box).findings == ()
  fails(lambda: _detections(tmp_path, _corners), 'd.json', 'leave their picture', 'entry')
  fails(lambda: _detections(tmp_path, lambda x, y, w, h: (x / 320, y / 384, w / 320, h / 384)),
        'd.json: 24 of 24 boxes look like shares of the picture (0 to 1)', '(entry 0, 1, 2 ...)')
  some = _detections(tmp_path, lambda x, y, w, h: (x, y, w, 0 if h > 200 else h)).findings
  assert [f.kind for f in some] == ['boxes-without-area']


def _results(tmp_path, change, box=None):
  source = load(tmp_path)
  path = tmp_path / 'r.json'
  entries = []
  for image, joints, frame in zip(source.image_id.tolist(), source.keypoints, source.box.tolist(),
                                  strict=True):
    x, y = change(*joints.T.astype(float))
    entries.append({'image_id': image, 'category_id': 1, 'score': 0.5,
                    'keypoints': np.stack([x, y, np.ones(17)], 1).ravel().tolist()}
                   | ({'bbox': list(box(*frame))} if box else {}))
  path.write_text(json.dumps(entries))
  return read_results(str(path), source.ground_truth, 17)


def test_units_of_result_files(tmp_path):
  same = lambda *values: values
  assert len(_results(tmp_path, same, same).score) == 24
  assert len(_results(tmp_path, lambda x, y: (x + 900, y)).score) == 24  # poor, but not ill-formed
  shares = lambda x, y: (x / 320, y / 384)
  fails(lambda: _results(tmp_path, shares),
        'r.json: the joints of 24 of 24 people look like shares')
  fails(lambda: _results(tmp_path, same, _corners), 'fit them as corners')
  fails(lambda: _results(tmp_path, same, lambda x, y, w, h: (x / 320, y / 384, w / 320, h / 384)),
        '24 of 24 boxes look like shares')


def test_poses_of_nobody_are_no_doubles(tmp_path):
  """The truth as its own result file: unlabelled people have zeros alone."""
  truth = world().as_coco()
  entry = {'image_id': 1, 'category_id': 1, 'score': 1.0}
  path = tmp_path / 'r.json'
  path.write_text(json.dumps([entry | {'keypoints': [0] * 51}] * 3))
  assert len(read_results(str(path), truth, 17).score) == 3
  path.write_text(json.dumps([entry | {'keypoints': [7] * 51}] * 3))
  fails(lambda: read_results(str(path), truth, 17), 'entries 0 and 1 are the same pose')


# ---- the functions on arrays

@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 10 ** 6))
def test_people_anywhere_in_their_pictures_are_plausible(n, k, seed):
  """Boxes with joints spread over them, wherever they are: no finding."""
  rng = np.random.default_rng(seed)
  size = rng.integers(200, 900, (n, 2))
  side = rng.uniform(0.2, 0.9, (n, 2)) * size
  low = rng.uniform(0, 1, (n, 2)) * (size - side)
  joints = low[:, None] + rng.uniform(0.05, 0.95, (n, k, 2)) * side[:, None]
  joints[:, 0], joints[:, -1] = low + 0.1 * side, low + 0.9 * side  # from one end to the other
  table = plausibility.Table(np.arange(n), size, np.concatenate([low, side], 1), joints,
                             np.ones((n, k), bool))
  assert plausibility.check(table) == []


def test_unknown_sizes_and_missing_boxes():
  table = plausibility.Table(
    np.arange(3), np.zeros((3, 2)), np.full((3, 4), np.nan),
    np.random.default_rng(0).uniform(0, 500, (3, 5, 2)), np.ones((3, 5), bool))
  assert plausibility.check(table) == []
  nobody = plausibility.Table(*(column[:0] for column in table))
  assert plausibility.check(nobody) == []


# ---- what follows from findings

def test_warnings_are_printed_once_and_kept(tmp_path, capsys):
  source = load(tmp_path, FAULTS['outlines of points'][0])
  for _ in range(2):
    people.told(source)
  printed = capsys.readouterr().out
  assert printed.startswith('warning: a train: 4 outlines have fewer than three points')
  assert printed.count('\n') == 1
  workdir.write_findings(tmp_path, {'a train': source.findings})
  kept = json.loads((tmp_path / 'findings.json').read_text())['a train']
  assert plausibility.Finding(**kept[0])._replace(ids=source.findings[0].ids) == source.findings[0]


def test_people_without_mirror_pairs_are_not_mirrored(tmp_path):
  """The draws of the other augmentations stay the same."""
  def crops(names):
    source = dataclasses.replace(load(tmp_path, _renamed(names)), read=world().read)
    maker = PairMaker(source, (48, 64), None, 'none', 0, Augmentation(),
                      fields=('image', 'keypoints'))
    return [maker.train(i, i % 24) for i in range(24)]
  sided, bare = crops(list(world().skeleton.names)), crops([f'{i}' for i in range(17)])
  same = [np.array_equal(a['image'], b['image']) for a, b in zip(sided, bare, strict=True)]
  assert 5 < sum(same) < 19  # half of them were mirrored
  for a, b, alike in zip(sided, bare, same, strict=True):
    assert alike == np.array_equal(a['keypoints'], b['keypoints'])


# ---- real sets

_REAL = [  # (data set, split, options, kinds that are there)
  *[('coco', split, {'root': 'coco', 'images': 'images'}, set()) for split in ('train', 'val')],
  *[('coco', split, {'root': 'lspet', 'annotations': 'lspet_{split}.json', 'images': 'images'},
     set()) for split in ('train', 'val')],
  # The names are point_0 to point_67.
  *[('coco', split, {'root': 'faces/youtube_faces', 'annotations': '{split}.json', 'images':
                     'images'}, {'no-mirror-pairs'}) for split in ('train', 'val')],
  ('coco', 'x', {'root': 'coco_wholebody', 'annotations': 'example_gt.json', 'images': '.'}, set()),
  # Six people have the box of another one.
  ('crowdpose', 'val', {'root': 'crowdpose', 'annotations': 'crowdpose_val.json', 'images': '.'},
   {'joints-outside-boxes'}),
]


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
@pytest.mark.parametrize('name, split, options, kinds', _REAL, ids=lambda v: str(v)[:30])
def test_real_sets(name, split, options, kinds):
  with without_pictures():
    source = sources.load(name, split, **options | {'root': os.path.join(_DATA, options['root'])})
  assert {f.kind for f in source.findings} == kinds


def test_what_is_outside_of_the_picture_is_not_labelled(tmp_path):
  """v = 3 is accepted at any place, changes no other joint, and counts for nothing else."""
  def leave(truth):
    for number, person in enumerate(truth['annotations']):
      joints = np.reshape(person['keypoints'], (-1, 3))
      joints[5] = -4000, 9000, 3
      counted = (joints[:, 2] > 0).sum() if number % 2 else (joints[:, 2] % 3 > 0).sum()
      person.update(keypoints=joints.ravel().tolist(), num_keypoints=int(counted))

  source = load(tmp_path, leave)
  assert not source.findings
  assert (source.visibility[:, 5] == 3).all() and not source.labelled[:, 5].any()
  rest = np.arange(17) != 5
  np.testing.assert_array_equal(source.visibility[:, rest], world().visibility[:, rest])
  np.testing.assert_array_equal(source.labelled[:, rest], world().visibility[:, rest] > 0)
  people = people_lib.from_coco(source.as_coco(), 17)
  np.testing.assert_array_equal(people.labelled, source.labelled)
  nobody = _all(_joints(lambda x, y, v: (x, y, np.where(v > 0, 3, 0))))
  fails(lambda: load(tmp_path, nobody), 'a.json', 'labelled keypoint (v = 1 or 2)')
