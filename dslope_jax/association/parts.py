"""The joints, limbs and maps that people are put together from."""
import numpy as np

from dslope_jax.skeletons import MPI15

STRIDE = 4  # pixels of the network's picture for one of a map
PELVIS = MPI15.names.index('hip')
# Joints whose absolute depth has a map: neck, head, pelvis, shoulders, sides of the hip. SMAP has
# the pelvis alone.
ANCHORS = np.array((0, 1, 2, 3, 9, 6, 12))
LIMBS = np.array(MPI15.limbs)
# Mean lengths of the limbs, cm. Source: SMAP's code.
BONES = np.array([26.422, 48.370, 14.883, 31.280, 23.916, 14.977, 31.280, 23.916, 12.464, 48.266,
                  39.036, 12.464, 48.191, 39.036], np.float32)


def _tree():
  """Limbs from the pelvis outwards, in steps that need only earlier ones: (limb, from, to)."""
  known, steps = {PELVIS}, []
  while len(known) < MPI15.num_keypoints:
    step = [(k, a, b) if a in known else (k, b, a) for k, (a, b) in enumerate(MPI15.limbs)
            if (a in known) != (b in known)]
    known |= {b for _, _, b in step}
    steps.append(np.array(step))
  return steps


STEPS = _tree()


def _paths():
  """(J,L) matrix that adds up differences along the limbs from the pelvis to each joint."""
  paths = np.zeros((MPI15.num_keypoints, len(LIMBS)), np.float32)
  for limb, start, end in np.concatenate(STEPS):
    paths[end] = paths[start]
    paths[end, limb] = 1 if LIMBS[limb, 0] == start else -1
  return paths


PATHS = _paths()
