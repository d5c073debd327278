"""What the doctor finds in sets of faces with identity."""
import pytest

from configs import faces_recognition
from dslope_jax import doctor
from tests.identities import made


def config(root):
  """The config as it is shipped, whose options are those of all sets."""
  config = faces_recognition.get_config()
  config.data.root = str(root)
  return config


@pytest.fixture
def root(tmp_path):
  made.write_folders(tmp_path / 'train', {'Ann': 3, 'Ben': 3})
  made.write_folders(tmp_path / 'val', {'Cid': 2})
  for number, person in enumerate(('Cid', 'Dot')):
    made.write(tmp_path / 'val' / person / 'x.png', made.picture(50 + number))
    made.write(tmp_path / 'val' / person / 'y.png', made.picture(60 + number))
  return tmp_path


def kinds(found):
  return {s.finding.kind: s.finding for s in found.suspects}


def test_a_good_set_shares_only_what_it_shares(root):
  for number in (1, 2):  # the first two pictures were those of the training set
    (root / 'val' / 'Cid' / f'Cid_{number:04d}.png').unlink()
  found = doctor.examine(config(root))
  assert [s for of in found.values() for s in of.suspects] == []


def test_faults_of_identities_are_found(root, tmp_path):
  made.write(root / 'val' / 'Dot' / 'z.png', made.picture(60))  # a picture of Cid
  made.write(root / 'val' / 'Ann' / 'x.png', made.picture(99))
  (root / 'val' / 'Dot' / 'x.png').write_bytes(b'cut')
  found = doctor.examine(config(root))
  val = kinds(found['face_folders val'])
  assert val['pictures-of-two-identities'].count == 2
  assert val['pictures-unreadable'].count == 1 and 'Dot/x.png' in val['pictures-unreadable'].text
  assert val['identities-in-both'].count == 1 and val['pictures-in-both'].count == 2
  assert not kinds(found['face_folders train'])
  doctor.write(found, str(tmp_path / 'out'))
  assert (tmp_path / 'out' / 'contact_sheet.jpg').stat().st_size > 1000


def test_pictures_are_needed(root):
  found = doctor.examine(config(root), pictures=False)
  assert 'leave --no_pictures away' in kinds(found['face_folders train'])['set-unreadable'].text
