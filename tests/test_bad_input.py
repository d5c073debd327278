"""What is wrong with a user's files or settings is one line: the file, the place, the mend."""
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from ml_collections import ConfigDict
from PIL import Image

import eval as evaluation_script
import train
from configs import common
from dslope_jax.tasks import top_down
from dslope_jax.training import checkpointing, init_from, optimizers
from dslope_jax.training import workdir as workdirs
from dslope_jax.training.train_state import TrainState
from input_pipeline import stream
from input_pipeline.geometry import Augmentation
from input_pipeline.occlusion import bank as patches
from input_pipeline.pairs import PairMaker
from input_pipeline.sources import coco, detections, mpii
from input_pipeline.sources.pictures import read_picture
from tests import tiny
from tests.data_sets import write_coco, write_mpii
from tests.refusals import fails

_REPOSITORY = pathlib.Path(__file__).parent.parent
_JSON = 'annotations/person_keypoints_train.json'


# ---- annotation files of COCO's form

def _first(**fields):
  return lambda truth: truth['annotations'][0].update(fields)


def _joint(index, value):
  def edit(truth):
    truth['annotations'][0]['keypoints'][index] = value
  return edit


def _picture(**fields):
  return lambda truth: truth['images'][0].update(fields)


def _category(**fields):
  return lambda truth: truth['categories'][0].update(fields)


def _all(**fields):
  return lambda truth: [a.update(fields) for a in truth['annotations']]


_BAD_COCO = {
  'no keypoint category': (_category(keypoints=[]), 'no category', 'not a keypoint set'),
  'category without id': (_category(id=None), 'no category has an id', 'not a keypoint set'),
  'category names': (_category(keypoints=5), 'category 1', 'mend the category'),
  'category limbs': (_category(keypoints=['a', 'b'], skeleton=[[1, 9]]), 'category 1', 'joint 8'),
  'category sides': (_category(keypoints=['left_a', 'b']), 'category 1', 'right_a'),
  'other pictures': (_all(image_id=77), 'annotation 10', 'image_id 77', '3 more annotations'),
  'list as image id': (_first(image_id=[1]), 'annotation 10', 'image_id [1]'),
  'ids that repeat': (_all(id=10), 'annotation 10', 'repeats', '2 more annotations'),
  'text as id': (_first(id='a7'), "annotation 'a7'", 'not a whole number'),
  'negative id': (_first(id=-3), 'annotation -3', 'is negative'),
  'enormous id': (_first(id=2**70), 'annotation 11805', 'id'),
  'text as picture id': (_picture(id='1'), "picture id '1'", 'number the pictures anew'),
  'picture ids that repeat': (_picture(id=2), 'picture id 2', 'repeats'),
  'short keypoints': (_first(keypoints=[1, 2, 2]), 'annotation 10', 'has 3 keypoint numbers',
                      '17 joints need 51'),
  'nested keypoints': (_first(keypoints=[[1, 2, 2]] * 17), 'annotation 10', 'list of numbers'),
  'keypoints as text': (_joint(0, '5'), 'annotation 10', 'list of numbers'),
  'NaN joint': (_joint(0, float('nan')), 'annotation 10', 'keypoint is not a finite number'),
  'infinite joint': (_joint(1, float('inf')), 'annotation 10', 'not a finite number'),
  'enormous joint': (_joint(1, 10**400), 'annotation 10', 'not a finite number'),
  'NaN visibility': (_joint(2, float('nan')), 'annotation 10', 'visibility nan'),
  'v = 7': (_joint(2, 7), 'annotation 10', 'visibility 7', '2 (visible)'),
  'no box': (_first(bbox=None), 'annotation 10', 'bbox None is not four finite numbers'),
  'NaN box': (_first(bbox=[1, 2, float('nan'), 4]), 'annotation 10', 'not four finite numbers'),
  'box without area': (_first(bbox=[5, 5, 0, 9]), 'annotation 10', 'has no area'),
  'box outside': (_first(bbox=[500, 5, 9, 9]), 'annotation 10', 'lies outside', '96x128'),
  'name leads out': (_picture(file_name='../../key.jpg'), "'../../key.jpg'", 'leads out of'),
  'absolute name': (_picture(file_name='/etc/key.jpg'), "'/etc/key.jpg'", 'leads out of'),
  'no name': (_picture(file_name=None), 'picture 1', 'file_name None'),
  'odd size': (_picture(width='96'), 'picture 1', "['96', 128]", 'mend them'),
  'nobody labelled': (_all(keypoints=[0] * 51), 'category 1 has a labelled keypoint'),
  'nobody at all': (lambda truth: truth['annotations'].clear(), 'check category_id and image_id'),
  'entry is no dict': (lambda truth: truth['images'].append(5), "entry 4 of 'images'"),
  'list is missing': (lambda truth: truth.pop('images'), "lacks the list(s) ['images']"),
}


