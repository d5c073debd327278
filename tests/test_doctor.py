"""Faults put into small sets of rendered people are found by their kind; the sets have none."""
import dataclasses
import functools
import json
import os
import pathlib
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import common
from dslope_jax import doctor
from input_pipeline import sources
from input_pipeline.doctor import looks, poses, splits
from input_pipeline.sources import pictures
from tests.refusals import fails
from tests.sources.test_pictures import exif

ROOT = pathlib.Path(__file__).parent.parent
_DATA = os.environ.get('DSLOPE_DATA')


@functools.cache
def world(split='train', size=(160, 192)):
  return sources.load('synthetic', split, num_people=40, size=size)


def kinds(found):
  return {s.finding.kind: s for s in found}


# ---- poses

def moved(edit, **columns):
  """The world with other joints; edit: (40,17,2) joints -> joints, in place or returned."""
  source = world()
  joints = source.keypoints.copy()
  edited = edit(joints)
  return dataclasses.replace(source, keypoints=joints if edited is None else edited, **columns)


def _swap(*pairs, rows=slice(None)):
  names = world().skeleton.names

  def edit(joints):
    for part in pairs:
      a, b = names.index(f'left_{part}'), names.index(f'right_{part}')
      joints[rows, a], joints[rows, b] = joints[rows, b].copy(), joints[rows, a].copy()
  return edit


def _far_wrist(joints):
  row = int((world().visibility > 0).all(1).argmax())
  joints[row, 9] = joints[row, 7] + (260, 0)


def _below(joints):
  joints[..., 1] = 192 - joints[..., 1]


def _one_place(joints):
  joints[::2, 10] = (80, 96)


def _copied(joints):
  joints[7] = joints[3]


def _both_sides(joints):
  joints[:, 15] = joints[:, 16]


def _all_parts():
  return {name.split('_')[1] for name in world().skeleton.names if '_' in name}


EVERYBODY_LABELLED = {'visibility': np.full((40, 17), 2, np.uint8)}
POSES = {
  'limbs-too-long': (_far_wrist, {}),
  'joints-in-other-order': (lambda j: j[:, np.random.default_rng(0).permutation(17)],
                            {'visibility': None}),
  'people-lie': (lambda j: j[..., ::-1], {}),
  'people-upside-down': (_below, {}),
  'sides-swapped': (lambda j: _swap(*_all_parts())(j), {}),
  'sides-of-face': (_swap('eye', 'ear', rows=slice(0, 8)), {}),
  'sides-cross': (_swap('hip', 'knee', 'ankle'), {}),
  'sides-of-body': (_swap('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle'), {}),
  'sides-at-one-point': (_both_sides, {}),
  'joint-at-one-place': (_one_place, {}),
  'poses-twice': (_copied, {'visibility': 'copied'}),
  'joints-shifted': (lambda j: j + (30, 0), {}),
  'joints-of-neighbour': (lambda j: np.roll(j, 1, 0), {'visibility': 'rolled'}),
  'people-tiny': (lambda j: j * 0.04, {}),
  'joints-never-labelled': (lambda j: j, {'visibility': 'no nose'}),
}


def _visibility(how):
  v = world().visibility.copy()
  if how == 'copied':
    v[7] = v[3]
  elif how == 'rolled':
    v = np.roll(v, 1, 0)
  elif how == 'no nose':
    v[:, 0] = 0
  elif how is None:
    v = v[:, np.random.default_rng(0).permutation(17)]
  return v


def truly_labelled(source):
  """Keeps joints of the world that are not labelled at (0, 0), as files do."""
  return dataclasses.replace(source, keypoints=np.where(
    (source.visibility > 0)[..., None], source.keypoints, 0).astype(np.float32))


@pytest.mark.parametrize('kind', POSES)
def test_faults_of_poses_are_found(kind):
  edit, columns = POSES[kind]
  columns = {name: _visibility(how) for name, how in columns.items()}
  found = kinds(poses.check(truly_labelled(moved(edit, **columns))))
  assert kind in found, sorted(found)
  finding, rows = found[kind]
  assert finding.count >= 1 and finding.mend and '\n' not in doctor.line(finding)
  if kind in ('limbs-too-long', 'poses-twice'):
    assert finding.count == 1
  if kind == 'sides-swapped':
    assert finding.severity == 'error'
  assert len(rows) or kind == 'joints-never-labelled'


@pytest.mark.parametrize('right_hip, left_hip, crossed', [
  ((85, 92.5), (115, 67.5), False), ((115, 92.5), (85, 67.5), True)])
