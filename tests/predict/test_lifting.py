"""From 2D keypoints and videos to 3D: the lifter, and predict.py --lift."""
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import predict
from dslope_jax import joint_mapping
from dslope_jax.cameras import normalise_screen
from dslope_jax.lifter import Lifter
from dslope_jax.predictor import Predictor
from dslope_jax.skeletons import COCO, H36M, MPII
from dslope_jax.tasks import lifting
from dslope_jax.training import init_from
from dslope_jax.training import workdir as workdirs
from dslope_jax.weights import pytorch
from input_pipeline import windows
from input_pipeline.clips import ClipMaker
from input_pipeline.sources.pictures import read_picture
from tests import tiny_lifting
from tests.predict import folders
from tests.predict.test_media import write_picture, write_video
from tests.predict.typed import caller
from tests.refusals import fails
from tests.sequences import made
from tools import publish
from train import train

FRAMES = 9  # of a clip
SIZE = 640, 480


def config_of(folder, words, target):
  """Of a run of two steps on the motion of `made`, which is not evaluated."""
  config = tiny_lifting.config(2, words, target=target, frames=FRAMES, name='cmu_mocap',
                               root=str(folder / 'data'))
  config.data.loader = {'split_file': '', 'cameras': 4, 'seed': 0}
  config.evals = {}
  return config


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """{name: work folder}: 'mm' is trained, with confidence and a moving average; 'image', without a
  scale, and 'pair' have fresh weights."""
  folder = tmp_path_factory.mktemp('lift')
  made.small_cmu(folder / 'data')
  config = config_of(folder, '', 'camera')
  config.ema_decay, config.system.model.input_channels = 0.5, 3
  train(config, str(folder / 'mm'))
  for name, words, target in ('image', 'entangled', 'image'), ('pair', 'pair', 'camera'):
    (folder / name).mkdir()
    config = config_of(folder, words, target)
    if name == 'pair':
      config.system.model.depth_prior = 'gaussian_frozen'  # is kept beside the parameters
    folders.write(config, folder / name)
  return {name: str(folder / name) for name in ('mm', 'image', 'pair')}


lifter_of = functools.cache(Lifter)


def walk(frames, skeleton=H36M, seed=0):
  """(keypoints, confidence) of somebody who walks in pictures of SIZE."""
  rng = np.random.default_rng(seed)
  points = made.motion(frames, seed)[..., :2] * (0.2, -0.2) + (300, 400)
  if skeleton != H36M:
    points = points[:, :skeleton.num_keypoints]
  return points, rng.uniform(0.3, 1, points.shape[:2])


