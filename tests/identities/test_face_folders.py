"""A folder a person: what is read, what is said of it, and what is refused."""
import unicodedata

import cv2
import numpy as np
import pytest

from dslope_jax.errors import UserError
from input_pipeline import face_crops, identities, stream
from input_pipeline.identities import pairing
from tests.identities import made
from tests.refusals import fails

PEOPLE = {'Ann': 3, 'Ben': 2, 'Cid': 4, 'Dot': 2, 'Eve': 3}


def load(root, split='all', **options):
  return identities.load('face_folders', split, root=str(root), **{'folder': '.'} | options)


def test_people_and_pictures_in_the_order_of_names(tmp_path):
  people = load(made.write_folders(tmp_path, PEOPLE))
  assert people.names == tuple(PEOPLE) and len(people) == 14 and people.notes == ()
  np.testing.assert_array_equal(people.identity, np.repeat(range(5), list(PEOPLE.values())))
  assert people.file[4] == 'Ben/Ben_0002.png' and (people.video == -1).all()
  np.testing.assert_array_equal(people.read(4), made.picture(4)[..., ::-1])  # written as BGR
  assert people.box is None and people.landmarks is None


def test_keys_and_digest_do_not_depend_on_where_the_folder_is(tmp_path):
  one = load(made.write_folders(tmp_path / 'a', PEOPLE))
  other = load(made.write_folders(tmp_path / 'b', PEOPLE | {'Fay': 2}))
  assert one.digest == load(made.write_folders(tmp_path / 'c', PEOPLE)).digest != other.digest
  np.testing.assert_array_equal(one.key, other.key[:14])


def test_a_folder_in_that_of_a_person_is_a_video(tmp_path):
  for video, count in (('a', 3), ('b', 2)):
    for number in range(count):
      made.write(tmp_path / 'Ann' / video / f'{number}.png', made.picture(number))
  made.write_folders(tmp_path, {'Ann': 1, 'Ben': 2})
  people = load(tmp_path)
  np.testing.assert_array_equal(people.video, [-1, 0, 0, 0, 1, 1, -1, -1])
  pairs = pairing.draw(people.identity, people.video, 100, 0)
  assert not {(1, 2), (1, 3), (2, 3), (4, 5)} & {tuple(pair[:2]) for pair in pairs.tolist()}


def test_people_are_divided_where_the_folder_has_no_splits(tmp_path):
  root = made.write_folders(tmp_path, PEOPLE)
  train, val = (identities.load('face_folders', split, root=root) for split in ('train', 'val'))
  assert len(val.names) == 1 and len(train.names) == 4
  assert sorted((*train.names, *val.names)) == sorted(PEOPLE)
  assert len(train) + len(val) == 14 and 'divided into train and val' in train.notes[0]
  np.testing.assert_array_equal(np.unique(train.identity), range(4))
  row = train.file.tolist().index(f'{train.names[-1]}/{train.names[-1]}_0001.png')
  whole = load(root)
  np.testing.assert_array_equal(
    train.read(row), whole.read(whole.file.tolist().index(train.file[row])))
  two = identities.load('face_folders', 'val', root=root, held_out=2, seed=1)
  assert len(two.names) == 2
  fails(lambda: identities.load('face_folders', 'test', root=root), "there is no 'test'")
  fails(lambda: load(root, 'val', held_out=5), 'held_out is 5', '5 identities', '1 to 4')
  fails(lambda: load(root, 'val', held_out=True), 'held_out', 'not a whole number')
  fails(lambda: load(root, folder='{x}'), "there is no folder", '{x}', 'data.loader.folder')
  alone = made.write_folders(tmp_path / 'alone', {'Ann': 3})
  fails(lambda: load(alone, 'val', folder=''), '1 identity', 'get pictures of others')


def test_splits_are_folders_where_the_root_has_them(tmp_path):
  made.write_folders(tmp_path / 'train', PEOPLE)
  made.write_folders(tmp_path / 'test', {'Fay': 2, 'Gus': 2})
  people = identities.load('face_folders', 'test', root=str(tmp_path))
  assert people.names == ('Fay', 'Gus')
  fails(lambda: identities.load('face_folders', 'val', root=str(tmp_path)),
        "has the splits train, test, not 'val'")