def test_sides_of_a_bent_body_do_not_cross(right_hip, left_hip, crossed):
  """Beside the torso they do; but only where they point against each other is one of them wrong."""
  names = ['right_shoulder', 'left_shoulder', 'right_hip', 'left_hip']

  def bend(joints):
    joints[0, [world().skeleton.names.index(name) for name in names]] = (
      (35, 65), (65, 95), right_hip, left_hip)
  found = kinds(poses.check(moved(bend, **EVERYBODY_LABELLED)))
  assert ('sides-cross' in found) == crossed


def test_few_people_say_nothing_of_a_set():
  source = dataclasses.replace(world(), visibility=_visibility('no nose'))
  assert 'joints-never-labelled' in kinds(poses.check(source))
  assert 'joints-never-labelled' not in kinds(poses.check(source.subset(np.arange(19))))


@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_good_set_has_no_findings(split):
  for size in ((160, 192), (320, 384)):
    source = sources.load('synthetic', split, num_people=120, size=size)
    assert poses.check(source) == []
  assert looks.check(world(split), looks.look(world(split))) == []


# ---- pictures

def write(folder, split='train', edit=None, start=0):
  """A set of files of the world's pictures; edit: {picture number: function of (path, entry)}."""
  source = world(split)
  truth = json.loads(json.dumps(source.as_coco()))
  rows = dict(zip(source.image_id.tolist(), range(len(source)), strict=True))
  (folder / split).mkdir(parents=True)
  for number, entry in enumerate(truth['images']):
    entry['file_name'] = f'{entry["id"]:04d}.jpg'
    path = folder / split / entry['file_name']
    cv2.imwrite(str(path), source.read(rows[entry['id']])[..., ::-1])
    if edit and number in edit:
      edit[number](path, entry)
  (folder / f'{split}.json').write_text(json.dumps(truth))
  return str(folder)


def load(root, split='train'):
  return sources.load('coco', split, root=root, annotations='{split}.json', images=split)


def _paint(value):
  def edit(path, entry):
    image = cv2.imread(str(path))
    cv2.imwrite(str(path), value(image) if callable(value) else np.full_like(image, value))
  return edit


def _cut(path, entry):
  path.write_bytes(path.read_bytes()[:-50])


def _tag(orientation, swap=False):
  def edit(path, entry):
    if swap:  # stored lying, annotated upright
      cv2.imwrite(str(path), cv2.rotate(cv2.imread(str(path)), cv2.ROTATE_90_COUNTERCLOCKWISE))
    whole = path.read_bytes()
    path.write_bytes(whole[:2] + exif(orientation) + whole[2:])
  return edit


def _copy_of_first(path, entry):
  path.write_bytes((path.parent / '0001.jpg').read_bytes())


def _smaller_first(path, entry):
  image = cv2.imread(str(path.parent / '0001.jpg'))
  image = cv2.resize(cv2.GaussianBlur(image, (0, 0), 0.7), None, fx=0.9, fy=0.9)
  image = cv2.resize(image, (entry['width'], entry['height']))
  cv2.imwrite(str(path), np.clip(image * 0.9 + 12, 0, 255).astype(np.uint8))


PICTURES = {
  'pictures-unreadable': _cut, 'pictures-turned': _tag(6, swap=True),
  'pictures-maybe-turned': _tag(3), 'pictures-constant': _paint(0),
  'pictures-dark': _paint(lambda image: image // 16),
  'pictures-grey': _paint(lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)),
  'pictures-same': _copy_of_first, 'pictures-alike': _smaller_first}


@pytest.mark.parametrize('kind', PICTURES)
def test_faults_of_pictures_are_found(tmp_path, kind):
  source = load(write(tmp_path, edit={5: PICTURES[kind]}))
  found = kinds(looks.check(source, looks.look(source)))
  assert list(found) == [kind]
  finding, rows = found[kind]
  assert finding.count == 1 and finding.ids == (source.image_id[rows[0]],)
  assert str(source.file[rows[0]]).endswith(f'{finding.ids[0]:04d}.jpg')
  assert finding.severity == ('error' if kind == 'pictures-unreadable' else 'warning')


def test_stored_orientation_that_the_annotation_states_is_no_fault(tmp_path):
  source = load(write(tmp_path, edit={2: _tag(6)}))
  assert looks.check(source, looks.look(source)) == []


def test_dark_picture_of_sixteen_bits(tmp_path):
  def deep(path, entry):
    image = cv2.imread(str(path)).astype(np.uint16) << 5  # 13 bits of a sensor
    entry['file_name'] = path.stem + '.png'
    cv2.imwrite(str(path.with_suffix('.png')), image)
  source = load(write(tmp_path, edit={1: deep}))
  assert 'pictures-dark' in kinds(looks.check(source, looks.look(source)))


