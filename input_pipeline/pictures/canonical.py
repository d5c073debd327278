"""Any set in the JSON form of SMAP and HUPOR: what their converters write.

{"root": [{"img_paths", "img_width", "img_height", "isValidation", "bodys": N x 15 x 11}]}. The
columns: x, y (pixels), Z (cm), v, X, Y, Z (cm, camera frame), fx, fy, cx, cy. Joints are those of
MPI15. Source: Zhen et al., SMAP (ECCV 2020), its code.
"""
import os

import msgspec
import numpy as np

from dslope_jax import own_files
from dslope_jax.errors import UserError
from input_pipeline.pictures import files, picture

_HOW_TO_GET = ('give the file by --config.data.loader.annotations=FILE, below config.data.root; it '
               'is {"root": [...]} with img_paths, img_width, img_height and bodys, N x 15 x 11')


class _Image(msgspec.Struct):
  img_paths: str
  img_width: int
  img_height: int
  bodys: msgspec.Raw
  validation: float = msgspec.field(default=0, name='isValidation')


class _File(msgspec.Struct):
  root: list[_Image]


def load(split, *, root, annotations, images='', visibility='set'):
  """The pictures of 'train' or 'val' (isValidation), or of 'all'.

  annotations: file below root. images: folder below root of the pictures. visibility: 'set', the
  file's, or 'proxy', see `picture.gather`. A file whose depths are all 0, as of COCO, has none; the
  top of the head counts where anybody has it. take: the folder of a picture.
  """
  path = os.path.join(root, annotations)
  entries = files.read_json(path, _File, _HOW_TO_GET).root
  sides = {entry.img_paths: 'val' if entry.validation else 'train' for entry in entries}
  found = [_picture(entry, path, i) for i, entry in enumerate(entries)]
  found = files.chosen(split, found, lambda p: sides[p.name], path)
  channels = None
  if not any(p.joints_3d[..., 2].any() for p in found):
    head = any(p.visibility[:, picture.SKELETON.index('head_top')].any() for p in found)
    found = [p._replace(joints_3d=None) for p in found]
    channels = picture.channels_without(() if head else ('head_top',), depth=False)
  read = files.reader(os.path.join(root, images), found, path, _HOW_TO_GET)
  return picture.gather(os.path.splitext(annotations)[0], split, found, read, channels=channels,
                        visibility=visibility)


def _picture(entry, path, number):
  where = f"{path}: 'bodys' of picture {number}"
  with own_files.told(path, f"'bodys' of picture {number} is no list; {_HOW_TO_GET}"):
    people = len(msgspec.json.decode(entry.bodys, type=list[msgspec.Raw]))
  table = files.numbers(entry.bodys, (people, 15, 11), where) if people else np.zeros((0, 15, 11))
  cameras, labelled = table[..., 7:].reshape(-1, 4), table[table[..., 3] > 0]
  if not np.allclose(cameras, cameras[:1], atol=0.01):
    raise UserError(f'{where}: its people have different cameras (columns 7 to 10), and a picture '
                    'has one; mend the file')
  if not np.allclose(labelled[:, 2], labelled[:, 6], atol=1):
    raise UserError(f'{where}: columns 2 and 6 are both Z in cm, and differ; mend the file')
  camera = cameras[0] if cameras.any() else None
  return picture.Picture(
    entry.img_paths, (entry.img_width, entry.img_height), table[..., :2], table[..., 4:7],
    table[..., 3], camera, take=os.path.dirname(entry.img_paths))
