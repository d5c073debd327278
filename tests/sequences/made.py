"""Motion for tests: people who swing their limbs, and folders in the form of the CMU set."""
import json
import pickle

import numpy as np

# One standing person in mm, Y up, facing Z; left and right are the person's own.
STANDING = np.array([
  (0, 950, 0), (-100, 950, 0), (-110, 520, 20), (-110, 90, 0), (100, 950, 0), (110, 520, 20),
  (110, 90, 0), (0, 1180, -10), (0, 1420, -10), (0, 1500, 10), (0, 1640, 20), (180, 1400, 0),
  (260, 1130, -20), (280, 890, 40), (-180, 1400, 0), (-260, 1130, -20), (-280, 890, 40)], float)


def motion(frames=40, seed=0):
  """(F,17,3) mm: the person walks and swings the arms and legs; smooth."""
  rng = np.random.default_rng(seed)
  time = np.arange(frames)[:, None, None] / 20
  phase, size = rng.uniform(0, 2 * np.pi, (17, 3)), rng.uniform(10, 60, (17, 3))
  path = rng.normal(0, 150, 3) * (1, 0, 1)
  return STANDING + size * np.sin(3 * time + phase) + path * time


def cmu(root, sequences):
  """A folder of that form. sequences: [(name, cmu_id, family, frames, changes of its entry)]."""
  (root / 'npz').mkdir(parents=True, exist_ok=True)
  entries = []
  for number, (name, cmu_id, family, frames, changes) in enumerate(sequences):
    np.savez(root / f'npz/{name}.npz', fps=np.int32(60), scale_mm=np.float32(0.25),
             xyz_q=np.round(motion(frames, number) / 0.25).astype(np.int16))
    entries.append({'name': name, 'file': f'npz/{name}.npz', 'cmu_id': cmu_id,
                    'description': 'walk, slow', 'skeleton_family': family,
                    'glitch_frames': []} | changes)
  (root / 'index.json').write_text(json.dumps({'sequences': entries, 'fps': 60}))
  return root


def small_cmu(root, frames=40):
  """Two takes of a pair and of four single people, of two kinds of skeletons."""
  pair = [(f'pair{n}_{side}', f'{60 + (side == "B")}_0{n}', 'A', frames,
           {'partner': f'pair{n}_{"AB"[side == "A"]}'}) for n in (1, 2) for side in 'AB']
  alone = [(f'one{n}_{take}', f'{n}_{take}', 'A' if n < 4 else 'C', frames, {})
           for n in (1, 2, 3, 4, 5, 6) for take in ('01', '02')]
  return cmu(root, pair + alone)


def h36m_a(path, lengths=(30, 20), truth=True, **changes):
  """A file in the form of MotionBERT's: videos of these lengths of S1 to train on, of S9 to test
  on, by two cameras in turn."""
  content = {}
  for part, subject in (('train', 1), ('test', 9)):
    count, rng = sum(lengths), np.random.default_rng(subject)
    image = rng.uniform(200, 800, (count, 17, 3)).astype(np.float32)
    source = [f's_{subject:02d}_act_05_subact_{n + 1:02d}_ca_{n % 4 + 1:02d}'
              for n, length in enumerate(lengths) for _ in range(length)]
    cameras = [('54138969', '55011271')[n % 2] for n, length in enumerate(lengths)
               for _ in range(length)]
    content[part] = {'joint_2d': image[..., :2] + 1, 'confidence': rng.random((count, 17, 1)),
                     'joint3d_image': image, 'camera_name': np.array(cameras), 'source': source}
  factor = np.linspace(3, 5, sum(lengths))
  if truth:
    content['test'] |= {'joints_2.5d_image': content['test']['joint3d_image']
                        * factor[:, None, None], '2.5d_factor': factor}
  content['test'] |= changes
  path.write_bytes(pickle.dumps(content))
  return content


def h36m_b(root, frames=12, views=4, more=3):
  """Both files in the form of VideoPose3D's; the 2D keypoints have more frames."""
  actions = {'S1': ('Walking', 'Walking 1'), 'S5': ('Sitting 1',), 'S6': ('Greeting',),
             'S7': ('Eating',), 'S8': ('Posing',), 'S9': ('Walking', 'Directions 2'),
             'S11': ('Phoning',)}
  rng = np.random.default_rng(0)
  poses = {s: {a: rng.normal(0, 0.5, (frames, 32, 3)).astype(np.float32) + np.float32((0, 0, 1))
               for a in names} for s, names in actions.items()}
  points = {s: {a: [rng.uniform(0, 1000, (frames + more, 17, 2)).astype(np.float32)
                    for _ in range(views)] for a in names} for s, names in actions.items()}
  np.savez(root / 'data_3d_h36m.npz', positions_3d=np.array(poses, dtype=object))
  np.savez(root / 'data_2d_h36m_gt.npz', positions_2d=np.array(points, dtype=object),
           metadata=np.array({'layout_name': 'h36m', 'num_joints': 17}, dtype=object))
  return poses, points


def mpi_inf_3dhp(root, frames=15):
  """Both files in the form of P-STMO's."""
  rng = np.random.default_rng(1)
  video = lambda: {'data_2d': rng.uniform(0, 2000, (frames, 17, 2)),
                   'data_3d': rng.normal(0, 300, (frames, 17, 3)) + (0, 0, 3000)}
  train = {f'S{s} Seq{n}': [{str(c): video() for c in (0, 3, 8)}, 25 * n]
           for s in (1, 2) for n in (1, 2)}
  test = {f'TS{n}': video() | {'valid': (rng.random(frames) < 0.7).astype(float)}
          for n in range(1, 7)}
  for split, content in (('train', train), ('test', test)):
    np.savez(root / f'data_{split}_3dhp.npz', data=np.array(content, dtype=object))
  return train, test


def pw3d(path, lengths=(8, 5), **changes):
  count, rng = sum(lengths), np.random.default_rng(2)
  columns = {
    'name': np.array([f'street_{n:02d}_{n}' for n in range(len(lengths))]),
    'frames': np.array(lengths), 'keypoints_3d': rng.normal(0, 300, (count, 17, 3)) + (0, 0, 4000),
    'keypoints_2d': rng.uniform(0, 1000, (count, 17, 2)), 'confidence': rng.random((count, 17)),
    'valid': np.ones(count, bool), 'size': np.array([1080, 1920]),
    'params': np.tile([1500.0, 1500, 540, 960, 0, 0, 0, 0, 0], (len(lengths), 1))}
  np.savez(path, **columns | changes)
