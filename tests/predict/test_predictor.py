"""The predictor as a library: it answers what the evaluation answers, whoever asks."""
import json

import jax
import numpy as np
import pytest
import safetensors.numpy

import eval as evaluation_script
from dslope_jax import loading, models, skeletons
from dslope_jax.predictor import Predictor
from dslope_jax.tasks.people import load_source
from dslope_jax.weights import pytorch
from tests import tiny
from tests.predict import folders
from tests.refusals import fails


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(work folder of a pair with an average, evaluated; its evaluated people)."""
  config, workdir = folders.make(tmp_path_factory.mktemp('pair'), ema=0.5)
  config.evals.val.flip = False  # which halves what is compiled
  evaluation_script.evaluate(config, str(workdir))
  return workdir, load_source(config, 'val')


@pytest.mark.parametrize('answer', ['enet', 'pick', 'gate'])
def test_answers_are_those_of_the_evaluation(run, answer):
  workdir, people = run
  (file,) = workdir.glob(f'eval_7/val/predictions_{answer}_clean.json')
  stored = {pose['image_id']: pose for pose in json.loads(file.read_text())}
  predict = Predictor(workdir if answer == 'gate' else f'{workdir}:{answer}', flip=False)
  found = predict([people.read(row) for row in range(4)], people.box[:4, None])
  assert predict.answer == answer and 'moving average' in predict.about
  for row, of_picture in enumerate(found):
    wanted = stored[people.image_id[row]]
    joints = np.reshape(wanted['keypoints'], (-1, 3))
    np.testing.assert_array_equal(of_picture.boxes, people.box[row:row + 1])
    # Batches of other sizes are other programs, whose last bits differ on some processors.
    np.testing.assert_allclose(of_picture.keypoints[0], joints[:, :2], atol=1e-3)
    np.testing.assert_allclose(of_picture.scores[0], joints[:, 2], atol=1e-5)
    for field in ('right', 'visible'):
      if field in wanted:
        np.testing.assert_allclose(getattr(of_picture, field)[0], wanted[field], atol=1e-4)
    assert of_picture.present is None and of_picture.right.shape == (1, 17)
    assert of_picture.visible.shape == (1, 17)


@pytest.fixture(scope='module')
def single(tmp_path_factory):
  """(config, work folder) of a run of one network, without an evaluation."""
  return folders.make(tmp_path_factory.mktemp('single'), kind=None)


@pytest.fixture(scope='module')
def predict(single):
  return Predictor(single[1])


def test_calls_have_a_few_sizes_and_compile_once_each(predict, monkeypatch):
  monkeypatch.setattr(predict, 'buckets', (1, 4))
  picture = np.zeros((20, 30, 3), np.uint8)
  traced, trace = [], predict._predict
  monkeypatch.setattr(predict, '_predict', lambda *given: traced.append(given[1]) or trace(*given))
  for people in (3, 4, 7, 1, 9, 0, 2):
    (found,) = predict([picture], [np.full((people, 4), 9)])
    assert len(found) == people and found.keypoints.shape == (people, 17, 2)
    assert found.right is None and found.visible is None and found.present is None
  assert sorted(len(batch['image']) for batch in traced) == [1, 4]


def test_pieces_cover_everybody_with_little_padding():
  for count in range(300):
    pieces = loading._pieces(count, loading.BUCKETS)
    covered = [row for start, stop, _ in pieces for row in range(start, stop)]
    assert covered == list(range(count))
    assert all(size in loading.BUCKETS and 2 * (stop - start) > size
               for start, stop, size in pieces)


def test_people_stay_with_their_pictures(predict):
  """Nobody's answer depends on who else is asked for."""
  rng = np.random.default_rng(0)
  sides = (50, 40), (1, 1), (9, 90)
  images = [rng.integers(0, 255, (*side, 3)).astype(np.uint8) for side in sides]
  boxes = [[(3, 3, 20, 30), (5, 9, 8, 8)], [], [(-5, -5, 200, 30)]]
  together = predict(images, boxes)
  assert [len(people) for people in together] == [2, 0, 1]
  for image, box, people in zip(images, boxes, together, strict=True):
    (alone,) = predict([image], [box])
    np.testing.assert_allclose(people.keypoints, alone.keypoints, atol=1e-2)
    np.testing.assert_allclose(people.scores, alone.scores, rtol=1e-4, atol=1e-5)
  assert predict([]) == []
  (whole,) = predict([images[1]])
  assert whole.boxes.tolist() == [[0, 0, 1, 1]]


