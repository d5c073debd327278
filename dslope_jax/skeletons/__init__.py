"""Keypoint sets: names, flip pairs, limbs, OKS sigmas, body halves.

Everything that depends on the number of keypoints K is derived from a `Skeleton`; no file outside
holds a joint number. Plain Python and NumPy, so that data workers can import it cheaply.
"""
from dslope_jax.skeletons.bodies import (
  AIC,
  COCO,
  CROWDPOSE,
  H36M,
  JHMDB,
  LSP,
  MPI15,
  MPI_INF_3DHP,
  MPII,
)
from dslope_jax.skeletons.categories import (
  KNOWN,
  Fields,
  by_name,
  from_category,
  from_fields,
  limbs_from_zero,
)
from dslope_jax.skeletons.faces import AFLW, COFW, FACE_300W, WFLW
from dslope_jax.skeletons.skeleton import Skeleton

__all__ = ['AFLW', 'AIC', 'COCO', 'COFW', 'CROWDPOSE', 'FACE_300W', 'Fields', 'H36M', 'JHMDB',
           'KNOWN', 'LSP', 'MPI15', 'MPII', 'MPI_INF_3DHP', 'Skeleton', 'WFLW', 'by_name',
           'from_category', 'from_fields', 'limbs_from_zero']
