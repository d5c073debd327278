"""Label maps of clothes and body parts as sources of masks and parts; what is wrong with them."""
import pathlib
import pickle

import cv2
import numpy as np
import scipy.io

from input_pipeline import sources
from input_pipeline.sources import label_maps
from tests.data_sets import write_maps
from tests.refusals import fails

_SIZE = 120, 200  # width, height


def _paint(*boxes):
  """(H,W) uint8 map of (label, x, y, end x, end y)."""
  numbers = np.zeros(_SIZE[::-1], np.uint8)
  for label, x, y, x_end, y_end in boxes:
    numbers[y:y_end, x:x_end] = label
  return numbers


def _rectangle(mask):
  x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
  assert mask[y:y + h, x:x + w].all()
  return x, y, x + w, y + h


# Hair, face, an arm that touches the hair, a shirt, jeans, two shoes, the larger one on the right.
_CCP_PERSON = ((19, 50, 10, 70, 18), (41, 50, 18, 70, 32), (41, 68, 12, 72, 60),
               (38, 40, 32, 68, 90), (25, 45, 90, 68, 180), (39, 45, 180, 53, 190),
               (39, 58, 180, 68, 190), (2, 20, 60, 39, 90))


def _write_ccp(root, **more):
  face_apart = [box for box in _CCP_PERSON if box[1:] != (68, 12, 72, 60)]
  maps = {'0009': _paint(*_CCP_PERSON), '0003': _paint(*face_apart)} | more
  return write_maps(root, maps, 'annotations/pixel-level', 'photos', '.mat')


def test_label_maps_of_ccp(tmp_path):
  root = _write_ccp(tmp_path / 'ccp', small=_paint((41, 0, 0, 10, 11)))
  (tmp_path / 'ccp/photos/0001.jpg').write_bytes(b'')  # a picture without a map is not of the set
  source = sources.load('label_maps', 'train', root=root, labels_of='ccp')
  assert [pathlib.Path(f).name for f in source.file] == ['0003.jpg', '0009.jpg']
  assert source.annotation_id.tolist() == source.image_id.tolist() == [1, 2]
  assert not source.visibility.any()
  np.testing.assert_array_equal(source.box[0], [20, 10, 50, 180])
  np.testing.assert_allclose(source.center[0], [45, 100])
  np.testing.assert_array_equal(source.mask(1), _paint(*_CCP_PERSON) > 0)
  assert source.read(0).shape == (200, 120, 3)
  parts = pickle.loads(pickle.dumps(source.parts))(0)
  assert set(parts) == {'person', 'head', 'foot', 'object'}
  np.testing.assert_array_equal(parts['person'], source.mask(0))
  assert _rectangle(parts['head']) == (50, 10, 70, 32)
  assert _rectangle(parts['foot']) == (58, 180, 68, 190)  # the larger of two shoes
  assert _rectangle(parts['object']) == (20, 60, 39, 90)
  assert 'head' not in source.parts(1)  # the face is one piece with an arm
  assert source.digest == label_maps.load('train', root=root, labels_of='ccp').digest


def _cihp_map():
  """Two people: one with hat, face, arms, a bare leg in a shoe; one of a coat, shoe and socks."""
  return _paint((1, 20, 10, 40, 20), (13, 20, 20, 40, 35), (5, 15, 35, 45, 90),
                (14, 45, 40, 55, 80), (15, 5, 40, 15, 70), (9, 20, 90, 40, 130),
                (17, 20, 130, 28, 160), (19, 20, 160, 30, 170), (18, 32, 130, 42, 138),
                (7, 70, 30, 110, 120), (8, 70, 120, 80, 140), (18, 90, 120, 100, 130),
                (3, 118, 0, 120, 4))


def test_label_maps_of_cihp(tmp_path):
  root = write_maps(tmp_path / 'cihp', {'a': _cihp_map()}, 'labels', 'images')
  source = label_maps.load('train', root=root, labels_of='cihp')
  assert len(source) == 2  # a glove of 8 pixels is nobody
  np.testing.assert_array_equal(source.box, [[5, 10, 50, 160], [70, 30, 40, 110]])
  assert source.image_id.tolist() == [1, 1] and source.annotation_id.tolist() == [1, 2]
  assert not (source.mask(0) & source.mask(1)).any()
  found = {part: _rectangle(mask) for part, mask in source.parts(0).items()
           if part not in ('person', 'right_leg')}
  assert found == {'head': (20, 10, 40, 35), 'left_arm': (45, 40, 55, 80),
                   'right_arm': (5, 40, 15, 70), 'left_foot': (32, 130, 42, 138)}
  assert source.parts(0)['right_leg'].sum() == 8 * 30 + 10 * 10  # with its shoe
  second = source.parts(1)
  assert set(second) == {'person', 'foot', 'left_foot'}
  assert _rectangle(second['foot']) == (70, 120, 80, 140)
  np.testing.assert_array_equal(second['person'], source.mask(1))


