"""Motion for tests: people who swing their limbs, and folders in the form of the CMU set."""
import json

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
