"""Faces under a block among clean ones: the block, the parts, and who is found, by hand."""
import cv2
import numpy as np

from experiments import gallery
from input_pipeline import identities


def test_the_block_covers_its_share_and_grows(tmp_path):
  for person in 'ab':
    (tmp_path / person).mkdir()
    for number in range(3):
      cv2.imwrite(str(tmp_path / person / f'{number}.png'), np.full((40, 40, 3), 200, np.uint8))
  people = identities.load('face_folders', 'all', root=str(tmp_path), folder='.')
  fields = ('image', 'occluded_image', 'identity')
  for share in (0, 0.1, 0.25, 0.5):
    maker = gallery.BlockMaker(people, (40, 40), None, 'none', 0, fields=fields, share=share)
    samples = [maker.evaluate(row) for row in range(6)]
    for sample in samples:
      assert sample['image'].min() > 190
      black = (sample['occluded_image'] == 0).all(-1)
      assert abs(black.mean() - share) < 0.02
      assert (sample['occluded_image'][~black] == sample['image'][~black]).all()
    again = maker.evaluate(3)['occluded_image']
    np.testing.assert_array_equal(again, samples[3]['occluded_image'])
  places = {tuple(np.argwhere((s['occluded_image'] == 0).all(-1))[0]) for s in samples}
  assert len(places) > 1


def test_pictures_of_a_person_take_turns_and_are_looked_up_in_other_parts():
  identity = np.repeat([0, 1], 5)
  part = gallery.parts(identity)
  assert part.tolist() == [0, 1, 2, 3, 4] * 2
  clean = np.eye(2)[identity]
  assert gallery.rank1(identity, part, clean, clean) == 100
  covered = clean.copy()
  covered[0] = (0, 1)  # of person 0, and looks as person 1 does
  assert gallery.rank1(identity, part, clean, covered) == 90
  alone = np.eye(10)  # each picture is like itself alone, which is in no other part
  assert gallery.rank1(identity, part, alone, alone) == 50  # the first of equals is person 0


def test_the_table_by_hand():
  cell = lambda seed, right: {'arm': 'identity_pair', 'seed': seed, 'rank1': {
    str(share): {'enet': right - share} for share in gallery.SHARES}}
  assert gallery.table([cell(0, 80), cell(1, 90)]).splitlines()[2] == (
    '| identity_pair, enet | 2 | 85 ± 7.1 | 75 ± 7.1 | 65 ± 7.1 | 55 ± 7.1 | 45 ± 7.1 | 35 ± 7.1 |')