def test_label_maps_with_instance_maps(tmp_path):
  numbers = _paint((2, 10, 10, 40, 30), (13, 40, 10, 70, 30))
  people = np.where(numbers, 300, 0).astype(np.uint16)
  people[:, 55:] = 2  # also where there is no label
  root = write_maps(tmp_path / 'cihp', {'a': numbers}, 'train/ids', 'train/pictures')
  write_maps(root, {'a': people}, 'train/people', 'unused')
  load = lambda **options: label_maps.load(
    'train', root=root, labels_of='cihp', images='{split}/pictures', labels='{split}/ids',
    **options)
  assert len(load()) == 1  # without instance maps, who touches is one
  source = load(instances='{split}/people')
  np.testing.assert_array_equal(source.box, [[55, 10, 15, 20], [10, 10, 45, 20]])
  assert _rectangle(source.parts(0)['head']) == (55, 10, 70, 30)
  cv2.imwrite(f'{root}/train/people/a.png', people[:50])
  fails(lambda: load(instances='{split}/people'), 'people/a.png', '120x50', 'ids/a.png', '120x200')
  pathlib.Path(root, 'train/people/a.png').rename(f'{root}/train/people/b.png')
  fails(lambda: load(instances='{split}/people'), 'people', '1 label maps', 'ids/a.png',
         kind=FileNotFoundError)


def test_label_names_of_a_file(tmp_path):
  root = write_maps(tmp_path / 'own', {'a': _paint((1, 10, 10, 60, 60))}, 'labels', 'images')
  path = tmp_path / 'own/names.json'
  load = lambda: label_maps.load('train', root=root, labels_of='cihp', names='names.json')
  path.write_text('["background", "hair"]')
  assert set(load().parts(0)) == {'person', 'head'}
  for content, part in (('["background", "kilt"]', "label 1 called 'kilt'"), ('[]', 'has no label'),
                        ('[["hair"]]', "label 0 called ['hair']"), ('{}', 'holds a dict')):
    path.write_text(content)
    fails(load, path, part)
  path.write_text('["background"]')
  fails(load, 'labels/a.png', 'unknown label 1', '0 to 0')


def test_label_map_files_that_are_broken(tmp_path):
  root = write_maps(tmp_path / 'cihp', {'a': _cihp_map(), 'b': _cihp_map()}, 'labels', 'images')
  load = lambda: label_maps.load('train', root=root, labels_of='cihp')
  path = tmp_path / 'cihp/labels/b.png'
  whole = path.read_bytes()
  for content in (b'', b'text', whole[:len(whole) // 2]):
    path.write_bytes(content)
    fails(load, path, 'is broken', kind=OSError)
  cv2.imwrite(str(path), np.zeros((20, 20, 3), np.uint8))
  fails(load, path, '(20, 20, 3)', 'grey png')
  cv2.imwrite(str(path), np.full((20, 20), 77, np.uint8))
  fails(load, path, 'unknown label 77', '0 to 19', 'labels_of')
  cv2.imwrite(str(path), _cihp_map()[:100])
  source = load()
  assert source.read(0).shape == (200, 120, 3)
  fails(lambda: source.read(3), 'images/b.jpg', 'is 120x200', path, 'is 120x100', kind=OSError)
  path.unlink()
  fails(lambda: source.mask(2), path, 'cannot be opened', kind=OSError)
  mat = path.with_suffix('.mat')
  for content in ({'other': 1}, None):
    scipy.io.savemat(mat, content) if content else mat.write_bytes(b'MATLAB 5.0')
    fails(load, mat, "not a mat file with 'groundtruth'", kind=OSError)
  scipy.io.savemat(mat, {'groundtruth': np.full((20, 20), 1.5)})
  fails(load, mat, 'whole numbers')
  scipy.io.savemat(mat, {'groundtruth': np.full((20, 20), -1.0)})
  fails(load, mat, 'unknown label -1')
  scipy.io.savemat(mat, {'groundtruth': _cihp_map().astype(np.float64)})  # as MATLAB stores numbers
  assert len(load()) == 4


def test_label_map_folders_that_are_wrong(tmp_path):
  root = write_maps(tmp_path / 'cihp', {'a': _cihp_map(), 'b': _cihp_map()}, 'labels', 'images')
  load = lambda **options: label_maps.load(
    'train', **({'root': root, 'labels_of': 'cihp'} | options))
  fails(lambda: load(labels_of='lip'), "ccp, cihp, not 'lip'")
  fails(lambda: load(root='nothing'), 'nothing/labels', 'label maps', 'root',
         kind=FileNotFoundError)
  fails(lambda: load(images='photos'), 'photos', 'pictures', kind=FileNotFoundError)
  fails(lambda: load(instances='people'), 'people', 'instance maps', kind=FileNotFoundError)
  (tmp_path / 'cihp/empty').mkdir()
  fails(lambda: load(labels='empty'), 'empty', 'has no label maps (.png, .mat)',
         kind=FileNotFoundError)
  fails(lambda: load(images='empty'), 'empty', 'has no pictures', kind=FileNotFoundError)
  cv2.imwrite(f'{root}/images/a.png', np.zeros((9, 9), np.uint8))
  fails(load, 'images', "two files for 'a'", 'a.png')
  for name in ('a.png', 'a.jpg'):
    pathlib.Path(root, 'images', name).unlink()
  fails(load, 'images', '1 label maps', 'labels/a.png', kind=FileNotFoundError)
  root = write_maps(tmp_path / 'blank', {'a': _paint()}, 'labels', 'images')
  fails(lambda: load(root=root), 'labels', 'nobody', '0.5%')
