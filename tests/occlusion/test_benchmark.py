"""The exported benchmark: the same everywhere, readable elsewhere, and checked."""
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest

from input_pipeline import geometry, pairs, sources
from input_pipeline.occlusion import bank as patches
from input_pipeline.occlusion import benchmark
from input_pipeline.pairs import PairMaker
from tests import data_sets, runs
from tests.refusals import fails

SIZE = (48, 64)


@pytest.fixture(scope='module')
def world():
  return sources.load('synthetic', 'val', num_people=14, size=(96, 128), people=(2, 3))


@pytest.fixture(scope='module')
def bank(world, tmp_path_factory):
  folder = tmp_path_factory.mktemp('bank') / 'b'
  return patches.load_or_build(folder, world, num_people=14, seed=0)


@pytest.fixture(scope='module')
def folder(world, bank, tmp_path_factory):
  out = tmp_path_factory.mktemp('benchmark') / 'C'
  benchmark.export(world, bank, 'severity3', SIZE, out, picture_format='png')
  return out


def manifest_of(folder):
  return json.loads((folder / 'MANIFEST.json').read_text())


def test_hash_is_equal_with_any_workers_and_formats(world, bank, folder, tmp_path):
  want = manifest_of(folder)
  assert want['pairs'] == 14 and 0.2 < want['mean_covered_share'] < 0.5
  for workers in (0, 2):
    out = tmp_path / str(workers)
    got = benchmark.export(world, bank, 'severity3', SIZE, out, num_workers=workers)
    drop = {'format', 'annotations_crc32'}  # of encoded pictures
    assert {k: v for k, v in got.items() if k not in drop} == {
      k: v for k, v in want.items() if k not in drop}


def test_a_border_puts_joints_outside_and_the_manifest_counts_them(world, bank, tmp_path):
  truth = world.as_coco()
  excused = {int(world.annotation_id[row]) for row in (0, 3)}
  people = [a | {'num_keypoints': 0} if a['id'] in excused else a for a in truth['annotations']]
  source = dataclasses.replace(world, ground_truth=truth | {'annotations': people})
  found = benchmark.export(source, bank, 'none:1,crop_out:3', SIZE, tmp_path / 'C')
  written = json.loads((tmp_path / 'C/annotations/occluded.json').read_text())['annotations']
  joints = {a['id']: np.reshape(a['keypoints'], (-1, 3)) for a in written if 'covered' in a}
  outside = {number: int((of[:, 2] == 3).sum()) for number, of in joints.items()}
  assert found['outside_joints'] == sum(outside.values()) > 0 == found['covered_joints']
  assert {n for n in excused if outside[n]}  # some of them are cut
  counts = {a['id']: a['num_keypoints'] for a in written if 'covered' in a and outside[a['id']]}
  labelled = lambda number: int(np.isin(joints[number][:, 2], (1, 2)).sum())
  assert counts == {n: 0 if n in excused else labelled(n) for n in counts}
  assert benchmark.verify(tmp_path / 'C')['outside_joints'] == found['outside_joints']


def test_hash_changes_with_bank_recipe_version_and_people(world, bank, folder, tmp_path,
                                                          monkeypatch):
  def hash_of(name, bank=bank, recipe='severity3', source=world):
    return benchmark.export(source, bank, recipe, SIZE, tmp_path / name)['hash']

  other_bank = patches.load_or_build(tmp_path / 'bank', world, num_people=14, seed=1)
  other_world = sources.load('synthetic', 'val', num_people=14, size=(96, 128), seed=1)
  found = {manifest_of(folder)['hash'], hash_of('bank_', other_bank),
           hash_of('recipe', recipe='severity4'), hash_of('people', source=other_world)}
  monkeypatch.setattr(pairs, 'BENCHMARK', 'other')
  assert len(found | {hash_of('version')}) == 5


def test_pairs_are_those_of_the_evaluation(world, bank, folder):
  """Flags and pixels in the files are what the networks are tested on."""
  truth = pycocotools.coco.COCO(str(folder / 'annotations' / 'occluded.json'))
  maker = PairMaker(world, SIZE, bank, 'severity3', 0)
  differing = 0
  for row in range(len(world)):
    sample = maker.evaluate(row)
    annotation = truth.anns[int(world.annotation_id[row])]
    assert annotation['covered'] == sample['covered'].astype(int).tolist()
    names = [truth.imgs[annotation['image_id']]['file_name'],
             f"{truth.imgs[annotation['image_id']]['clean_image_id']:012d}.png"]
    occluded, clean = (cv2.imread(str(folder / kind / name)) for kind, name in
                       zip(('occluded', 'clean'), names, strict=True))
    np.testing.assert_array_equal(clean[..., ::-1], world.read(row))
    matrix = geometry.affine(world.center[row], world.scale[row], 0, SIZE)
    crop = geometry.warp(occluded[..., ::-1], matrix, SIZE)
    # Drawn on the picture and then cropped, or straight on the crop: the same but for smoothing.
    assert np.abs(crop.astype(int) - sample['occluded_image']).mean() < 12
    differing += (occluded != clean).any()
  assert differing >= 13