# ---- two sets

def test_what_two_sets_share(tmp_path):
  train = load(write(tmp_path))
  first = (tmp_path / 'train/0001.jpg')
  val = load(write(tmp_path, 'val', {
    1: lambda path, entry: path.write_bytes(first.read_bytes()),
    2: lambda path, entry: cv2.imwrite(str(path), cv2.imread(str(first)) // 8 * 7)}), 'val')
  both = looks.look(train), looks.look(val)
  found = kinds(looks.check_pair(train, both[0], val, both[1]))
  assert sorted(found) == ['pictures-alike-in-both', 'pictures-in-both']
  assert all(s.finding.count == 1 for s in found.values())
  assert not looks.check_pair(val, both[1], world('test'), looks.look(world('test')))


def test_people_and_names_of_both_sets():
  train, val = world(), world('val')
  assert splits.check(train, val) == []
  named = dataclasses.replace(val, file=np.where(np.arange(len(val)) < 3, train.file[0], val.file))
  assert kinds(splits.check(train, named))['pictures-of-both'].finding.count >= 1
  known = [dataclasses.replace(s, identity=np.arange(len(s)) + start)
           for s, start in ((train, 0), (val, 38))]
  found = kinds(splits.check(*known))['identities-in-both'].finding
  assert (found.count, found.ids) == (2, (38, 39))


# ---- the command

def _config(root):
  config = common.top_down()
  config.data.update(dict(root=root, train_split='train'))
  config.data.loader.update(dict(annotations='{split}.json', images=''))
  config.evals = ConfigDict(dict(val=common.evaluation('val', 'pck')))
  return config


def test_examine_and_write(tmp_path):
  write(tmp_path, edit={0: _cut, 3: _paint(0)})
  write(tmp_path, 'val')
  found = doctor.examine(_config(str(tmp_path)), num_workers=1)
  assert list(found) == ['coco train', 'coco val']
  doctor.write(found, tmp_path / 'out')
  stored = json.loads((tmp_path / 'out/findings.json').read_text())
  assert [f['kind'] for f in stored['coco train']] == ['pictures-unreadable', 'pictures-constant']
  assert stored['coco train'][0]['severity'] == 'error' and not stored['coco val']
  sheet = cv2.imread(str(tmp_path / 'out/contact_sheet.jpg'))
  assert sheet.shape == (2 * (18 + 128), 8 * 128, 3) and sheet.std() > 20
  (tmp_path / 'val.json').write_text('{')
  found = doctor.examine(_config(str(tmp_path)), pictures=False)
  assert found['coco val'].source is None
  assert [s.finding.kind for s in found['coco val'].suspects] == ['set-unreadable']
  assert found['coco train'].suspects == []


@pytest.mark.slow
def test_exit_codes(tmp_path):
  def run(*arguments):
    return subprocess.run(
      [sys.executable, ROOT / 'tools/doctor.py', '--config', ROOT / 'configs/clspet_hrnet.py',
       f'--config.data.root={tmp_path}', '--config.data.loader.annotations={split}.json',
       '--config.data.loader.images={split}', *arguments], cwd=tmp_path, text=True,
      capture_output=True, env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  write(tmp_path, edit={3: _paint(0)})
  write(tmp_path, 'val')
  done = run()
  assert done.returncode == 0, done.stdout + done.stderr
  assert 'people, 1 finding\n' in done.stdout
  assert 'warning: pictures-constant: 1 picture is of one colour (picture ' in done.stdout
  assert (tmp_path / 'doctor/clspet_hrnet/contact_sheet.jpg').exists()
  assert run('--no_pictures', '--strict').returncode == 0
  assert run('--strict').returncode == 1
  (tmp_path / 'train/0001.jpg').write_bytes(struct.pack('<I', 7))
  assert run().returncode == 1


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_real_sets_have_no_errors():
  for folder, annotations, images, few in (
      ('lspet', 'lspet_val.json', 'images', {'sides-cross', 'pictures-grey', 'pictures-alike'}),
      ('coco', 'annotations/person_keypoints_val.json', 'images', {'pictures-grey'})):
    source = sources.load('coco', 'val', root=os.path.join(_DATA, folder),
                          annotations=annotations, images=images)
    found = kinds(poses.check(source) + looks.check(source, looks.look(source)))
    assert set(found) <= few
    assert pictures.read_picture(str(source.file[0])).ndim == 3


@pytest.mark.parametrize('config', [common.bottom_up(), common.lifting()], ids=lambda c: c.task)
def test_sets_of_other_kinds_are_refused(config):
  fails(lambda: doctor.examine(config), config.task, 'checked whenever they are loaded')
