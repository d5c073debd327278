"""The patch bank: body parts, people, things and textures with soft edges, to hide joints with; for
faces also drawings of what they wear or are held to.

A bank is a folder: `pixels.bin` (all RGBA bytes in a row, mapped into memory once and shared by all
data workers), `index.npz` (a row for each patch, with its checksum) and `contact_sheet.jpg`.
`tools/cut_bank.py` makes one out of any annotated sets.
"""
import functools
import hashlib
import os
import pathlib
import shutil
import tempfile
import zlib

import cv2
import numpy as np
import tqdm

from dslope_jax import own_files
from dslope_jax.errors import UserError
from dslope_jax.files import check_file
from dslope_jax.own_files import Column
from input_pipeline.occlusion import body_parts, drawing
from input_pipeline.occlusion.contact_sheet import contact_sheet
from input_pipeline.occlusion.cutting import Patch, cut_person, cut_texture
from input_pipeline.sources.source import Source

PARTS = ('head', 'torso', 'upper_arm', 'lower_arm', 'upper_leg', 'lower_leg', 'arm', 'leg',
         'hand', 'foot', 'limb', 'upper_body', 'person', 'face_part', *drawing.COUNTS, 'object',
         'texture')
_FORM = 3  # of the folder; raised when its files change
_COLUMNS = {
  'part': Column('U', values=lambda part: np.isin(part, PARTS)),
  'height': Column('iu', values=lambda height: height > 0),
  'width': Column('iu', values=lambda width: width > 0),
  'offset': Column('iu'), 'bone': Column('f', ('N', 2, 2), finite=False),
  'stature': Column('f', values=lambda stature: stature >= 0),
  'shrink': Column('iu', values=lambda shrink: shrink > 0), 'exact': Column('b'),
  'origin': Column('U'), 'annotation_id': Column('iu'), 'crc32': Column('u')}


class PatchBank:
  """Reads a bank folder; pickles as its path, so every data worker maps the same file.

  Columns, one row a patch: part, height, width, offset (into the pixels), bone (N,2,2), stature,
  shrink, exact (see `cutting.Patch`), origin (name and split of the source, or 'drawn'),
  annotation_id and crc32 of the pixels.
  digest: of all that decides where opaque pixels are. Colours are left out, since libraries
  decode pictures with differences in the last bit.

  Raises FileNotFoundError, OSError or UserError, one line, for a folder that is no bank.
  """

  def __init__(self, folder):
    self.folder = str(folder)
    mend = (f"'{self.folder}' is not a patch bank that can be read: name one that "
            'tools/cut_bank.py or a run has made; if it was one, remove it to have it cut anew')
    path = os.path.join(self.folder, 'index.npz')
    index = own_files.read_npz(path, _COLUMNS | {'digest': Column('U', ())}, mend, _FORM)
    for name in _COLUMNS:
      setattr(self, name, index[name])
    self.digest = str(index['digest'])
    ends = np.cumsum(self.height.astype(np.int64) * self.width * 4)
    pixels = os.path.join(self.folder, 'pixels.bin')
    size = check_file(pixels)
    if not len(self) or size != ends[-1] or (self.offset[1:] != ends[:-1]).any() or self.offset[0]:
      raise UserError(f"'{pixels}' has {size} bytes, not as many as index.npz says; {mend}")
    self._pixels = np.asarray(np.memmap(pixels, np.uint8, 'r'))
    self._checked = np.zeros(len(self), bool)

  def __reduce__(self):
    return PatchBank, (self.folder,)

  def __len__(self):
    return len(self.part)

  def patch(self, i) -> np.ndarray:
    """(h,w,4) uint8 RGBA, colours weighted by opacity; a read-only view of the file.

    Its checksum is looked at the first time. Raises UserError where it is not as it was cut.
    """
    start = self.offset[i]
    end = start + self.height[i] * self.width[i] * 4
    pixels = self._pixels[start:end]
    if not self._checked[i]:
      if zlib.crc32(pixels) != self.crc32[i]:
        raise UserError(f"patch {i} in '{self.folder}/pixels.bin' is not as it was written; remove "
                        f"'{self.folder}' to have it cut anew")
      self._checked[i] = True
    return pixels.reshape(self.height[i], self.width[i], 4)

  @functools.cache  # noqa: B019 - banks live as long as the process
  def of_part(self, *parts: str) -> np.ndarray:
    """Numbers of the patches of these parts; of limbs that are no human's if there are none."""
    numbers = np.flatnonzero(np.isin(self.part, parts))
    return numbers if len(numbers) else np.flatnonzero(self.part == 'limb')

  @functools.cached_property
  def parts(self) -> frozenset:
    """Names of the parts there are."""
    return frozenset(self.part.tolist())


def load_or_build(folder, source: Source, *, num_people: int, seed: int) -> PatchBank:
  """The bank in `folder`, cut from `source` first where the folder does not exist.

  Raises as `PatchBank` and, where nothing can be cut of the people, UserError.
  """
  folder = pathlib.Path(folder)
  if not folder.exists():
    build(folder, [source], num_people=num_people, seed=seed)
  return PatchBank(folder)


