"""The patch bank: body parts cut out of a data set's own people, with soft edges.

A part is a capsule around a bone, intersected with the person's mask where there is one. A bank
is a folder of two files that workers map into memory: `pixels.npy` (all RGBA bytes in a row) and
`index.npz` (part, size, offset and source annotation of each patch).
"""
import functools
import hashlib
import os
import pathlib
import shutil
import tempfile
import zipfile

import cv2
import numpy as np

from input_pipeline.source import Source

_PARTS = {frozenset(('shoulder', 'elbow')): 'upper_arm', frozenset(('elbow', 'wrist')): 'lower_arm',
          frozenset(('hip', 'knee')): 'upper_leg', frozenset(('knee', 'ankle')): 'lower_leg',
          frozenset(('neck', 'head_top')): 'head', frozenset(('neck', 'head')): 'head'}
# Capsule radius as a share of the bone, wide enough for clothes; a mask, if any, trims it.
_RADIUS = {'upper_arm': 0.28, 'lower_arm': 0.26, 'upper_leg': 0.28, 'lower_leg': 0.24,
           'head': 0.38, 'limb': 0.25}
_FACE = ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear')
_MIN_SIDE, _MAX_SIDE = 10, 160  # pixels; smaller cut-outs show nothing, larger ones are reduced
_MIN_MASK_SHARE = 0.4  # of the capsule; below it the part is mostly hidden or mislabelled


class PatchBank:
  """Reads a bank folder; pickles as its path, so every data worker maps the same file."""

  def __init__(self, folder):
    self.folder = str(folder)
    index = np.load(os.path.join(self.folder, 'index.npz'), allow_pickle=False)
    self.part, self.height, self.width = index['part'], index['height'], index['width']
    self.offset, self.annotation_id = index['offset'], index['annotation_id']
    self.digest = str(index['digest'])
    self._pixels = np.load(os.path.join(self.folder, 'pixels.npy'), mmap_mode='r')

  def __reduce__(self):
    return PatchBank, (self.folder,)

  def __len__(self):
    return len(self.part)

  def patch(self, i) -> np.ndarray:
    """(h,w,4) uint8 RGBA."""
    start = self.offset[i]
    end = start + self.height[i] * self.width[i] * 4
    return np.array(self._pixels[start:end]).reshape(self.height[i], self.width[i], 4)

  @functools.cache  # noqa: B019 - banks live as long as the process
  def of_part(self, part: str) -> np.ndarray:
    """Numbers of the patches of a part; of all patches if the bank has none of that part."""
    found = np.flatnonzero(self.part == part)
    return found if len(found) else np.arange(len(self))


def load_or_build(folder, source: Source, *, num_people: int, seed: int) -> PatchBank:
  """The bank in `folder`, cut from `source` first where the folder does not exist.

  Built beside the folder and moved there whole: an interrupted or concurrent build harms nothing.
  """
  folder = pathlib.Path(folder)
  if not folder.exists():
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(dir=folder.parent, prefix='.bank-')
    try:
      _write(scratch, _cut_all(source, num_people, seed), source)
      os.chmod(scratch, 0o755)
      os.rename(scratch, folder)
    except OSError:
      if not folder.exists():  # else another process was first, with the same content
        raise
    finally:
      shutil.rmtree(scratch, ignore_errors=True)
  try:
    return PatchBank(folder)
  except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
    raise ValueError(f"'{folder}' is not a patch bank ({error}); remove it to have it cut "
                     'anew') from None


def _cut_all(source, num_people, seed):
  """(part, annotation id, RGBA) of every accepted cut-out of a random choice of people."""
  order = np.random.default_rng([seed, 0xBA]).permutation(len(source))[:num_people]
  unreadable = 0
  for row in order:
    try:
      image = source.read(int(row))
    except OSError:
      unreadable += 1  # named and counted by the training stream, which meets the same picture
      if unreadable == len(order):
        raise
      continue
    for part, a, b, radius in part_capsules(source, row):
      patch = cut(image, a, b, radius, source.mask(int(row)))
      if patch is not None:
        yield part, source.annotation_id[row], patch