@pytest.mark.parametrize('case', _BAD_COCO)
def test_coco_annotation(tmp_path, case):
  edit, *parts = _BAD_COCO[case]
  root = write_coco(tmp_path / 'coco', edit=edit)
  fails(lambda: coco.load('train', root=root), os.path.join(root, _JSON), *parts)


def test_coco_file_that_is_no_json(tmp_path):
  root = write_coco(tmp_path / 'coco', num_images=1)
  path = os.path.join(root, _JSON)
  whole = pathlib.Path(path).read_bytes()
  for content, part in ((whole[:-20], 'get the file again'), (b'\x89PNG\r\n', 'get the file again'),
                        (b'', 'get the file again'), (b'[' * 100_000, 'get the file again'),
                        (b'[1, 2]', 'holds a list, not a dict with the lists images')):
    pathlib.Path(path).write_bytes(content)
    fails(lambda: coco.load('train', root=root), path, part)


def test_coco_files_that_are_missing(tmp_path):
  root = write_coco(tmp_path / 'coco')
  load = functools.partial(coco.load, 'train', root=root)
  os.remove(os.path.join(root, 'train/000003.jpg'))
  fails(load, '1 picture of', _JSON, "the first is '000003.jpg'", 'cocodataset.org',
         kind=FileNotFoundError)
  shutil.rmtree(os.path.join(root, 'train'))
  fails(load, 'no picture folder train or images/train or images', root, kind=FileNotFoundError)
  fails(lambda: load(images='photos/{split}'), 'no picture folder photos/train',
         kind=FileNotFoundError)
  fails(lambda: load(root=str(tmp_path / 'nothing')), 'no annotation file', tmp_path / 'nothing',
         'cocodataset.org', 'configs/quickstart.py', kind=FileNotFoundError)


def test_missing_files_of_an_own_set(tmp_path):
  """The files that are there are named, not where COCO is got."""
  root = pathlib.Path(write_coco(tmp_path / 'birds'))
  for split in ('train', 'val'):
    (root / f'annotations/person_keypoints_{split}.json').rename(root / f'{split}.json')
  load = functools.partial(coco.load, root=str(root), annotations='{split}.json')
  assert len(load('train'))
  for fault in (lambda: load('trian'), lambda: load('train', images='photos')):
    with pytest.raises(FileNotFoundError) as raised:
      fault()
    assert 'cocodataset' not in str(raised.value)
  fails(lambda: load('trian'), f"no annotation file '{root}/trian.json' (split 'trian'); there are "
        "'train.json', 'val.json'. Check config.data.root", kind=FileNotFoundError)


def test_skip_invalid_counts_and_names(tmp_path, capsys):
  def edit(truth):
    truth['annotations'][0]['bbox'] = [5, 5, 0, 9]
    truth['annotations'][2]['keypoints'][2] = 7
  root = write_coco(tmp_path / 'coco', edit=edit)
  fails(lambda: coco.load('train', root=root), '--config.data.loader.skip_invalid=True')
  source = coco.load('train', root=root, skip_invalid=True)
  assert source.annotation_id.tolist() == [20, 40]
  assert len(source.ground_truth['annotations']) == 2  # a metric must not stumble over them
  printed = capsys.readouterr().out
  assert '2 invalid annotations left out; the first: annotation 10: bbox' in printed
  assert printed.count('\n') == 1


@pytest.mark.parametrize('segmentation', [
  [[1, 2, 3]], [['a', 'b']], {'counts': [5], 'size': [128, 96]}, {'size': [128, 96]},
  {'counts': '0', 'size': [128, 96]}, {'counts': [64], 'size': [8, 8]}, 'text'])
def test_segmentation(tmp_path, segmentation):
  root = write_coco(tmp_path / 'coco', edit=_first(segmentation=segmentation))
  source = coco.load('train', root=root)
  fails(lambda: source.mask(0), _JSON, 'annotation 10', 'its segmentation', 'mend or remove it')


