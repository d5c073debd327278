"""Embeddings of faces in any pictures: the encoder, and the command that writes them."""
import numpy as np
import pytest

from dslope_jax import tasks
from dslope_jax.evaluation import engine
from dslope_jax.face_encoder import FaceEncoder
from dslope_jax.predictor import Predictor
from dslope_jax.training import checkpointing, sharding, train_state
from input_pipeline import face_alignment, identities
from tests import tiny_recognition
from tests.identities import made
from tests.predict import folders
from tests.refusals import fails
from tools import encode_faces, publish


def like_faces(truth):
  """Landmarks of the mean face within each box."""
  for entry in truth['annotations']:
    points = face_alignment.standing_in(np.array(entry['bbox']))
    entry['keypoints'] = np.column_stack([points, np.full(68, 2)]).ravel().tolist()


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(the config of a pair with fresh weights, on files with 68 landmarks, its folder)."""
  folder = tmp_path_factory.mktemp('run')
  config = tiny_recognition.config()
  data = str(folder / 'data')
  made.write_coco(data, 'train', edit=like_faces)
  made.write_coco(data, 'val', first=4, edit=like_faces)
  config.data.update(dict(name='coco', root=data, train_split='train'))
  config.data.loader = config.evals.val.data.loader = {}
  config.data.loader.skeleton = '300w'
  config.evals.val.update(dict(split='val', recipe='none'))
  (folder / 'run').mkdir()
  folders.write(config, folder / 'run')
  return config, str(folder / 'run')


def evaluated(config, folder):
  """{output: (N,D)} of the pictures of val, as eval.py has them."""
  task = tasks.build(config, folder, training=False)
  weights, _ = checkpointing.restore_weights(
    folder, train_state.weight_shapes(task.system, task.example))
  entry = task.evals['val']
  mesh = sharding.make_mesh()
  outputs = engine.Engine(task.system, entry, mesh).predict(
    sharding.replicate(weights, mesh), entry.rows, entry.batches())
  return {name: fields['embedding'] for name, fields in outputs.items() if '/' in name}


@pytest.mark.slow
@pytest.mark.parametrize('crop', ['landmarks', 'box'])
def test_embeddings_are_those_of_the_evaluation(run, crop):
  config, folder = run
  config = config.copy_and_resolve_references()
  config.data.crop = crop
  faces = identities.load('coco', 'val', root=config.data.root, skeleton='300w')
  paths = [faces.path(row) for row in range(len(faces))]
  boxes = [faces.box[row][None] for row in range(len(faces))]
  points = [faces.landmarks[row][None] for row in range(len(faces))]
  expected = evaluated(config, folder)
  encoder = FaceEncoder(folder)
  assert encoder.answer == 'enet' and 'unit' in encoder.serving.unit
  landmarks = (points, '300w') if crop == 'landmarks' else ()
  found = np.concatenate(encoder(paths, boxes, *landmarks))
  np.testing.assert_allclose(found, expected['enet/clean'], atol=1e-5)
  both = np.concatenate(FaceEncoder(folder + ':mean')(paths, boxes, *landmarks))
  np.testing.assert_allclose(both @ both.T, sum(
    expected[f'{net}/clean'] @ expected[f'{net}/clean'].T for net in ('gnet', 'enet')) / 2,
                             atol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_faces_of_a_picture(run):
  encoder = FaceEncoder(run[1])
  image = made.picture(3, (64, 48))
  boxes = np.array([(4, 4, 20, 20), (30, 10, 20, 24)])
  two, none, whole = encoder([image, image, image], [boxes, [], [(0, 0, 63, 47)]])
  assert two.shape == (2, 8) and none.shape == (0, 8) and whole.shape == (1, 8)
  np.testing.assert_allclose(encoder([image], [boxes[1:]])[0], two[1:], atol=1e-5)
  assert encoder([]) == []
  # Five points: turned with the picture they give the same crop, but for the edges of pixels.
  five = face_alignment.TEMPLATE / 2 + (4, -10)
  upside_down = (63, 47) - five
  turned = np.ascontiguousarray(image[::-1, ::-1])
  (one,), (other,) = encoder([image, turned], landmarks=[five[None], upside_down[None]])
  np.testing.assert_allclose(one, other, atol=1e-3)
  assert not np.allclose(one, two[0], atol=1e-2)


@pytest.mark.slow
def test_what_is_refused(run):
  config, folder = run
  encoder, image = FaceEncoder(folder), made.picture(3)
  five = face_alignment.TEMPLATE[None] / 3
  fails(lambda: encoder([image], landmarks=[five[:, [1, 0, 2, 4, 3]]]), 'left and right exchanged')
  fails(lambda: encoder([image], landmarks=[np.zeros((1, 68, 2))]), '(P,5,2)', '(1, 68, 2)')
  fails(lambda: encoder([image], landmarks=[five * np.nan]), 'finite numbers')
  fails(lambda: encoder([image], landmarks=[[['a']]]), 'arrays of numbers')
  fails(lambda: encoder([image], [[(0, 0, 9, 9)] * 2], [five]), '2 boxes and landmarks of 1')
  fails(lambda: encoder([image], []), '1 pictures and boxes of 0')
  fails(lambda: encoder([image], landmarks=[np.zeros((1, 17, 2))], skeleton='coco'), 'lack an eye')
  fails(lambda: FaceEncoder(folder + ':pick'), 'gives', 'mean')
  fails(lambda: Predictor(folder), 'who they are of', 'not boxes in pictures')
  given = publish._parse(['--weights', folder, '--out', folder + '_published'])
  fails(lambda: publish.publish(given), "'recognition' put out no poses", 'convert_weights')


def call(*arguments, code=0):
  if not code:
    return encode_faces.main([str(part) for part in arguments])
  with pytest.raises(SystemExit) as raised:
    encode_faces.main([str(part) for part in arguments])
  assert raised.value.code == code


@pytest.mark.slow
def test_the_command(run, tmp_path, capsys):
  config, folder = run
  data, out = config.data.root, tmp_path / 'faces.npz'
  call('--weights', folder, '--out', out, f'{data}/val')
  assert 'every picture is one face' in capsys.readouterr().out
  with np.load(out) as found:
    assert {name: values.shape for name, values in found.items()} == {
      'embedding': (12, 8), 'picture': (12,), 'frame': (12,), 'box': (12, 4)}
    whole = found['embedding']
    assert found['picture'][0].endswith('004_00.jpg') and (found['frame'] == -1).all()
    np.testing.assert_allclose(whole, np.concatenate(FaceEncoder(folder)(list(found['picture']))),
                               atol=1e-5)
  call('--weights', folder, '--boxes', f'{data}/val.json', '--out', out, f'{data}/val')
  assert '12 faces' in capsys.readouterr().out
  with np.load(out) as found:
    assert not np.allclose(found['embedding'], whole, atol=1e-3) and found['box'][:, 2].max() < 40
  call('--weights', folder, '--out', tmp_path / 'faces.txt', data, code=1)
  assert 'ends with .npz' in capsys.readouterr().err
  (tmp_path / 'no.jpg').write_bytes(b'nothing')
  call('--weights', folder, '--out', tmp_path / 'b.npz', tmp_path / 'no.jpg', code=1)
  assert 'nothing could be read' in capsys.readouterr().err and not (tmp_path / 'b.npz').exists()


@pytest.mark.slow
def test_landmarks_of_an_alignment_bring_faces_onto_the_template(run, tmp_path, capsys,
                                                                 monkeypatch):
  """With the weights of faces' keypoints, here ones that find the truth."""
  config, folder = run
  faces = identities.load('coco', 'val', root=config.data.root, skeleton='300w')

  class Points:
    """In place of `Predictor`."""
    about = 'the truth'
    facts = type('Facts', (), {'skeleton': faces.skeleton})
    row = -1

    def __init__(self, weights):
      assert weights == 'POINTS'

    def __call__(self, images, boxes):
      self.row += 1
      np.testing.assert_allclose(boxes[0], faces.box[self.row][None], atol=1.01)
      return [type('People', (), {'keypoints': faces.landmarks[self.row][None]})]

  monkeypatch.setattr(encode_faces, 'Predictor', Points)
  call('--weights', folder, '--points', 'POINTS', '--boxes', f'{config.data.root}/val.json',
       '--out', tmp_path / 'faces.npz', f'{config.data.root}/val')
  with np.load(tmp_path / 'faces.npz') as found:
    np.testing.assert_allclose(found['embedding'], evaluated(config, folder)['enet/clean'],
                               atol=1e-5)
  # A face whose left and right were taken for each other is told, and the others are not lost.
  faces.landmarks[3] = faces.landmarks[3][list(faces.skeleton.flip_order)]
  capsys.readouterr()
  call('--weights', folder, '--points', 'POINTS', '--boxes', f'{config.data.root}/val.json',
       '--out', tmp_path / 'faces.npz', f'{config.data.root}/val')
  told = capsys.readouterr().out
  assert '005_00.jpg' in told and 'is left out' in told and '11 faces, 1 problem' in told
  with np.load(tmp_path / 'faces.npz') as found:
    assert len(found['embedding']) == len(found['box']) == 11


def test_pictures_that_the_boxes_do_not_name_are_told(run, tmp_path, capsys):
  config, folder = run
  other = made.write_folders(tmp_path / 'more', {'ann': 1})
  call('--weights', folder, '--boxes', f'{config.data.root}/val.json', '--out',
       tmp_path / 'faces.npz', f'{config.data.root}/val', other)
  assert 'it does not name 1 of 13 files' in capsys.readouterr().out
