"""Faces under a block among clean ones: the block, the parts, and who is found, by hand."""
import cv2
import numpy as np

from dslope_jax.training import workdir
from experiments import faces, gallery
from input_pipeline import identities
from tests.refusals import fails


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
  percent = lambda *views: gallery.scores(identity, part, {'net': views})['rows']['net/covered']
  assert percent(clean, clean) == {'rank1': 100}
  covered = clean.copy()
  covered[0] = (0, 1)  # of person 0, and looks as person 1 does
  assert percent(clean, covered) == {'rank1': 90}
  alone = np.eye(10)  # each picture is like itself alone, which is in no other part
  assert percent(alone, alone) == {'rank1': 50}  # the first of equals is person 0


def test_who_has_one_picture_is_not_sought():
  identity = np.array([0, 0, 1, 1, 2])
  seen = np.eye(3)[identity]
  found = gallery.scores(identity, gallery.parts(identity), {'net': (seen, seen)})
  assert found['rows'] == {'net/covered': {'rank1': 100}}
  assert found['samples'] == {'net/covered': [[0, 200, 2], [1, 200, 2], [2, 0, 0]]}


def test_a_run_that_is_not_finished_is_refused(tmp_path):
  fails(lambda: gallery.run_cell('identity_pair', 0, 'ORL', str(tmp_path)), 'there is no run',
        'experiments/faces.py')
  folder = tmp_path / 'identity_pair_seed0'
  folder.mkdir()
  workdir.check_config(faces.config_of('identity_pair', 0, 'FOLDER', '9 steps'), str(folder), False)
  (folder / 'checkpoints' / '4').mkdir(parents=True)
  fails(lambda: gallery.run_cell('identity_pair', 0, 'ORL', str(tmp_path)), 'at step 4 of 9 steps')


def test_the_table_by_hand():
  def cell(arm, network, seed, right):
    of = lambda share: {f'{network}/covered': right - share}
    return {'arm': arm, 'seed': seed, 'results': {str(share): {
      'rows': {row: {'rank1': value} for row, value in of(share).items()},
      'samples': {row: [[0, value, 1], [1, value, 1]] for row, value in of(share).items()}}
      for share in gallery.SHARES}}

  lines = gallery.table([cell('identity_pair', 'enet', 0, 80), cell('identity_pair', 'enet', 1, 90),
                         cell('identity_occluded', 'net', 1, 85)]).splitlines()
  assert lines[0].endswith('(small open set, not the official protocol)')
  assert lines[4].startswith('| identity_pair, enet | 2 | 85.00 ± 7.07 [85.00, 85.00] | 75.00 ± ')
  assert lines[5].startswith('| less the plain one | 1 | +5.00 [+5.00, +5.00] | +5.00 ')
  assert lines[5].count('|') == 9