def test_detection_file(tmp_path):
  root = write_coco(tmp_path / 'coco')
  source = coco.load('val', root=root)
  path = tmp_path / 'boxes.json'
  load = functools.partial(detections.with_detections, source, aspect=0.75, padding=1.25)
  def check(content, *parts):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    fails(lambda: load(str(path)), path, *parts)
  good = {'image_id': 101, 'category_id': 1, 'bbox': [1, 2, 30, 40], 'score': 0.5}
  check([good | {'image_id': 1}], 'none of its 1 boxes', 'another split')
  check([], 'none of its 0 boxes')
  check([good | {'category_id': 3}], 'of category 1')
  for broken in ({'bbox': [1, 2, 3]}, {'bbox': None}, {'bbox': [1, 2, 3, float('nan')]},
                 {'score': 'high'}, {'image_id': [101]}, {'image_id': None}):
    check([good, good | broken], 'entry 1 is not a detection', 'mend or remove it')
  check([good, 'text'], 'entry 1 is not a detection')
  check({'annotations': []}, 'holds a dict, not a list')
  check('[{', 'not a readable json file')
  fails(lambda: load(str(tmp_path / 'none.json')), 'none.json',
         'check the path', kind=OSError)


# ---- MPII

def _entry(**fields):
  return lambda entries: entries[1].update(fields)


_BAD_MPII = {
  'no joints': (lambda entries: entries[1].pop('joints'), 'entry 1', "'joints'"),
  'fifteen joints': (_entry(joints=[[1, 2]] * 15), 'entry 1', '16 joints'),
  'no picture': (lambda entries: entries[1].pop('image'), 'entry 1', "'image'"),
  'number as picture': (_entry(image=5), 'entry 1', 'file name'),
  'picture leads out': (_entry(image='../key.jpg'), "'../key.jpg'", 'leads out of'),
  'no scale': (_entry(scale=0), 'entry 1', 'scale of 0'),
  'NaN': (_entry(center=[float('nan'), 1]), 'entry 1', 'not finite'),
  'visibility 3': (_entry(joints_vis=[3] * 16), 'entry 1', 'joints_vis', 'neither 0 nor 1'),
  'nobody': (lambda entries: [e.update(joints_vis=[0] * 16) for e in entries],
             'nobody has a joint'),
  'no entries': (lambda entries: entries.clear(), 'nobody has a joint'),
  'text': (lambda entries: entries.insert(0, 'text'), 'entry 0 is not an MPII person'),
}


@pytest.mark.parametrize('case', _BAD_MPII)
def test_mpii_entry(tmp_path, case):
  edit, *parts = _BAD_MPII[case]
  root = write_mpii(tmp_path / 'mpii', edit=edit)
  fails(lambda: mpii.load('train', root=root), os.path.join(root, 'annot/train.json'), *parts)


def test_mpii_files(tmp_path):
  root = write_mpii(tmp_path / 'mpii')
  load = functools.partial(mpii.load, 'valid', root=root)
  heads = os.path.join(root, 'annot/gt_valid.mat')
  scipy.io.savemat(heads, {'headboxes_src': np.zeros((2, 2, 9))})
  fails(load, heads, 'of 9 people, the json has 4', 'not of one release')
  scipy.io.savemat(heads, {'other': 1})
  fails(load, heads, 'headboxes_src', 'get the file again')
  for content in (b'', b'text', pathlib.Path(heads).read_bytes()[:150]):
    pathlib.Path(heads).write_bytes(content)
    fails(load, heads, 'get the file again')
  os.remove(heads)
  os.remove(os.path.join(root, 'images/000102.jpg'))
  fails(load, '1 picture of', 'valid.json', "'000102.jpg'", kind=FileNotFoundError)
  path = pathlib.Path(root, 'annot/valid.json')
  path.write_text('{"images": []}')
  fails(load, path, 'holds a dict, not a list')
  shutil.rmtree(os.path.join(root, 'images'))
  fails(load, os.path.join(root, 'images'), 'mpi-inf.mpg.de', kind=FileNotFoundError)
  fails(lambda: load(root='nothing'), 'nothing/annot/valid.json', 'human-pose.mpi-inf.mpg.de',
         'configs/quickstart.py', kind=FileNotFoundError)


# ---- pictures

def _texture(size=(96, 64)):
  rng = np.random.default_rng(0)
  return cv2.resize(rng.integers(0, 255, (8, 12, 3), np.uint8), size)


