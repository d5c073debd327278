"""People of the embedded world who move."""
import numpy as np
import pytest

from dslope_jax.skeletons import COCO, H36M
from input_pipeline.world import bodies, motion, poses

FPS = 50
UP = np.array([0, 1.0, 0])


def of_kind(kind, monkeypatch, seed=0, frames=150, people=1):
  monkeypatch.setattr(motion, '_KINDS', dict.fromkeys([*motion._FOR_TWO, kind], 0) | {kind: 1})
  drawn = motion.draw(np.random.default_rng(seed), frames, FPS, people)
  assert drawn.kind == kind
  return drawn


def joint(joints, name):
  return joints[..., H36M.index(name), :]


def facing(joints):
  """Where the person faces, along the floor; the convention of motion capture with y up."""
  return np.cross(joint(joints, 'left_hip') - joint(joints, 'right_hip'), UP)


@pytest.mark.parametrize('kind', motion._KINDS)
def test_bones_are_rigid_and_feet_carry_the_body(kind, monkeypatch):
  for seed in range(3):
    drawn = of_kind(kind, monkeypatch, seed)
    (joints,), (slip,) = drawn.joints, drawn.slip
    assert joints.shape == (150, 17, 3) and joints.dtype == np.float32 and slip.shape == (149,)
    rigid = [limb for limb in H36M.limbs if 'spine' not in [H36M.names[j] for j in limb]]
    for a, b in (limb for limb in rigid if H36M.names[limb[1]] != 'neck'):
      length = np.linalg.norm(joints[:, a] - joints[:, b], axis=-1)
      np.testing.assert_allclose(length, length[0], atol=0.02)
    lowest = joints[..., 1].min(1)
    assert lowest.min() > 0 and lowest.max() < 240  # mm: on the toes
    assert slip.mean() < (25 if kind == 'running' else 12)  # mm a frame
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * FPS
    assert speed.max() < 14_000 and speed.mean() > 20  # mm/s
    jerk = np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1) * FPS ** 2
    assert jerk.max() < 250_000  # mm/s^2


def test_builds_differ_between_people():
  thighs = [np.linalg.norm(joint(j, 'left_hip')[0] - joint(j, 'left_knee')[0])
            for seed in range(20)
            for j in motion.draw(np.random.default_rng(seed), 4, FPS, 1 + seed % 2).joints]
  assert len({round(float(x), 1) for x in thighs}) == 30
  assert 340 < min(thighs) < 400 and 430 < max(thighs) < 500


def test_joints_are_those_of_the_rendered_body():
  """Where COCO and Human3.6M have the same joint, it is at the same place."""
  rng = np.random.default_rng(0)
  build = bodies.draw_builds(rng, 1)
  pose, yaw = rng.uniform(*poses.LIMITS.T, (6, 24)), rng.uniform(0, 360, 6)
  joints, _ = motion._carried(build, pose, yaw, 1 / FPS)
  centers = bodies.posed(build, pose, yaw).centers[:, bodies.JOINT]
  both = [name for name in H36M.names if name in COCO.names]
  assert len(both) == 12
  ours, theirs = (np.stack([x[:, s.index(n)] for n in both], 1)
                  for x, s in ((joints, H36M), (centers, COCO)))
  np.testing.assert_allclose(ours - ours[:, :1], theirs - theirs[:, :1], atol=1e-9)


@pytest.mark.parametrize('kind, low, high', [('walking', 400, 1700), ('running', 1500, 4000)])
def test_gaits_go_where_the_person_faces(kind, low, high, monkeypatch):
  for seed in range(4):
    (joints,) = of_kind(kind, monkeypatch, seed).joints
    ahead = facing(joints)
    step = np.diff(joint(joints, 'hip'), axis=0) * FPS
    along = (step * ahead[1:]).sum(-1) / np.linalg.norm(ahead[1:], axis=-1)
    assert low < along.mean() < high
    assert along.mean() > 0.95 * np.linalg.norm(step[:, [0, 2]], axis=-1).mean()


def test_legs_and_arms_of_a_gait_are_half_a_period_apart(monkeypatch):
  monkeypatch.setattr(motion, '_BUSY', 0)
  for seed in range(4):
    (joints,) = of_kind('walking', monkeypatch, seed, frames=300).joints
    ahead = facing(joints) / np.linalg.norm(facing(joints), axis=-1, keepdims=True)
    reach = {name: ((joint(joints, name) - joint(joints, 'hip')) * ahead).sum(-1)
             for name in ('left_ankle', 'right_ankle', 'left_wrist')}
    wave = {name: x - x.mean() for name, x in reach.items()}
    spectrum = np.abs(np.fft.rfft(wave['left_ankle']))
    assert 0.7 < FPS * spectrum.argmax() / 300 < 1.1  # steps of one leg a second
    against = np.corrcoef(list(wave.values()))[0]
    assert against[1] < -0.75 and against[2] < -0.75


def test_knees_bend_backwards_only():
  for seed in range(12):
    (joints,) = motion.draw(np.random.default_rng(seed), 60, FPS).joints
    for side in ('left', 'right'):
      hip, knee, ankle = (joint(joints, f'{side}_{part}') for part in ('hip', 'knee', 'ankle'))
      axis = joint(joints, 'left_hip') - joint(joints, 'right_hip')
      thigh, shin = knee - hip, ankle - knee
      bend = np.degrees(np.arccos(((thigh * shin).sum(-1) / np.linalg.norm(thigh, axis=-1)
                                   / np.linalg.norm(shin, axis=-1)).clip(-1, 1)))
      # Turned about the thigh the bend's axis leaves that of the hips, but never half around.
      backward = (np.cross(thigh, shin) * axis).sum(-1) > 0
      assert backward[bend > 20].all()


def test_two_stay_together_and_apart():
  for seed in range(30):
    drawn = motion.draw(np.random.default_rng(seed), 100, FPS, 2)
    assert drawn.kind in motion._FOR_TWO and len(drawn.joints) == 2
    distance = np.linalg.norm(np.diff(joint(drawn.joints, 'hip'), axis=0)[0], axis=-1)
    assert distance.min() > 349 and distance.max() < 2000


def test_same_generator_same_motion():
  one, two = (motion.draw(np.random.default_rng(3), 50, FPS, 2) for _ in range(2))
  np.testing.assert_array_equal(one.joints, two.joints)