def test_other_tools_read_it_as_a_coco_set(world, folder):
  truth = pycocotools.coco.COCO(str(folder / 'annotations' / 'occluded.json'))
  people = [a for a in truth.anns.values() if not a['iscrowd']]
  assert len(people) == len(truth.imgs) == 14 and len(truth.anns) > 14
  for kind, count in (('clean', len(np.unique(world.image_id))), ('occluded', 14)):
    source = sources.load('coco', kind, root=str(folder), images=kind,
                                 annotations='annotations/{split}.json')
    assert len(source) == 14 and len(set(source.file)) == count
    assert source.read(3).shape == (128, 96, 3)
    np.testing.assert_allclose(source.keypoints, world.keypoints, atol=1e-3)
  perfect = [{'image_id': a['image_id'], 'category_id': 1, 'keypoints': a['keypoints'], 'score': 1}
             for a in people]
  # A pose of somebody else in the picture is neither right nor wrong.
  other = next(a for a in truth.anns.values() if a['iscrowd'])
  x, y, w, h = other['bbox']
  perfect.append(perfect[0] | {'image_id': other['image_id'], 'score': 2,
                               'keypoints': [x + w / 2, y + h / 2, 2] * 17})
  result = pycocotools.cocoeval.COCOeval(truth, truth.loadRes(perfect), 'keypoints')
  result.evaluate()
  result.accumulate()
  result.summarize()
  assert result.stats[0] == pytest.approx(1.0)


def test_an_export_is_a_set_to_evaluate_on(world, bank, folder):
  """Loaded as COCO, with nothing drawn, its crops are the occluded ones; flags are in the truth."""
  source = sources.load('coco', 'occluded', root=str(folder), images='occluded',
                        annotations='annotations/{split}.json')
  np.testing.assert_allclose(source.center, world.center, atol=0.6)  # COCO's boxes end a pixel
  source = dataclasses.replace(source, center=world.center, scale=world.scale)  # earlier
  drawn, read = (PairMaker(s, SIZE, bank, recipe, 0) for s, recipe in (
    (world, 'severity3'), (source, 'none')))
  assert source.annotation_id.tolist() == world.annotation_id.tolist()
  flags = {a['id']: a['covered'] for a in source.ground_truth['annotations'] if 'covered' in a}
  for row in range(len(world)):
    want, got = (maker.evaluate(row) for maker in (drawn, read))
    np.testing.assert_array_equal(got['image'], got['occluded_image'])
    np.testing.assert_allclose(got['keypoints'], want['keypoints'], atol=1e-3)
    error, whole = (np.abs(got['image'].astype(int) - want[kind]).mean()
                    for kind in ('occluded_image', 'image'))
    assert error < 0.6 * whole or not want['covered'].any()  # the rest is smoothing
    assert flags[int(world.annotation_id[row])] == want['covered'].astype(int).tolist()


@pytest.mark.parametrize('edit, part', [
  (lambda e: e.update(file_name='/etc/hostname'), 'leads out'),
  (lambda e: e.update(file_name='../clean/1.jpg'), 'leads out'),
  (lambda e: e.update(file_name=3), 'not as an export writes it'),
  (lambda e: e.pop('crc32'), 'not as an export writes it')])
def test_verify_opens_nothing_outside_and_takes_no_other_form(folder, tmp_path, edit, part):
  copy = shutil.copytree(folder, tmp_path / 'copy')
  content = json.loads((copy / 'annotations/clean.json').read_text())
  edit(content['images'][0])
  (copy / 'annotations/clean.json').write_text(json.dumps(content))
  fails(lambda: benchmark.verify(copy), copy, part)


def test_verify_finds_what_was_changed(folder, tmp_path, capsys):
  def changed(name, change):
    copy = tmp_path / name
    shutil.copytree(folder, copy)
    change(copy)
    with pytest.raises((OSError, ValueError)) as error:
      benchmark.verify(copy)
    return str(error.value)

  assert benchmark.verify(folder) == manifest_of(folder)
  first = sorted(os.listdir(folder / 'occluded'))[0]

  def flip(copy):
    data = bytearray((copy / 'occluded' / first).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / 'occluded' / first).write_bytes(bytes(data))

  def uncover(copy):
    path = copy / 'annotations' / 'occluded.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['covered'][5] ^= 1
    path.write_text(json.dumps(content))

  def move(copy):
    path = copy / 'annotations' / 'clean.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['keypoints'][0] += 30
    path.write_text(json.dumps(content))

  assert 'annotation file was changed' in changed('moved', move)
  assert first in changed('flipped', flip)
  assert 'cannot be opened' in changed('missing', lambda c: (c / 'occluded' / first).unlink())
  assert 'does not have the hash' in changed('flag', uncover)
  assert 'no MANIFEST.json' in changed('cut', lambda c: (c / 'MANIFEST.json').unlink())


@pytest.mark.slow
def test_command_writes_and_verifies_mpii_too(tmp_path):
  """A set without a COCO file becomes one; the same hash in two processes."""
  root = data_sets.write_mpii(tmp_path / 'mpii', size=(192, 256))
  hashes = set()
  for name in ('a', 'b'):
    out = str(tmp_path / name)
    done = subprocess.run(
      [sys.executable, 'tools/export_benchmark.py', '--config', 'configs/cmpii_hrnet.py',
       f'--config.data.root={root}', '--config.evals.val.recipe=severity2', '--workdir',
       str(tmp_path / 'run'), '--out', out], cwd=runs.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hashes.add(benchmark.verify(out)['hash'])
    assert f'hash: {min(hashes)}' in done.stdout
  assert len(hashes) == 1
  truth = pycocotools.coco.COCO(os.path.join(out, 'annotations', 'occluded.json'))
  assert len(truth.cats[1]['keypoints']) == 16 and len(truth.anns) == 4
  again = subprocess.run(
    [sys.executable, 'tools/export_benchmark.py', '--verify', str(tmp_path / 'nothing')],
    cwd=runs.ROOT, capture_output=True, text=True)
  assert again.returncode == 1 and 'holds no MANIFEST.json' in again.stderr