def test_a_run_and_its_exported_weights_agree(single, predict, tmp_path):
  name, arguments, variables = pytorch.export(single[1], 'net')
  pytorch.save(tmp_path, name, arguments, variables)
  image = np.random.default_rng(1).integers(0, 255, (60, 50, 3)).astype(np.uint8)
  wanted, = predict([image])
  other = Predictor(tmp_path, size=(32, 64))
  found, = other([image])
  np.testing.assert_array_equal(found.keypoints, wanted.keypoints)
  np.testing.assert_array_equal(found.scores, wanted.scores)
  assert other.facts.skeleton == skeletons.COCO and other.answer == 'net'
  assert 'vitpose (depth 1, width 24), 17 keypoints of coco' in other.about
  assert 'crops of 32x64, codec udp' in other.about
  without_flip, = Predictor(tmp_path, size=(32, 64), flip=False)([image])
  assert not np.array_equal(without_flip.scores, wanted.scores)


def test_the_architecture_of_a_bare_file_is_told(tmp_path):
  """In mmpose's layout, at its usual size, with keypoints that are told by their number."""
  model = models.build(num_keypoints=16, **tiny.MODEL)
  shapes = jax.eval_shape(model.lazy_init, jax.random.key(0),
                          jax.ShapeDtypeStruct((1, 64, 64, 3), 'float32'))
  zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
  pytorch.save(tmp_path, 'simple_baseline', {}, zeros, prefixed=True)
  predict = Predictor(tmp_path / 'model.safetensors')
  assert predict.facts == (skeletons.MPII, (256, 256), 0, 0)
  assert 'simple_baseline (depth 10, width 8), 16 keypoints of mpii' in predict.about
  assert 'crops of 256x256, codec hrnet' in predict.about


@pytest.mark.slow
def test_weights_that_cannot_predict(single, tmp_path):
  _, workdir = single
  name, arguments, variables = pytorch.export(workdir, 'net')
  state = pytorch.to_state_dict(name, variables)

  arguments.pop('num_keypoints')
  pytorch.save(tmp_path, name, arguments, variables)
  weights = tmp_path / 'model.safetensors'

  def written(change):
    safetensors.numpy.save_file(change(dict(state)), weights)
    return str(tmp_path)

  bird = written(lambda s: s | {k: s[k][:14].copy() for k in s if 'final_layer' in k})
  fails(lambda: Predictor(bird), '8 position embeddings do not tell the size')
  fails(lambda: Predictor(bird, size=(32, 64)), '14 keypoints', 'crowdpose, lsp')
  fails(lambda: Predictor(bird, size=(32, 64), skeleton='mpii'), '14 keypoints')
  fails(lambda: Predictor(bird, skeleton='fish'), "not 'fish'")
  assert Predictor(bird, skeleton='lsp', size=(32, 64)).facts.skeleton == skeletons.LSP
  trunk = written(lambda s: {k: v for k, v in s.items() if 'final_layer' not in k})
  fails(lambda: Predictor(trunk, size=(32, 64)), 'no head')
  fails(lambda: Predictor(workdir, size=(192, 256)), 'was trained with 32x64')
  fails(lambda: Predictor(f'{workdir}:pick'), "gives net, not 'pick'")
  safetensors.numpy.save_file({'a.weight': np.zeros((2, 2), np.float32)}, weights)
  fails(lambda: Predictor(weights), 'none of the networks')
  (tmp_path / 'config.json').write_text('{')
  fails(lambda: Predictor(tmp_path), 'config.json', 'is broken')


def test_pictures_and_boxes_that_are_none(predict):
  image = np.zeros((20, 30, 3), np.uint8)
  for wrong in (image[..., 0], image.astype(float), np.zeros((0, 5, 3), np.uint8)):
    fails(lambda wrong=wrong: predict([wrong]), 'a picture is an array (H,W,3) of uint8')
  fails(lambda: predict(image), 'give a list')
  for wrong in ([[(1, 2, 3)]], [[(1, 2, 3, np.nan)]], [(1, 2, 3, 4)]):
    fails(lambda wrong=wrong: predict([image], wrong), 'boxes of a picture are an array (P,4)')
  for flat in ((9, 9, 0, 0), (9, 9, 0, 5), (9, 9, 5, -1)):
    fails(lambda flat=flat: predict([image], [[(1, 2, 3, 4), flat]]), 'box 1 of a picture is',
          '9.0', 'both sides must be above 0')
  fails(lambda: predict([image], []), '1 pictures and boxes of 0')
  fails(lambda: predict(['no.jpg']), "'no.jpg'", kind=OSError)


def test_key_points_of_supervision(predict):
  supervision = pytest.importorskip('supervision', reason='an interface to that package')
  people, = predict([np.zeros((20, 30, 3), np.uint8)], [[(1, 1, 9, 9), (2, 2, 9, 9)]])
  found = people.to_supervision()
  assert isinstance(found, supervision.KeyPoints) and found.xy.shape == (2, 17, 2)
  np.testing.assert_array_equal(found.keypoint_confidence, people.scores)