def test_a_cut_jpeg_is_noticed(tmp_path):
  """OpenCV alone returns a picture whose lower part is grey."""
  path = str(tmp_path / 'a.jpg')
  for flags in ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]):
    cv2.imwrite(path, _texture((640, 480)), flags)
    whole = pathlib.Path(path).read_bytes()
    assert read_picture(path).shape == (480, 640, 3)
    for size in (1, 2, 300, len(whole) // 2, len(whole) - 1000, len(whole) - 2, len(whole) - 1):
      pathlib.Path(path).write_bytes(whole[:size])
      fails(lambda: read_picture(path), f"picture '{path}' is broken", kind=OSError)
    for tail in (b'\0' * 5, b'more' * 1000):  # what cameras append is no harm
      pathlib.Path(path).write_bytes(whole + tail)
      assert read_picture(path).shape == (480, 640, 3)


def test_a_cut_jpeg_with_a_whole_thumbnail_is_noticed(tmp_path):
  path = str(tmp_path / 'a.jpg')
  thumbnail = tmp_path / 'small.jpg'
  cv2.imwrite(str(thumbnail), _texture((48, 32)))
  Image.fromarray(_texture((640, 480))).save(path, exif=b'Exif\0\0' + thumbnail.read_bytes())
  whole = pathlib.Path(path).read_bytes()
  assert whole.count(b'\xff\xd9') == 2
  assert read_picture(path).shape == (480, 640, 3)
  pathlib.Path(path).write_bytes(whole[:-5])
  fails(lambda: read_picture(path), 'ends too early', kind=OSError)


def test_picture_that_is_none(tmp_path):
  def check(path, *parts):
    fails(lambda: read_picture(str(path)), f"picture '{path}'", *parts, kind=OSError)
  check(tmp_path / 'none.jpg', 'cannot be opened', 'No such file')
  check(tmp_path, 'cannot be opened', 'directory')
  for content in (b'', b'\xff\xd8', b'text', b'GIF89a'):
    (tmp_path / 'a.jpg').write_bytes(content)
    check(tmp_path / 'a.jpg', 'is broken')
  cv2.imwrite(str(tmp_path / 'a.png'), _texture())
  whole = (tmp_path / 'a.png').read_bytes()
  (tmp_path / 'a.png').write_bytes(whole[:len(whole) // 2])
  check(tmp_path / 'a.png', 'is broken')


def test_every_kind_of_picture_is_rgb(tmp_path):
  image = _texture()
  deep = image.astype(np.uint16) * 257
  kinds = {'grey.png': image[..., 1], 'deep.png': deep, 'deep_grey.png': deep[..., 1],
           'alpha.png': np.dstack([image, np.full(image.shape[:2], 9, np.uint8)]),
           'grey.jpg': image[..., 1], 'plain.png': image}
  for name, content in kinds.items():
    cv2.imwrite(str(tmp_path / name), content)
  Image.fromarray(image[..., ::-1]).convert('CMYK').save(tmp_path / 'cmyk.jpg', quality=95)
  Image.fromarray(image[..., ::-1]).quantize(256).save(tmp_path / 'palette.png')
  for name in [*kinds, 'cmyk.jpg', 'palette.png']:
    read = read_picture(str(tmp_path / name))
    assert read.dtype == np.uint8, name
    assert read.shape == (64, 96, 3), name
    wanted = np.repeat(image[..., 1:2], 3, 2) if 'grey' in name else image[..., ::-1]
    assert np.abs(read.astype(int) - wanted).mean() < 12, name


def _maker(source, augmentation=None):
  return PairMaker(source, (32, 32), None, 'none', 0, augmentation)


@pytest.fixture
def broken_pictures(tmp_path):
  """A COCO folder: the second picture is cut short, the third of another size."""
  root = write_coco(tmp_path / 'coco')
  for split, number in (('train', 0), ('val', 100)):
    second, third = (pathlib.Path(root, split, f'{number + i:06d}.jpg') for i in (2, 3))
    second.write_bytes(second.read_bytes()[:-100])
    cv2.imwrite(str(third), _texture())
  return root


def test_unreadable_pictures_in_training(broken_pictures, capsys):
  source = coco.load('train', root=broken_pictures)
  batches = stream.train_stream(_maker(source, Augmentation()), batch_size=4, max_unreadable=2)
  for batch in (next(batches), next(batches)):
    black = ~batch['image'].any(axis=(1, 2, 3))
    assert black.sum() == 2
    assert not batch['visibility'][black].any() and batch['visibility'][~black].any()
    assert not {'row', 'unreadable'} & batch.keys()
  printed = capsys.readouterr().out
  assert printed.count('000002.jpg') == printed.count('000003.jpg') == 1
  assert printed.count('\n') == 2
  few = stream.train_stream(_maker(source, Augmentation()), batch_size=4, max_unreadable=1)
  fails(lambda: next(few), 'data.max_unreadable=1', 'mend the files named above', kind=OSError)


def test_unreadable_pictures_in_evaluation(broken_pictures):
  source = coco.load('val', root=broken_pictures)
  maker = _maker(source)
  fails(lambda: maker.evaluate(1), 'val/000102.jpg', 'ends too early', kind=OSError)
  fails(lambda: maker.evaluate(2), 'val/000103.jpg', 'is 96x64',
         'its annotation says 96x128', kind=OSError)
  for num_workers in (0, 1):
    with pytest.raises(OSError, match='val/00010[23].jpg'):
      list(stream.eval_stream(maker, batch_size=2, num_workers=num_workers))


def test_broken_evaluation_pictures_are_told_before_training(broken_pictures, tmp_path, capsys):
  """The trained state is saved before the evaluation is refused."""
  config = _config(broken_pictures, evals=dict(val=common.evaluation('val', 'coco_ap')))
  config.data.max_unreadable = 9
  fails(lambda: train.train(config, str(tmp_path / 'run')), 'val/00010', kind=OSError)
  printed = capsys.readouterr().out
  warning = printed[:printed.index('starting from step 0')]
  assert 'val: 2 pictures cannot be read' in warning and 'ends too early' in warning
  found, = json.loads((tmp_path / 'run/findings.json').read_text())['person_keypoints_val val']
  assert found['kind'] == 'unreadable-pictures' and found['ids'] == [102, 103]
  assert checkpointing.find_step(tmp_path / 'run') == 3


def test_patch_bank(tmp_path):
  source = coco.load('train', root=write_coco(tmp_path / 'coco'))
  build = functools.partial(patches.load_or_build, source=source, num_people=9, seed=0)
  bank = build(tmp_path / 'bank')
  assert len(bank) > 10
  (tmp_path / 'bank/index.npz').write_bytes(b'PK')
  fails(lambda: build(tmp_path / 'bank'), tmp_path / 'bank', 'is not a patch bank', 'remove it')
  (tmp_path / 'bank/index.npz').unlink()
  fails(lambda: build(tmp_path / 'bank'), tmp_path / 'bank', 'remove it', kind=FileNotFoundError)
  for file in set(source.file.tolist()):
    pathlib.Path(file).write_bytes(b'')
  fails(lambda: build(tmp_path / 'other'), 'picture', 'is broken', kind=OSError)
  assert not (tmp_path / 'other').exists()
  assert sorted(p.name for p in tmp_path.iterdir()) == ['bank', 'coco']
  blind = coco.load('train', root=write_coco(tmp_path / 'blind', edit=lambda truth: [
    a.update(keypoints=[5, 5, 1] + [0] * 48) for a in truth['annotations']]))
  fails(lambda: build(tmp_path / 'other', source=blind), 'no body part could be cut out',
         'person_keypoints_train')


# ---- configs and runs, in this process

def _config(root, **changes):
  """One tiny network on a tiny set, for three steps."""
  config = common.top_down()
  config.update(dict(batch_size=2 * jax.device_count(), duration='3 steps', save_every='1 step',
                     eval_every='99 steps', log_every='1 step'))
  config.system.model = ConfigDict(tiny.MODEL)
  config.data.update(dict(root=root, size=(32, 32), recipe='none'))
  config.evals = {}
  config.update_from_flattened_dict(changes)
  return config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return write_coco(tmp_path_factory.mktemp('data') / 'coco')


_BAD_CONFIG = {
  'batch size': (dict(batch_size=3, accumulate=2), 'batch_size 3', 'accumulate 2'),
  'no batch': (dict(batch_size=0), 'config.batch_size is 0: must be 1 or more'),
  'no accumulation': (dict(accumulate=0), 'config.accumulate is 0: must be 1 or more'),
  'duration': ({'duration': '3 weeks'}, "not '3 weeks'", "'210 epochs' or '1000 steps'"),
  'no steps': ({'duration': '0.1 steps'}, "duration '0.1 steps'", 'less than one step'),
  'save_every': ({'save_every': '1'}, "not '1'", "'210 epochs'"),
  'schedule': ({'optim.net.schedule': 'step'}, "not 'step'", 'cosine'),
  'warmup': ({'optim.net.warmup': 'short'}, "not 'short'"),
  'recipe': ({'data.recipe': 'blobs'}, 'a recipe is one of none, published, ', "not 'blobs'"),
  'data': ({'data.name': 'cocoo'}, "data.name 'cocoo'", 'sources/cocoo.py'),
  'not a loader': ({'data.name': 'patches'}, "data.name 'patches'", 'function load'),
  'loader option': ({'data.loader': dict(skip=True)}, "not 'skip'", 'skip_invalid'),
  'crop of one side': ({'data.size': (32,)}, 'data.size is (32,)', '(width, height)'),
  'crop of odd sides': ({'data.size': (40, 32)}, 'multiples of 32', '32x40'),
  'system': ({'system.name': 'dslop'}, "system.name 'dslop'", 'dslope_jax/systems/dslop.py'),
  'model': ({'system.model.name': 'resnet'}, "model.name 'resnet'", 'dslope_jax/models/resnet.py'),
  'loss': ({'system.loss': 'l1'}, "['ce', 'mse', 'ohkm'], not 'l1'"),
  'metric': ({'evals': dict(val=common.evaluation('val', 'ap'))}, "not 'ap'", 'coco_ap'),
  'head sizes': ({'evals': dict(val=common.evaluation('val', 'pckh'))}, 'needs head sizes', 'val'),
  'everything frozen': ({'optim.net.frozen': True}, 'nothing to train'),
  'init_from': ({'init_from.net': 'nothing/here'}, "no weight file 'nothing/here'",
                'check the path'),
}


_OUT_OF_RANGE = {
  'optim.net.lr': (-1.0, '0 or more'), 'data.augmentation.flip_prob': (7.0, '0 to 1'),
  'system.sigma': (-1.0, 'above 0'), 'keep': (0, '1 or more'), 'seed': (-3, '0 to 4294967295'),
  'system.model.width': (0, '1 or more'), 'data.num_workers': (-1, '0 or more'),
  'batch_size': (-1, '1 or more'), 'ema_decay': (1.0, '0 or more, and below 1'),
  'optim.net.layer_decay': (0.0, 'above 0, and 1 at most'), 'optim.net.l2': (float('nan'), '0 or'),
  'data.loader.padding': (0.0, 'above 0')}


@pytest.mark.parametrize('field', _OUT_OF_RANGE)
def test_numbers_have_ranges(tmp_path, field):
  value, words = _OUT_OF_RANGE[field]
  fails(lambda: train.train(_config('', **{field: value}), str(tmp_path / 'run')),
        f'config.{field} is {value}: must be {words}')
  assert not (tmp_path / 'run').exists()


def test_numbers_of_an_evaluation_have_ranges(tmp_path):
  config = _config('', evals=dict(val=common.evaluation('val', 'coco_ap') | dict(batch_size=0)))
  line = 'config.evals.val.batch_size is 0: must be 1 or more'
  fails(lambda: evaluation_script.evaluate(config, str(tmp_path)), line)
  fails(lambda: evaluation_script.evaluate_file(config, 'no.json'), line)


@pytest.mark.parametrize('case', _BAD_CONFIG)
def test_config(data, tmp_path, case):
  changes, *parts = _BAD_CONFIG[case]
  def run():
    train.train(_config(data, **changes), str(tmp_path))
  fails(run, *parts, kind=(ValueError, FileNotFoundError))


def test_a_mistake_is_mended_in_the_same_workdir(data, tmp_path):
  """What stopped before its first checkpoint does not pin its config, a patch bank does."""
  mended = _config(data)
  with pytest.raises(ValueError, match='schedule'):
    train.train(_config(data, **{'optim.net.schedule': 'step'}), str(tmp_path))
  check = functools.partial(workdirs.check_config, workdir=tmp_path, allow_change=False,
                            free=top_down.FREE, settled=top_down.SETTLED)
  check(mended)
  (tmp_path / 'patches').mkdir()
  fails(lambda: check(_config(data, **{'data.bank.seed': 5})), 'data.bank.seed: 0 -> 5',
        "patches' was made with another config", 'remove it')
  check(_config(data, batch_size=64))
  (tmp_path / 'config.json').write_text('{"seed": ')
  fails(lambda: check(mended), tmp_path / 'config.json', 'broken')


def test_workdir_that_cannot_be_written(data, tmp_path):
  (tmp_path / 'file').write_text('')
  workdir = str(tmp_path / 'file' / 'run')
  fails(lambda: train.train(_config(data), workdir), f"cannot write to workdir '{workdir}'",
         'choose another with --workdir', kind=OSError)


def test_a_bucket_is_no_workdir(data, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  fails(lambda: train.train(_config(data), 'gs://bucket/run'), 'gs://bucket/run',
        'mount the bucket')
  assert not list(tmp_path.iterdir())


def test_two_runs_in_one_workdir(data, tmp_path):
  with workdirs.claim(tmp_path):
    fails(lambda: train.train(_config(data), str(tmp_path)), 'another run is writing to', tmp_path)
  workdirs.claim(tmp_path).close()


@pytest.mark.parametrize('text', ['', '5', 'epochs', '-1 epochs', '1e3 steps', '5 hours',
                                  '5 steps x'])
def test_duration(text):
  fails(lambda: optimizers.to_steps(text, 10), f"not '{text}'", "'210 epochs' or '1000 steps'")


# ---- a trained run, and its checkpoints

@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('trained') / 'run'
  train.train(_config(data), str(workdir))
  return workdir


def test_workdir_of_another_config(data, trained):
  changed = _config(data, **{'seed': 3, 'system.sigma': 1.0, 'data.num_workers': 1})
  fails(lambda: train.train(changed, str(trained)), trained, 'seed: 0 -> 3',
         'system.sigma: 2.0 -> 1.0', '--allow_config_change')
  with pytest.raises(ValueError) as raised:
    train.train(changed, str(trained))
  assert 'num_workers' not in str(raised.value)


def test_evaluation_of_a_run_that_is_not_there(data, trained, tmp_path):
  config = _config(data, evals=dict(val=common.evaluation('val', 'coco_ap')))
  evaluate = functools.partial(evaluation_script.evaluate, config)
  fails(lambda: evaluate(str(tmp_path / 'no')), tmp_path / 'no', 'workdir of a training run',
         kind=FileNotFoundError)
  assert not (tmp_path / 'no').exists()
  (tmp_path / 'checkpoints').mkdir()
  fails(lambda: evaluate(str(tmp_path)), tmp_path, 'no finished checkpoint',
         kind=FileNotFoundError)
  fails(lambda: evaluate(str(trained), 7), trained, 'steps [1, 2, 3], not of 7',
         kind=FileNotFoundError)
  fails(lambda: evaluation_script.evaluate(_config(data), str(trained)), 'config.evals')
  for given in ({'ema_decay': 0.9}, {'system.model.width': 16}, {'data.size': (64, 64)}):
    fails(lambda given=given: evaluate(str(trained), given=given), trained, *given,
          'was trained with', 'leave the field away')
  fails(lambda: evaluate(str(trained), given={'system.codec': 'udp'}), "with hrnet")


def test_init_from_a_network_that_is_not_there(data, trained, tmp_path):
  config = _config(data, **{'init_from.net': f'{trained}:enet'})
  fails(lambda: train.train(config, str(tmp_path)), trained, "has the networks ['net']", 'enet')


def test_init_from_the_only_network_of_a_run(trained):
  wanted = _stored(trained)
  weights, text = init_from.load(str(trained), 'enet', wanted, None, (64, 96))
  assert text.startswith(f"'net' of '{trained}'")
  jax.tree.map(np.testing.assert_array_equal, weights, wanted)


def test_init_from_a_network_of_other_keypoints(trained):
  wanted = _stored(trained)
  other = {kind: dict(tree) for kind, tree in wanted.items()}
  other['params']['final_layer'] = {k: np.full((*v.shape[:-1], 5), 7, np.float32)
                                    for k, v in wanted['params']['final_layer'].items()}
  load = functools.partial(init_from.load, str(trained), 'net', other, None, (64, 96))
  fails(load, trained, 'final_layer', 'fresh_head=True')
  weights, text = load(fresh_head=True)
  assert 'stays fresh: final_layer' in text
  assert (weights['params']['final_layer']['bias'] == 7).all()
  np.testing.assert_array_equal(weights['params']['conv1']['kernel'],
                                wanted['params']['conv1']['kernel'])


def _stored(workdir):
  """{'params', 'batch_stats'} of the network 'net' of a run, as arrays."""
  shapes, _ = checkpointing.stored_weights(str(workdir))
  weights, _ = checkpointing.restore_weights(str(workdir), shapes)
  return {kind: jax.device_get(tree['net']) for kind, tree in weights.items()}


def test_training_goes_on_from_the_checkpoint_before_a_broken_one(data, trained, tmp_path, capsys):
  workdir = tmp_path / 'run'
  shutil.copytree(trained, workdir)
  _cut(workdir / 'checkpoints/3')
  state, _ = train.train(_config(data), str(workdir))
  assert int(state.step) == 3
  printed = capsys.readouterr().out
  assert re.search(r"checkpoint 3 cannot be read and is put aside as '.*unreadable_checkpoint_3' "
                   r'\(.*\); checkpoint 2 is used\nresuming from step 2 of', printed)
  for step in (1, 2, 3):
    _empty(workdir / f'checkpoints/{step}')
  for _ in range(2):  # nothing is moved, so the second try does not start anew
    fails(lambda: train.train(_config(data), str(workdir)), 'none of the checkpoints [1, 2, 3]',
           workdir, 'choose another --workdir')


def _files(folder):
  return sorted((f for f in folder.rglob('*') if f.is_file()), key=lambda f: f.stat().st_size)


def _cut(folder):
  largest = _files(folder)[-1]
  os.truncate(largest, largest.stat().st_size // 2)


def _empty(folder):
  shutil.rmtree(folder)
  folder.mkdir()


def _blank(name):
  return lambda folder: (folder / 'default' / name).write_bytes(b'')


def _without(name):
  def damage(folder):
    path = folder / 'default' / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
  return damage


_DAMAGE = {
  'largest file cut': _cut, 'empty folder': _empty, 'no arrays': _without('ocdbt.process_0'),
  'no data': _without('d'), 'no content': _without(''), 'no tree': _without('_METADATA'),
  'blank tree': _blank('_METADATA'), 'no manifest': _without('manifest.ocdbt'),
  'blank manifest': _blank('manifest.ocdbt')}


def _state(step):
  weights = {'net': {'w': jax.random.normal(jax.random.key(step), (300, 40))}}
  return TrainState(step=jnp.asarray(step, jnp.int32), params=weights,
                    batch_stats={'net': {'m': jnp.ones(3)}}, opt_state=(jnp.zeros(3),), ema={})


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A workdir with checkpoints 1, 2, 3 of a state of a few arrays."""
  workdir = tmp_path_factory.mktemp('saved')
  checkpoints = checkpointing.Checkpoints(workdir)
  for step in (1, 2, 3):
    checkpoints.save(_state(step), step)
  checkpoints.close()
  return workdir


@pytest.mark.parametrize('damage', _DAMAGE)
def test_damaged_checkpoint(saved, tmp_path, damage, capfd):
  workdir = tmp_path / 'run'
  shutil.copytree(saved, workdir)
  _DAMAGE[damage](workdir / 'checkpoints/3')
  wanted = {'params': _state(0).params, 'batch_stats': _state(0).batch_stats}
  fails(lambda: checkpointing.restore_weights(workdir, wanted, 3), 'checkpoint 3', workdir,
         'cannot be read', 'choose another step')
  weights, step = checkpointing.restore_weights(workdir, wanted)
  assert step == 2 and f"checkpoint 3 in '{workdir}' cannot be read" in capfd.readouterr().out
  np.testing.assert_array_equal(weights['params']['net']['w'], _state(2).params['net']['w'])
  checkpoints = checkpointing.Checkpoints(workdir)
  restored = checkpoints.restore(_state(0))
  assert int(restored.step) == 2
  np.testing.assert_array_equal(restored.params['net']['w'], _state(2).params['net']['w'])
  assert (workdir / 'unreadable_checkpoint_3').is_dir()
  checkpoints.save(_state(3), 3)
  checkpoints.wait()
  assert checkpoints.steps() == [1, 2, 3]
  checkpoints.close()
  printed = capfd.readouterr()
  assert 'checkpoint 3 cannot be read' in printed.out
  assert printed.out.count('\n') == 1
  assert 'Traceback' not in printed.err
  # The same step is damaged again: the folder put aside first is kept.
  _DAMAGE[damage](workdir / 'checkpoints/3')
  checkpoints = checkpointing.Checkpoints(workdir)
  assert int(checkpoints.restore(_state(0)).step) == 2
  checkpoints.close()
  assert (workdir / 'unreadable_checkpoint_3_').is_dir()


def test_checkpoints_of_other_shapes_stay_where_they_are(saved):
  """A config that does not fit is no damage."""
  checkpoints = checkpointing.Checkpoints(saved)
  other = _state(0).replace(params={'net': {'w': jnp.zeros((3, 3))}})
  fails(lambda: checkpoints.restore(other), 'none of the checkpoints [1, 2, 3]',
         'fits this config')
  assert checkpoints.steps() == [1, 2, 3]
  checkpoints.close()
  assert checkpointing.Checkpoints(saved / 'new').restore(_state(0)) is None


# ---- the command line, in processes of its own

def _command(*arguments, script='train.py', **environment):
  done = subprocess.run(
    [sys.executable, script, *arguments], cwd=_REPOSITORY, capture_output=True, text=True,
    check=False, timeout=120, env=os.environ | {'JAX_PLATFORMS': 'cpu'} | environment)
  assert done.returncode == 1, done.stderr
  assert done.stdout == ''
  return done.stderr


@pytest.mark.parametrize(('arguments', 'message'), [
  (['--config=configs/ccoco_hrnet.py', '--config.batchsize=2'],
   "the config has no field 'batchsize'; it has batch_size, "),
  (['--config=configs/ccoco_hrnet.py', '--config.batch_size=two'],
   "config.batch_size: 'two' is no whole number"),
  (['--config=configs/nothing.py'], "no config file 'configs/nothing.py'; there are"),
  (['--config=configs/ccoco_hrnet.py:w33'], "error: config argument 'w33' is none of w32, w48"),
])
def test_command_line(arguments, message):
  error, hint = _command(*arguments).splitlines()
  assert error.startswith('error: ')
  assert message in error
  assert hint == '(DSLOPE_TRACEBACK=1 shows where)'


def test_message_of_a_command(tmp_path):
  arguments = ['--config=configs/ccoco_hrnet.py', f'--config.data.root={tmp_path}/coco',
               f'--workdir={tmp_path}/run']
  error, _ = _command(*arguments).splitlines()
  assert error.startswith(f"error: no annotation file '{tmp_path}/coco/annotations/person_key")
  assert 'Traceback' in _command(*arguments, script='eval.py', DSLOPE_TRACEBACK='1')
