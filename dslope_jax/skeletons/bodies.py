"""Keypoint sets of bodies, in the orders of their data sets."""
from dslope_jax.skeletons.skeleton import Skeleton

# Standard deviations of human annotators per keypoint, relative to the square root of the person's
# area. COCO: pycocotools. CrowdPose, AIC: the official evaluators. JHMDB: COCO's, as MMPose sets
# them. Nothing is published for faces, where every point gets 1/K.
_COCO_SIGMAS = (
  .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089,
  .089,
)
_CROWDPOSE_SIGMAS = (
  .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089, .079, .079,
)

COCO = Skeleton(
  name='coco',
  names=('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder',
         'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip',
         'right_hip', 'left_knee', 'right_knee', 'left_ankle', 'right_ankle'),
  limbs=((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7),
         (6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
  sigmas=_COCO_SIGMAS)

# OKS is not MPII's measure (PCKh is); COCO's values stand in for suppression of double poses.
MPII = Skeleton(
  name='mpii',
  names=('right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee', 'left_ankle', 'pelvis',
         'thorax', 'neck', 'head_top', 'right_wrist', 'right_elbow', 'right_shoulder',
         'left_shoulder', 'left_elbow', 'left_wrist'),
  limbs=((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (10, 11),
         (11, 12), (12, 7), (7, 13), (13, 14), (14, 15)),
  sigmas=(.089, .087, .107, .107, .087, .089, .107, .079, .079, .079, .062, .072, .079, .079, .072,
          .062))

CROWDPOSE = Skeleton(
  name='crowdpose',
  names=('left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist',
         'right_wrist', 'left_hip', 'right_hip', 'left_knee', 'right_knee', 'left_ankle',
         'right_ankle', 'head', 'neck'),
  limbs=((12, 13), (13, 0), (13, 1), (0, 2), (2, 4), (1, 3), (3, 5), (13, 6), (13, 7), (6, 8),
         (8, 10), (7, 9), (9, 11), (6, 7)),
  sigmas=_CROWDPOSE_SIGMAS)

LSP = Skeleton(
  name='lsp',
  names=('right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee', 'left_ankle',
         'right_wrist', 'right_elbow', 'right_shoulder', 'left_shoulder', 'left_elbow',
         'left_wrist', 'neck', 'head_top'),
  limbs=((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (9, 10), (10, 11),
         (8, 12), (9, 12), (12, 13), (2, 8), (3, 9)),
  sigmas=(.089, .087, .107, .107, .087, .089, .062, .072, .079, .079, .072, .062, .079, .079))

AIC = Skeleton(
  name='aic',
  names=('right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder', 'left_elbow',
         'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee',
         'left_ankle', 'head_top', 'neck'),
  limbs=((2, 1), (1, 0), (0, 13), (13, 3), (3, 4), (4, 5), (8, 7), (7, 6), (6, 9), (9, 10),
         (10, 11), (12, 13), (0, 6), (3, 9)),
  sigmas=(.01388152, .01515228, .01057665, .01417709, .01497891, .01402144, .03909642, .03686941,
          .01981803, .03843971, .03412318, .02415081, .01291456, .01236173))

JHMDB = Skeleton(
  name='jhmdb',
  names=('neck', 'belly', 'head', 'right_shoulder', 'left_shoulder', 'right_hip', 'left_hip',
         'right_elbow', 'left_elbow', 'right_knee', 'left_knee', 'right_wrist', 'left_wrist',
         'right_ankle', 'left_ankle'),
  limbs=((13, 9), (9, 5), (5, 1), (1, 6), (6, 10), (10, 14), (1, 0), (0, 2), (0, 3), (3, 7),
         (7, 11), (0, 4), (4, 8), (8, 12)),
  sigmas=(.025, .107, .025, .079, .079, .107, .107, .072, .072, .087, .087, .062, .062, .089,
          .089))

# 17 joints of Human3.6M, as lifting networks order them; 'neck' is called nose by some.
H36M = Skeleton(
  name='h36m',
  names=('hip', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle',
         'spine', 'thorax', 'neck', 'head', 'left_shoulder', 'left_elbow', 'left_wrist',
         'right_shoulder', 'right_elbow', 'right_wrist'),
  limbs=((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10), (8, 11),
         (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)),
  sigmas=(1 / 17,) * 17)

# 17 of the 28 joints of MPI-INF-3DHP, as lifting networks order them.
MPI_INF_3DHP = Skeleton(
  name='mpi_inf_3dhp',
  names=('head_top', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder',
         'left_elbow', 'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip',
         'left_knee', 'left_ankle', 'hip', 'spine', 'head'),
  limbs=((0, 16), (16, 1), (1, 15), (15, 14), (14, 8), (8, 9), (9, 10), (14, 11), (11, 12),
         (12, 13), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7)),
  sigmas=(1 / 17,) * 17)

# 15 joints that MuCo-3DHP and MuPoTS-3D share (SMAP's order); 'neck' lies between the shoulders.
MPI15 = Skeleton(
  name='mpi15',
  names=('neck', 'head_top', 'hip', 'left_shoulder', 'left_elbow', 'left_wrist', 'left_hip',
         'left_knee', 'left_ankle', 'right_shoulder', 'right_elbow', 'right_wrist', 'right_hip',
         'right_knee', 'right_ankle'),
  limbs=((0, 1), (0, 2), (0, 9), (9, 10), (10, 11), (0, 3), (3, 4), (4, 5), (2, 12), (12, 13),
         (13, 14), (2, 6), (6, 7), (7, 8)),
  sigmas=(1 / 15,) * 15)

# Edges of the graph network of DAG (Xu et al., 2024), from its code. Unlike the limbs, COCO's eyes
# are not joined, and CrowdPose's hips are joined to the shoulders.
GRAPHS = {
  COCO.names: ((0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (5, 11), (6, 8),
               (6, 12), (7, 9), (8, 10), (11, 12), (11, 13), (12, 14), (13, 15), (14, 16)),
  CROWDPOSE.names: ((0, 2), (2, 4), (1, 3), (3, 5), (0, 6), (1, 7), (6, 7), (6, 8), (8, 10),
                    (7, 9), (9, 11), (0, 13), (1, 13), (12, 13))}