def part_capsules(source, row):
  """(part, end, end, radius) of the labelled body parts of a person, picture pixels."""
  skeleton, points = source.skeleton, source.keypoints[row]
  seen = source.visibility[row] == 2
  known = False
  for a, b in skeleton.limbs:
    bare = frozenset(skeleton.names[j].removeprefix('left_').removeprefix('right_') for j in (a, b))
    part = _PARTS.get(bare)
    known |= part is not None
    if part and seen[a] and seen[b]:
      length = np.linalg.norm(points[a] - points[b])
      yield part, points[a], points[b], _RADIUS[part] * length
  face = [j for j in map(skeleton.index, _FACE) if j is not None and seen[j]]
  if len(face) >= 3:
    middle = points[face].mean(0)
    radius = 1.3 * np.linalg.norm(points[face] - middle, axis=1).max()
    yield 'head', middle, middle, radius
  if not known and not face:  # not a human skeleton: every limb is a part
    for a, b in skeleton.limbs:
      if seen[a] and seen[b]:
        yield 'limb', points[a], points[b], _RADIUS['limb'] * np.linalg.norm(points[a] - points[b])


def cut(image, a, b, radius, mask=None):
  """RGBA cut-out of the capsule of `radius` pixels around the bone a-b, or None if it is bad.

  Bad: shorter than 10 px, cut by the picture's border, or (with a mask) mostly off the person.
  """
  corner = np.floor(np.minimum(a, b) - radius - 1).astype(int)
  end = np.ceil(np.maximum(a, b) + radius + 2).astype(int)
  w, h = end - corner
  outside = (corner < 0).any() or (end > image.shape[1::-1]).any()
  if min(w, h) < _MIN_SIDE or outside:
    return None
  y, x = np.mgrid[corner[1]:end[1], corner[0]:end[0]]
  d = _distance_to_segment(np.stack([x, y], -1), a, b)
  edge = max(1.0, 0.15 * radius)  # feathered over this many pixels
  alpha = np.clip((radius - d) / edge + 0.5, 0, 1)
  if mask is not None:
    inside = mask[corner[1]:end[1], corner[0]:end[0]].astype(np.float32)
    if (inside * (alpha > 0.5)).sum() < _MIN_MASK_SHARE * (alpha > 0.5).sum():
      return None
    alpha = alpha * cv2.blur(inside, (3, 3))
  pixels = image[corner[1]:end[1], corner[0]:end[0]]
  patch = np.dstack([pixels, np.round(alpha * 255).astype(np.uint8)])
  factor = _MAX_SIDE / max(w, h)
  return patch if factor >= 1 else cv2.resize(patch, None, fx=factor, fy=factor,
                                              interpolation=cv2.INTER_AREA)


def _distance_to_segment(points, a, b):
  direction = b - a
  length2 = max(float(direction @ direction), 1e-9)
  t = np.clip((points - a) @ direction / length2, 0, 1)
  return np.linalg.norm(points - a - t[..., None] * direction, axis=-1)


def _write(folder, patches, source):
  parts, ids, shapes, pixels = [], [], [], []
  for part, annotation_id, patch in patches:
    parts.append(part)
    ids.append(annotation_id)
    shapes.append(patch.shape[:2])
    pixels.append(patch.reshape(-1))
  if not parts:
    raise ValueError(f'no body part could be cut out of {source.name} {source.split}: nobody has '
                     'two neighbouring visible joints inside the picture; check the keypoints and '
                     'the limbs (skeleton) of the category')
  flat = np.concatenate(pixels)
  sizes = np.array([len(p) for p in pixels])
  shapes = np.array(shapes)
  digest = hashlib.sha256(flat.tobytes() + shapes.tobytes() + ''.join(parts).encode()).hexdigest()
  np.save(os.path.join(folder, 'pixels.npy'), flat)
  np.savez(os.path.join(folder, 'index.npz'), part=np.array(parts), annotation_id=np.array(ids),
           height=shapes[:, 0], width=shapes[:, 1], offset=np.cumsum(sizes) - sizes,
           digest=digest[:12])
