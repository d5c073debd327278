"""What is true of a scene, known without drawing it: joints, who and what hides them, boxes."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dslope_jax.skeletons import COCO, MPI15
from input_pipeline.world import bodies, rendering, scenes


class Joints(NamedTuple):
  """The K joints of a skeleton in bodies. places: scene -> (P,K,3) mm, camera frame. owns (C,K)
  bool: capsules that a joint belongs to; a joint is visible where the ray to it meets one of them
  first."""
  places: Callable
  owns: np.ndarray


class Truth(NamedTuple):
  """Of P people. keypoints (P,K,2) px, the projection of keypoints_3d (P,K,3) mm, in the camera's
  frame: x right, y down, z forward; also outside the picture. visibility (P,K) uint8: 0 outside the
  picture, 1 hidden, 2 visible. box (P,4) px x, y, w, h of the whole body, cut at the picture's
  border. order (P,): people by the depth of their pelvis, the nearest first.
  """
  keypoints: np.ndarray
  visibility: np.ndarray
  box: np.ndarray
  keypoints_3d: np.ndarray
  order: np.ndarray


def of(scene, size, joints: Joints) -> Truth:
  """The truth of a scene in a picture of size (W, H)."""
  places = joints.places(scene)
  points = scene.camera.project(places)
  edge = np.array(size) - 1
  outlines = rendering.outlines(scene.solids, scene.camera)
  people = outlines[:len(places) * scenes.CAPSULES].reshape(len(places), -1, 4)
  low, high = (np.clip(v, 0, edge) for v in (people[..., :2].min(1), people[..., 2:].max(1)))
  order = np.argsort(scene.centers[:, bodies.BALL['pelvis'], 2], kind='stable')
  inside = ((points >= 0) & (points <= edge)).all(-1)
  hit = rendering.first_hits(scene.solids, outlines, scene.camera, points[inside])
  person, joint = np.nonzero(inside)
  owner, capsule = np.divmod(hit, scenes.CAPSULES)
  visibility = np.zeros(inside.shape, np.uint8)
  visibility[inside] = 1 + ((owner == person) & joints.owns[capsule, joint])
  return Truth(points, visibility, np.concatenate([low, high - low], 1), places, order)


# ---- joints of MPI15: what COCO lacks, or has otherwise

# The top of the skull, seen from where the head turns: so many times as far as the skull's middle.
_HEAD_TOP = 240 / 168
_OWNED = {'head_top': ('face', 'hair'),
          'hip': ('left_pelvis', 'right_pelvis', 'seat', 'left_thigh', 'right_thigh'),
          'neck': ('trunk', 'left_yoke', 'right_yoke', 'left_flank', 'right_flank', 'neck'),
          # A thumb begins with the same ball as its hand, and so lies in front as often.
          **{f'{side}_wrist': tuple(f'{side}_{part}' for part in ('forearm', 'hand', 'thumb'))
             for side in ('left', 'right')}}


def _mpi15_places(scene):
  """Balls of the limbs; neck and hip between those of both sides, head_top on the skull."""
  ball = {name: scene.centers[:, i] for name, i in bodies.BALL.items()}
  base = scene.origins[:, bodies.SEGMENT['head']]
  middle = {'neck': (ball['left_shoulder'] + ball['right_shoulder']) / 2,
            'hip': (ball['left_hip'] + ball['right_hip']) / 2,
            'head_top': base + _HEAD_TOP * (ball['skull'] - base)}
  return np.stack([middle[name] if name in middle else ball[name] for name in MPI15.names], 1)


def _mpi15_owns():
  return np.stack([np.isin(bodies.CAPSULE_NAMES, _OWNED[name]) if name in _OWNED
                   else bodies.OWNS[:, COCO.index(name)] for name in MPI15.names], 1)


OF_COCO = Joints(lambda scene: scene.centers[:, bodies.JOINT], bodies.OWNS)
OF_MPI15 = Joints(_mpi15_places, _mpi15_owns())