def build(folder, sources, *, num_people: int, seed: int, progress=False):
  """Cuts a bank out of a random choice of rows of each source; returns {reason: refused cut-outs}.

  Built beside the folder and moved there whole: an interrupted or concurrent build harms nothing.
  A picture or a mask that cannot be read is named and counted.
  """
  for source in sources:
    source.need_pictures('a patch bank')
  folder = pathlib.Path(folder)
  folder.parent.mkdir(parents=True, exist_ok=True)
  scratch = tempfile.mkdtemp(dir=folder.parent, prefix='.bank-')
  rejected = {}
  try:
    _write(scratch, sources, _cut_all(sources, num_people, seed, rejected, progress))
    os.chmod(scratch, 0o755)
    os.rename(scratch, folder)
  except OSError:
    if not folder.exists():  # else another process was first, with the same content
      raise
  finally:
    shutil.rmtree(scratch, ignore_errors=True)
  return rejected


def _cut_all(sources, num_people, seed, rejected, progress):
  """(origin, annotation id, Patch) of every accepted cut-out, and of the drawings for faces."""
  for source in sources:
    order = np.random.default_rng([seed, 0xBA]).permutation(len(source))[:num_people]
    boxes = _boxes_of_pictures(source)
    broken = 0
    for row in tqdm.tqdm(order.tolist(), f'cutting {source.name}', disable=not progress):
      number = int(source.annotation_id[row])
      try:
        image = source.read(row)
        patches = list(cut_person(source, row, image, rejected))
      except (OSError, ValueError) as error:
        broken += 1
        rejected['broken annotation or picture'] = broken
        tqdm.tqdm.write(f'{source.name}: annotation {number} left out of the bank: {error}')
        if broken == len(order):
          raise
        continue
      texture = cut_texture(image, boxes[int(source.image_id[row])],
                            np.random.default_rng([seed, 0x7E, number]))
      for patch in [*patches, *([texture] if texture else [])]:
        yield f'{source.name} {source.split}', number, patch
  if any(body_parts.is_face(source.skeleton) for source in sources):
    for number, patch in enumerate(drawing.drawings(np.random.default_rng([seed, 0xFA]))):
      yield 'drawn', number, patch


def _boxes_of_pictures(source):
  """{image id: (P,4) boxes of the people in it}."""
  order = np.argsort(source.image_id, kind='stable')
  ids, starts = np.unique(source.image_id[order], return_index=True)
  return dict(zip(ids.tolist(), np.split(source.box[order], starts[1:]), strict=True))


def _write(folder, sources, cut_outs):
  rows, digest, offset = [], hashlib.sha256(), 0
  with open(os.path.join(folder, 'pixels.bin'), 'wb') as f:
    for origin, number, p in cut_outs:
      h, w = p.pixels.shape[:2]
      rows.append((p.part, h, w, offset, p.bone, p.stature, p.shrink, p.exact, origin, number,
                   zlib.crc32(p.pixels.tobytes())))
      # Rounded, so that the last bit of a computed place does not count.
      place = np.round(np.nan_to_num(np.append(p.bone, p.stature), nan=-1e6) * 16).astype(np.int64)
      digest.update(f'{p.part} {h} {w} {p.shrink} {number} {place.tolist()} {origin}'.encode())
      digest.update(p.pixels[..., 3].tobytes())
      f.write(p.pixels.tobytes())
      offset += p.pixels.size
  _check_content({row[0] for row in rows}, sources)
  columns = {name: np.array(values)
             for name, values in zip(_COLUMNS, zip(*rows, strict=True), strict=True)}
  columns['crc32'] = columns['crc32'].astype(np.uint32)
  own_files.write_npz(os.path.join(folder, 'index.npz'), columns | {
    'digest': np.array(digest.hexdigest()[:12])}, _COLUMNS, _FORM)
  _write_sheet(folder, columns)


def _check_content(parts, sources):
  """Raises UserError where nothing was cut, or no part of a body although there are limbs."""
  names = ', '.join(f'{s.name} {s.split}' for s in sources)
  if any(s.skeleton.limbs for s in sources) and parts <= {'texture', 'object'}:
    raise UserError(f'no body part could be cut out of {names}: nobody has two neighbouring '
                    'visible joints inside the picture; check the keypoints and the limbs '
                    '(skeleton) of the category')
  if parts <= set(drawing.COUNTS):
    raise UserError(f'nothing could be cut out of {names}: no face lies whole inside its picture, '
                    'and no picture has room beside the faces; take another set, or '
                    '--config.data.bank.folder=BANK')


def _write_sheet(folder, columns):
  """Contact sheet of a random choice of each part."""
  pixels = np.memmap(os.path.join(folder, 'pixels.bin'), np.uint8, 'r')
  rng, shown = np.random.default_rng(0), []
  for part in PARTS:
    numbers = np.flatnonzero(columns['part'] == part)
    chosen = []
    for i in rng.permutation(numbers)[:28]:
      h, w, start = (int(columns[k][i]) for k in ('height', 'width', 'offset'))
      chosen.append(Patch(part, pixels[start:start + h * w * 4].reshape(h, w, 4),
                          columns['bone'][i], 0, 1, True))
    if chosen:
      shown.append((f'{part} ({len(numbers)})', chosen))
  sheet = cv2.cvtColor(contact_sheet(shown), cv2.COLOR_RGB2BGR)
  if not cv2.imwrite(os.path.join(folder, 'contact_sheet.jpg'), sheet):
    raise OSError(f"cannot write the contact sheet to '{folder}'")