def test_what_is_odd_is_said_in_a_line_each(tmp_path):
  made.write_folders(tmp_path, {'Ann': 1, 'ann': 2, 'Ben': 2})
  (tmp_path / 'Zoe').mkdir()
  (tmp_path / 'Ben' / 'notes.txt').write_text('x')
  (tmp_path / 'Ben' / 'link.jpg').symlink_to(tmp_path / 'nothing.jpg')
  (tmp_path / 'Ben' / 'video' / 'deep').mkdir(parents=True)
  made.write(tmp_path / 'loose.png', made.picture(0))
  (tmp_path / '.cache').mkdir()
  notes = load(tmp_path).notes
  assert notes == (
    "left out: 1 folder without pictures, such as 'Zoe'",
    "left out: 4 files, no picture of a person, such as 'loose.png'",
    "'Ann' and 'ann' count as two identities; are they one?",
    "1 identity has a single picture, such as 'Ann': kept in training, and never a genuine pair")


def test_names_that_differ_in_the_form_of_their_letters_are_told(tmp_path):
  names = [unicodedata.normalize(form, 'José') for form in ('NFC', 'NFD')]
  made.write_folders(tmp_path, dict.fromkeys(names, 2))
  people = load(tmp_path)
  if len(people.names) == 2:  # some file systems take them for one name
    assert 'are they one?' in people.notes[0]


def test_a_single_picture_is_trained_on_and_never_in_a_genuine_pair(tmp_path):
  people = load(made.write_folders(tmp_path, {'Ann': 1, 'Ben': 3, 'Cid': 2}))
  maker = face_crops.FaceMaker(people, (16, 16), None, 'none', 0, face_crops.Augmentation())
  seen = [sample['identity'] for sample in stream.first_samples(maker, 6)]
  assert sorted(seen) == [0, 1, 1, 1, 2, 2]
  pairs = pairing.draw(people.identity, people.video, 100, 0)
  assert 0 not in people.identity[pairs[pairs[:, 2] == 1, :2]]


@pytest.mark.parametrize('make', [
  lambda image: image[..., 0],  # grey
  lambda image: image.astype(np.uint16) * 257,
  lambda image: image[..., 0].astype(np.uint16) * 257,
  lambda image: np.dstack([image, image[..., :1]])], ids=['grey', '16', 'grey16', 'alpha'])
def test_pixels_of_any_kind_become_rgb(tmp_path, make):
  made.write_folders(tmp_path, {'Ben': 2})
  made.write(tmp_path / 'Ann' / '1.png', make(made.picture(0)))
  image = load(tmp_path).read(0)
  assert image.shape == (48, 40, 3) and image.dtype == np.uint8
  grey = make(made.picture(0)).ndim == 2
  expected = made.picture(0)[..., :1].repeat(3, 2) if grey else made.picture(0)[..., ::-1]
  np.testing.assert_array_equal(image, expected)


def test_a_broken_picture_is_named_in_a_line(tmp_path):
  made.write_folders(tmp_path, {'Ann': 2, 'Ben': 2})
  (tmp_path / 'Ann' / 'Ann_0001.png').write_bytes(b'no picture')
  people = load(tmp_path)
  with pytest.raises(OSError, match=r"picture '.*Ann/Ann_0001.png' is broken"):
    people.read(0)


def test_exif_turns_are_applied(tmp_path):
  pillow = pytest.importorskip('PIL.Image')
  made.write_folders(tmp_path, {'Ben': 2})
  (tmp_path / 'Ann').mkdir()
  exif = pillow.Exif()
  exif[0x112] = 6
  pillow.fromarray(made.picture(0)).save(tmp_path / 'Ann' / '1.png', exif=exif)
  np.testing.assert_array_equal(load(tmp_path).read(0), np.rot90(made.picture(0), -1))


def test_folders_without_people_are_refused(tmp_path):
  fails(lambda: load(tmp_path / 'none'), "there is no folder '", '--config.data.root=FOLDER')
  fails(lambda: load(tmp_path), 'has no folders with pictures')
  cv2.imwrite(str(tmp_path / 'loose.jpg'), made.picture(0))
  fails(lambda: load(tmp_path), 'has pictures, but no folders with pictures')
  (tmp_path / 'Ann').mkdir()
  fails(lambda: load(tmp_path), 'has pictures, but no folders with pictures')
  fails(lambda: load(tmp_path, folder='people'), "there is no folder '", 'data.loader.folder')


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path):
  path = tmp_path / 'lfw.bin'
  path.write_bytes(b'\x80\x04N.')
  for name in ('face_folders', 'lfw', 'packed'):
    fails(lambda name=name: identities.load(name, 'test', root=str(path)),
          'is a pickle, which can run code', '--config.data.name=lfw')


def test_names_of_sets_and_options():
  fails(lambda: identities.load('nobody', 'train'), "no input_pipeline/identities/nobody.py")
  fails(lambda: identities.load('face_folders', 'train'), "needs root=...")
  with pytest.raises(UserError, match="takes root, folder, held_out, seed, not 'people'"):
    identities.load('face_folders', 'train', root='x', people=1)
