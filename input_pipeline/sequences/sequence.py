"""The one form in which recorded motion enters: one person's joints over time, and cameras."""
import dataclasses
import functools
import hashlib
from typing import NamedTuple

import numpy as np

from dslope_jax import cameras
from dslope_jax.errors import UserError
from dslope_jax.skeletons import Skeleton


class Camera(NamedTuple):
  """A camera: X right, Y down, Z forward, in mm; x_camera = rotation @ x_world + translation.

  size: (W, H) of its pictures in pixels. focal, center: (2,) pixels; None where they are unknown.
  distortion: (5,) k1 k2 k3 p1 p2, zeros for a pinhole. name: for results by camera.
  """
  size: tuple[int, int]
  focal: np.ndarray | None = None
  center: np.ndarray | None = None
  distortion: np.ndarray = np.zeros(5)
  rotation: np.ndarray = np.eye(3)
  translation: np.ndarray = np.zeros(3)
  name: str = ''

  @property
  def params(self) -> np.ndarray:
    """(9,) of dslope_jax.cameras; UserError where focal or center are unknown."""
    if self.focal is None or self.center is None:
      raise UserError(f"camera '{self.name}' has no focal length or no centre; give both, or 2D "
                      'keypoints and image_3d')
    return np.concatenate([self.focal, self.center, self.distortion])


class Clip(NamedTuple):
  """Frames of a sequence as a camera sees them: T frames, J joints.

  keypoints_2d: (T,J,2) float32 pixels, as a detector gave them, else the exact projection.
  confidence: (T,J) float32, 1 for projections. keypoints_3d: (T,J,3) float32 mm in the camera's
  frame. image_3d: (T,J,3) float32 pixels, see `Sequence`. camera: the camera. valid: (T,) bool.
  """
  keypoints_2d: np.ndarray
  confidence: np.ndarray
  keypoints_3d: np.ndarray
  image_3d: np.ndarray | None
  camera: Camera
  valid: np.ndarray


@dataclasses.dataclass(frozen=True)
class Sequence:
  """F frames of one person; V cameras that see, or may see, them.

  name: unique in its set; messages call it so. subject, action, family: labels for results, '' for
  none; family is the kind of skeleton (joint definitions, bone lengths). take: what belongs
  together: the cameras and partners of one recording, which no split may part.
  keypoints_3d: (F,J,3) float32 mm in the frame that the cameras turn from.
  keypoints_2d, confidence: (V,F,J,2) float32 pixels and (V,F,J), or None: projections are exact.
  image_3d: (F,J,3) float32, V = 1: x, y in pixels and depth scaled to pixels, where a protocol
    defines its own; None: `cameras.to_image_space` makes it. factor: (F,) mm a pixel, with it.
  valid: (F,) bool, False for frames that no clip may touch.
  partners: names of sequences in the same world, of as many frames: people who may be in the way.
  """
  name: str
  keypoints_3d: np.ndarray
  cameras: tuple[Camera, ...]
  fps: float
  subject: str = ''
  action: str = ''
  family: str = ''
  take: str = ''
  keypoints_2d: np.ndarray | None = None
  confidence: np.ndarray | None = None
  image_3d: np.ndarray | None = None
  factor: np.ndarray | None = None
  valid: np.ndarray | None = None
  partners: tuple[str, ...] = ()

  def __len__(self):
    return len(self.keypoints_3d)

  def clip(self, frames, view: int) -> Clip:
    """The frames (T,), which may repeat, as camera `view` sees them."""
    camera, world = self.cameras[view], self.keypoints_3d[frames]
    body = (world @ camera.rotation.T + camera.translation).astype(np.float32)
    if self.keypoints_2d is None:
      points = cameras.project(body, camera.params)
      confidence = np.ones(points.shape[:-1], np.float32)
    else:
      points = self.keypoints_2d[view, frames]
      confidence = (np.ones(points.shape[:-1], np.float32) if self.confidence is None
                    else self.confidence[view, frames])
    valid = np.ones(len(frames), bool) if self.valid is None else self.valid[frames]
    image = None if self.image_3d is None else self.image_3d[frames]
    return Clip(points.astype(np.float32), confidence, body, image, camera, valid)


@dataclasses.dataclass(frozen=True)
class Sequences:
  """A split of a set. name, split: for messages and stamps. skeleton: of all sequences.

  sequences: in a fixed order. notes: lines to be told once, such as what was left out and why.
  """
  name: str
  split: str
  skeleton: Skeleton
  sequences: tuple[Sequence, ...]
  notes: tuple[str, ...] = ()

  @property
  def root(self) -> int:
    """Index of the joint that errors are relative to."""
    return self.skeleton.index('hip')

  @functools.cached_property
  def by_name(self) -> dict[str, Sequence]:
    return {sequence.name: sequence for sequence in self.sequences}

  @functools.cached_property
  def digest(self) -> str:
    """Of all arrays and cameras, 12 hex digits."""
    found = hashlib.sha256()
    for sequence in self.sequences:
      found.update(sequence.name.encode())
      for field in ('keypoints_3d', 'keypoints_2d', 'confidence', 'image_3d', 'factor', 'valid'):
        column = getattr(sequence, field)
        found.update(b'' if column is None else np.ascontiguousarray(column).tobytes())
      for camera in sequence.cameras:
        for value in camera[:-1]:
          found.update(b'' if value is None else np.asarray(value, np.float64).tobytes())
    return found.hexdigest()[:12]