@pytest.mark.parametrize('frames', [1, FRAMES - 2, FRAMES, 4 * FRAMES + 3])
def test_poses_are_those_of_the_networks_on_padded_clips(runs, frames):
  lifter = lifter_of(runs['mm'])
  points, confidence = walk(frames)
  found = lifter(points, confidence, SIZE, 'h36m')
  assert found.shape == (frames, 17, 3) and lifter.unit == 'mm' and 'average' in lifter.about
  assert np.abs(found[:, 0]).max() == 0 and np.abs(found).max() > 1
  clips = -(-frames // FRAMES)
  rows = np.minimum(np.arange(clips * FRAMES), frames - 1).reshape(clips, FRAMES)
  places = normalise_screen(points, *SIZE).astype(np.float32)
  wanted = [lifter._run(lifter.weights, {
    'keypoints_2d': places[of][None], 'confidence': confidence.astype(np.float32)[of][None]})
    ['net/clean']['keypoints_3d'] for of in rows]
  np.testing.assert_allclose(found, np.reshape(wanted, (-1, 17, 3))[:frames] * 1000, rtol=1e-3,
                             atol=0.05)
  less = lifter(points, confidence / 2, SIZE, 'h36m')
  assert np.abs(less - found).max() > 1e-3  # the confidence is looked at


def test_pixels_become_what_the_networks_were_trained_on(runs):
  lifter, config = lifter_of(runs['mm']), workdirs.settings(runs['mm'])
  source = lifting.load(config, 'val')
  maker = ClipMaker(source, windows.of(source, FRAMES, FRAMES, 'drop'), 'exact', 0, 'camera')
  sample, (_, _, clip) = maker.evaluate(1), maker.clip(1)
  wanted = lifter._run(lifter.weights, {
    field: sample[field][None] for field in ('keypoints_2d', 'confidence')})
  found = lifter(clip.keypoints_2d, clip.confidence, clip.camera.size, source.skeleton)
  np.testing.assert_allclose(found, wanted['net/clean']['keypoints_3d'][0] * 1000, rtol=1e-3,
                             atol=0.05)


@pytest.mark.slow
def test_units_networks_and_joints(runs):
  points, confidence = walk(12)
  image = lifter_of(runs['image'])
  assert image.unit == 'half picture width' and image.answer == 'net'
  pair, gnet = lifter_of(runs['pair']), lifter_of(runs['pair'] + ':gnet')
  assert pair.answer == 'enet' and set(pair.answers) == {'gnet', 'enet'} and gnet.answer == 'gnet'
  one, other = (net(points, confidence, SIZE, H36M) for net in (pair, gnet))
  assert np.abs(one - other).max() > 1e-3
  points, confidence = walk(12, MPII)
  joints = joint_mapping.convert(points, confidence, MPII, H36M)
  np.testing.assert_array_equal(image(points, confidence, SIZE, 'mpii'),
                                image(*joints, SIZE, 'h36m'))


@pytest.mark.slow
def test_training_starts_from_what_was_published(runs, tmp_path):
  published = {name: tmp_path / name for name in ('mm', 'pair')}
  for name, out in published.items():
    publish.publish(publish._parse(['--weights', runs[name], '--license', 'mit',
                                    '--out', str(out)]))
  for name, of, spec in (('mm', 'net', ''), ('pair', 'enet', ':enet')):
    lifter = lifter_of(runs[name])
    network = lifter.serving.system.networks[of]
    own = {kind: tree.get(of, {}) for kind, tree in lifter.weights.items()}
    blank = jax.tree.map(jnp.zeros_like, own)
    found, text = init_from.load(f'{published[name]}{spec}', of, blank, network, (0, 0))
    assert str(published[name]) in text
    jax.tree.map(np.testing.assert_array_equal, found, own)
  wrong = own | {'params': own['params'] | {'more': np.zeros(3)}}
  fails(lambda: init_from.load(f'{published["pair"]}:enet', 'enet', wrong, network, (0, 0)),
        "'more' is absent, and (3,)", 'model.safetensors')
  fails(lambda: pytorch.export(runs['mm'], 'net'), 'no names for pose_moe', 'tools/publish.py')


def test_a_larger_picture_of_the_same_gives_the_same(runs):
  lifter, (points, confidence) = lifter_of(runs['mm']), walk(10)
  one = lifter(points, confidence, SIZE, H36M)
  other = lifter(points * 2, confidence, (1280, 960), H36M)
  np.testing.assert_allclose(one, other, rtol=1e-3, atol=0.01)


def test_refused(runs, tmp_path):
  lifter, (points, confidence) = lifter_of(runs['mm']), walk(4)
  fails(lambda: lifter(points, confidence, SIZE, 'fish'), "not 'fish'")
  fails(lambda: lifter(points[:, :14], confidence[:, :14], SIZE, 'crowdpose'),
        'h36m, coco, mpii, lsp')
  fails(lambda: lifter(points, confidence, SIZE, 'mpii'), '(F,16,2)', '(4, 17, 2)')
  fails(lambda: lifter(points * np.nan, confidence, SIZE, H36M), 'finite')
  fails(lambda: lifter(points, confidence + 1, SIZE, H36M), '0 to 1')
  fails(lambda: lifter(points * 1e30, confidence, SIZE, H36M), 'finite')
  for wrong in ('x', None, [[1, 2], [3]], 3):
    fails(lambda wrong=wrong: lifter(wrong, confidence, SIZE, H36M), 'keypoints', 'confidence')
  for size in ((0, 480), (-640, 480), (640, 480, 3), None, ('a', 'b'), (np.nan, 480)):
    fails(lambda size=size: lifter(points, confidence, size, H36M), 'size of the pictures')
  fails(lambda: Lifter(runs['mm'] + ':enet'), "gives net, not 'enet'")
  fails(lambda: Lifter(tmp_path / 'nothing'), 'is no run of the task lifting')
  fails(lambda: Predictor(runs['mm']), "task 'lifting'", 'take tracks of 2D keypoints')


@pytest.mark.parametrize('name, answer', [('mm', 'net'), *(
  pytest.param(*of_pair, marks=pytest.mark.slow)
  for of_pair in (('pair', 'enet'), ('pair:gnet', 'net')))])
def test_a_published_folder_answers_as_its_run(runs, tmp_path, name, answer):
  name, colon, half = name.partition(':')
  own, out = runs[name] + colon + half, tmp_path / 'out'
  publish.main(['--weights', own, '--out', str(out)])
  other, given = Lifter(out), (*walk(5), SIZE, H36M)
  assert other.answer == answer
  np.testing.assert_array_equal(other(*given), lifter_of(own)(*given))
  card = (out / 'README.md').read_text()
  assert "Lifter('THIS_FOLDER')" in card and 'in mm.' in card and '2D keypoints in 9 frames' in card
  assert 'a reconstruction of PoseMoE' in card and 'heatmaps' not in card and '\n\n\n' not in card
  changed = json.loads((out / 'config.json').read_text())
  model = changed['system']['model']
  (out / 'config.json').write_text(json.dumps(changed | {'system': changed['system'] | {
    'model': model | {'width': 16}}}))
  fails(lambda: Lifter(out), 'are not of the network that its config.json names')


@pytest.fixture(scope='module')
def run_2d(tmp_path_factory):
  """A work folder of one network of crops."""
  return str(folders.make(tmp_path_factory.mktemp('plain'), kind=None)[1])


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
  """Runs predict.py; gives (content of poses_3d.json, printed), or what is printed of an error."""
  out = tmp_path / 'out'
  monkeypatch.setattr(predict, 'Lifter', lifter_of)
  return caller(out, 'poses_3d.json', capsys)


def tracks_file(path, people, skeleton=COCO, missing=()):
  """Writes COCO results of people {track_id: frames} of a file a/v.mp4; returns what is in them."""
  found = {}
  for person, frames in people.items():
    found[person] = walk(frames, skeleton, person)
  entries = [{'file': 'a/v.mp4', 'frame': frame + 5, 'track_id': person, 'category_id': 1,
              'image_id': frame, 'score': 1.0, 'keypoints': np.concatenate(
                [points[frame], sure[frame, :, None]], 1).ravel().tolist()}
             for person, (points, sure) in found.items() for frame in range(len(points))
             if frame not in missing]
  path.write_text(json.dumps(entries[::-1]))
  return found


def test_a_file_of_tracks(command, runs, tmp_path):
  path = tmp_path / 'poses.json'
  people = tracks_file(path, {3: 12, 1: 4}, missing=(2,))
  poses, printed = command('--lift', runs['mm'], '--tracks', path, '--frame_size', '640x480')
  assert '17 keypoints of coco' in printed and 'poses in mm' in printed
  assert 'lifted: 2 tracks, 16 frames, 2 of them without a joint' in printed
  assert 'scale unknown' not in printed
  assert [(p['track_id'], p['frame']) for p in poses] == [
    (1, frame + 5) for frame in range(4)] + [(3, frame + 5) for frame in range(12)]
  assert list(poses[0]) == ['file', 'frame', 'track_id', 'keypoints_3d', 'unit', 'confidence']
  assert {(p['file'], p['unit']) for p in poses} == {('a/v.mp4', 'mm')}
  points, confidence = people[3]
  points[2], confidence[2] = (points[1] + points[3]) / 2, 0
  wanted = lifter_of(runs['mm'])(points, confidence, SIZE, COCO)
  np.testing.assert_allclose([p['keypoints_3d'] for p in poses[4:]], wanted, atol=0.02)
  _, sure = joint_mapping.convert(points, confidence, COCO, H36M)
  np.testing.assert_allclose([p['confidence'] for p in poses[4:]], sure, atol=6e-5)
  assert sorted(p.name for p in command.out.iterdir()) == ['poses_3d.json', 'sides']
  sheets = sorted((command.out / 'sides').iterdir())
  assert [p.name for p in sheets] == ['v_1.jpg', 'v_3.jpg']
  height, width, _ = read_picture(sheets[1]).shape
  assert (height, width) == (18 + 6 * (18 + 192), 2 * 384)
  assert read_picture(sheets[0]).shape[0] == 18 + 4 * (18 + 192)


def test_without_a_scale_it_is_said(command, runs, tmp_path):
  path = tmp_path / 'poses.json'
  tracks_file(path, {1: 3}, MPII)
  poses, printed = command('--lift', runs['image'], '--tracks', path, '--frame_size', '640x480')
  assert 'scale unknown' in printed and '16 keypoints of mpii' in printed
  assert {p['unit'] for p in poses} == {'half picture width'}
  again, _ = command('--lift', runs['image'], '--tracks', path, '--frame_size', '640x480')
  assert again == poses


def test_a_video(command, runs, run_2d, tmp_path):
  video = write_video(tmp_path / 'walk.mp4', frames=6, size=(64, 48))
  picture = write_picture(tmp_path / 'still.png')
  boxes = tmp_path / 'boxes.json'
  boxes.write_text(json.dumps([
    *({'file': 'walk.mp4', 'frame': frame, 'image_id': 9 + frame, 'category_id': 1,
       'bbox': [x + frame, 4, 20, 40]} for frame, x in ((0, 2), (1, 35), (2, 35), (4, 2))),
    {'file': 'still.png', 'image_id': 3, 'category_id': 1, 'bbox': [0, 0, 8, 6]}]))
  poses, printed = command('--weights', run_2d, '--lift', runs['pair'], '--boxes', boxes, video,
                           picture)
  assert "left out 1 pose of pictures, which have no frames" in printed
  assert 'answer: enet' in printed and 'lifted: 2 tracks, 7 frames, 3 of them' in printed
  flat = json.loads((command.out / 'poses.json').read_text())
  assert len(flat) == 5
  assert [(p['track_id'], p['frame']) for p in poses] == [
    *((1, frame) for frame in range(5)), (2, 1), (2, 2)]
  own = [p for p in flat if p['track_id'] == 2]
  joints = np.reshape([p['keypoints'] for p in own], (2, 17, 3))
  wanted = lifter_of(runs['pair'])(joints[..., :2], joints[..., 2].clip(0, 1), (64, 48), COCO)
  np.testing.assert_allclose([p['keypoints_3d'] for p in poses[5:]], wanted, atol=0.02)
  assert (command.out / 'walk.mp4').exists() and (command.out / 'sides/walk_2.jpg').exists()


def test_nobody_in_a_video(command, runs, run_2d, tmp_path):
  video = write_video(tmp_path / 'walk.mp4', frames=2, size=(16, 16))
  (tmp_path / 'boxes.json').write_text('[]')
  poses, printed = command('--weights', run_2d, '--lift', runs['mm'], '--boxes',
                           tmp_path / 'boxes.json', video)
  assert poses == [] and 'lifted: 0 tracks, 0 frames; 0 problems' in printed


def test_commands_that_are_refused(command, runs, run_2d, tmp_path):
  picture, path = write_picture(tmp_path / 'a.png'), tmp_path / 'poses.json'
  tracks_file(path, {1: 9})
  of_file = '--tracks', path, '--frame_size'
  assert 'needs people who move' in command('--weights', run_2d, '--lift', runs['mm'], picture,
                                            code=1)
  assert 'take boxes in pictures, not tracks' in command('--lift', run_2d, *of_file, '640x480',
                                                         code=1)
  assert 'pictures of 64x48' in command('--lift', runs['mm'], *of_file, '64x48', code=1)
  assert 'has 17 keypoints; name the skeleton' in command(
    '--lift', runs['mm'], *of_file, '640x480', '--skeleton', 'lsp', code=1)
  assert 'h36m, coco' in command('--lift', runs['mm'], *of_file, '640x480', '--skeleton',
                                 'mpi_inf_3dhp', code=1)
  entries = json.loads(path.read_text())
  path.write_text(json.dumps([*entries, entries[0]]))
  assert 'entries 0 and 9 are both' in command('--lift', runs['mm'], *of_file, '640x480', code=1)
  assert not command.out.exists()
  command.out.mkdir()
  (command.out / 'poses_3d.json').write_text(json.dumps(entries))
  assert 'is one of the inputs' in command(
    '--lift', runs['mm'], '--tracks', command.out / 'poses_3d.json', '--frame_size', '640x480',
    code=1)
  assert json.loads((command.out / 'poses_3d.json').read_text()) == entries


@pytest.mark.parametrize('arguments, part', [
  (['--lift', 'a', '--tracks', 'b'], 'required: --frame_size'),
  (['--tracks', 'b', '--frame_size', '64x64'], 'required: --lift'),
  (['--lift', 'a', '--tracks', 'b', '--frame_size', '64x64', 'v.mp4'], 'leave out INPUT'),
  (['--lift', 'a', '--tracks', 'b', '--frame_size', '64x64', '--csv', '--weights', 'c'],
   'leave out --weights, --csv'),
  (['--lift', 'a', '--tracks', 'b', '--frame_size', '64'], 'is not WxH'),
  (['--lift', 'a', 'v.mp4'], 'required: --weights'),
  (['--weights', 'a', '--frame_size', '64x64', 'v.mp4'], 'is of --tracks')])
def test_flags_that_do_not_go_together(command, arguments, part):
  assert part in command(*arguments, code=2)
