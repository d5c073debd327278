"""Writes an occluded benchmark as files that every framework reads, and checks one.

The folder holds the clean pictures, one occluded picture for each labelled person (full pictures,
not crops), and COCO annotations of both. In `annotations/occluded.json` a picture has the number of
its person's annotation; the person carries `covered` (one flag a joint) and `placements` (what was
drawn where); the others in the picture are marked iscrowd, so that COCO's metric ignores them.
`MANIFEST.json` holds counts, statistics and the hash of all draws: equal hashes mean equal pairs.

The exported placements are the benchmark. Drawing them again gives the same ones only with the same
streams of NumPy's generators, which NumPy does not freeze; the hash tells where they differ.
To score from the files, load the folder as a data set, with nothing drawn:
  data.name=coco, loader.annotations='annotations/{split}.json', split 'occluded', recipe 'none'
Its metric is that of the occluded pictures. The column of covered joints is then filled for result
files (`eval.py --predictions`), which take `covered` from the annotations.
"""
import collections
import functools
import hashlib
import os
import zlib
from typing import Required, TypedDict

import cv2
import numpy as np
import tqdm

from dslope_jax import own_files
from dslope_jax.errors import UserError
from dslope_jax.visibility import OUTSIDE, is_labelled
from input_pipeline import pairs, stream
from input_pipeline.occlusion import recipes
from input_pipeline.occlusion.pasting import paste
from input_pipeline.pairs import PairMaker
from input_pipeline.sources.pictures import read_file, read_picture
from input_pipeline.sources.source import Source

FORMATS = {'jpg': [cv2.IMWRITE_JPEG_QUALITY, 95], 'png': []}
_FORM = 1  # of MANIFEST.json; raised when it changes
_PICTURE = np.array([[1.0, 0, 0], [0, 1, 0]])  # the picture itself as a crop


def export(source: Source, bank, recipe: str, size, out, *, picture_format='jpg', num_workers=0,
           unbiased=False):
  """Writes the benchmark of a source to the folder `out`; returns the manifest.

  size: (W, H) of the crops. `published` depends on their aspect, as its sizes follow the box;
  mask_joints is drawn in the crop, that of `PairMaker.unbiased`; the severities depend on neither.
  Raises UserError for a folder that holds a benchmark already, OSError for unreadable pictures.
  """
  source.need_pictures('an export')
  if os.path.exists(os.path.join(out, 'MANIFEST.json')):
    raise UserError(f"'{out}' holds a benchmark already; remove it or choose another --out")
  if picture_format not in FORMATS:
    raise UserError(f"--format is one of {sorted(FORMATS)}, not '{picture_format}'")
  for folder in ('clean', 'occluded', 'annotations'):
    os.makedirs(os.path.join(out, folder), exist_ok=True)
  firsts = set(np.unique(source.image_id, return_index=True)[1].tolist())
  maker = PairMaker(source, tuple(size), bank, recipe, seed=0,
                                   unbiased=unbiased)
  work = functools.partial(_write_pair, maker, str(out), picture_format, firsts)
  records = list(tqdm.tqdm(stream.in_order(len(source), work, num_workers),
                           'writing pairs', len(source)))
  files = {'clean': _clean_json(source, records), 'occluded': _occluded_json(source, records)}
  for name, content in files.items():
    own_files.write_json(_annotations(out, name), content)
  manifest = _manifest(source, bank, recipe, size, records, picture_format)
  manifest['annotations_crc32'] = _annotation_sums(out)
  own_files.write_json(os.path.join(out, 'MANIFEST.json'), manifest)
  return manifest


def partner(maker, row):
  """The fixed occluded partner of a row: placements, and (K,) covered and
  outside; no picture needed."""
  s = maker.source
  person = maker.person(row, maker.upright(row), s.visibility[row])
  placements = recipes.draw(person, maker.bank, pairs.benchmark_rng(s, row),
                              maker.recipe)
  return placements, *recipes.hidden_joints(person, placements, maker.bank)


def _write_pair(maker, out, picture_format, firsts, row):
  """Writes the pictures of one person; returns what the annotations say of them."""
  s = maker.source
  placements, covered, outside = partner(maker, row)
  image = s.read(row)
  occluded, _ = paste(image, _PICTURE, placements, maker.bank)
  record = {'row': row, 'covered': covered.astype(int).tolist(), 'outside': outside,
            'size': image.shape[1::-1],
            'placements': [[int(p.patch), *(round(float(v), 4) for v in p.matrix.ravel()),
                            round(float(p.match), 4)] for p in placements]}
  names = {'occluded': int(s.annotation_id[row])}
  if row in firsts:
    names['clean'] = int(s.image_id[row])
  for kind, number in names.items():
    name = f'{kind}/{number:012d}.{picture_format}'
    picture = occluded if kind == 'occluded' else image
    ok, data = cv2.imencode(f'.{picture_format}', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
                            FORMATS[picture_format])
    if not ok:
      raise OSError(f"cannot encode '{name}'")
    with open(os.path.join(out, name), 'wb') as f:
      f.write(data.tobytes())
    record[kind] = (os.path.basename(name), zlib.crc32(data.tobytes()))
  return record


def _picture_entry(number, record, kind):
  name, checksum = record[kind]
  return {'id': number, 'file_name': name, 'width': int(record['size'][0]),
          'height': int(record['size'][1]), 'crc32': checksum}


def _clean_json(source, records):
  images = [_picture_entry(int(source.image_id[r['row']]), r, 'clean')
            for r in records if 'clean' in r]
  truth, known = source.as_coco(), {entry['id'] for entry in images}
  people = [a for a in truth['annotations'] if a['image_id'] in known]
  return {'images': images, 'annotations': people, 'categories': truth['categories'][:1]}


def _occluded_json(source, records):
  others = collections.defaultdict(list)
  clean = _clean_json(source, records)
  for annotation in clean['annotations']:
    others[annotation['image_id']].append(annotation)
  people = {a['id']: a for a in clean['annotations']}
  fresh = max(people) + 1  # ids of the others, whom the metric ignores
  images, annotations = [], []
  for r in records:
    number, image = int(source.annotation_id[r['row']]), int(source.image_id[r['row']])
    entry = _picture_entry(number, r, 'occluded')
    images.append(entry | {'clean_image_id': image})
    annotations.append(_truncated(people[number], r['outside']) | {
      'image_id': number, 'covered': r['covered'], 'placements': r['placements']})
    for other in others[image]:
      if other['id'] != number and other.get('bbox'):
        annotations.append(
          {'id': fresh, 'image_id': number, 'category_id': other['category_id'], 'iscrowd': 1,
           'bbox': other['bbox'], 'area': other.get('area', 0.0), 'num_keypoints': 0,
           'keypoints': [0] * (3 * source.skeleton.num_keypoints)})
        fresh += 1
  return {'images': images, 'annotations': annotations, 'categories': clean['categories']}


def _truncated(annotation, outside):
  """The annotation of a person of whom some joints (K,) bool are beyond a new border; whom
  num_keypoints 0 excuses stays excused."""
  if not outside.any():
    return annotation
  joints = np.reshape(annotation['keypoints'], (-1, 3))
  joints[outside, 2] = OUTSIDE
  asked = annotation.get('num_keypoints') != 0
  return annotation | {'keypoints': joints.ravel().tolist(),
                       'num_keypoints': int(is_labelled(joints[:, 2]).sum()) if asked else 0}


def _manifest(source, bank, recipe, size, records, picture_format):
  flags = np.array([r['covered'] for r in records], bool)
  labelled = source.labelled[[r['row'] for r in records]]
  share = flags.sum(1) / np.maximum(labelled.sum(1), 1)
  by_joint = flags.sum(0) / np.maximum(labelled.sum(0), 1)
  manifest = {
    'version': _FORM,
    'name': f'C-{source.name}', 'split': source.split, 'benchmark': pairs.BENCHMARK,
    'recipe': recipe, 'bank': bank.digest if bank else 'none', 'source': source.digest,
    'crop': list(size), 'pairs': len(records), 'pictures': len(np.unique(source.image_id)),
    'format': picture_format, 'share_without_patches': _share(not r['placements'] for r in records),
    'covered_joints': int(flags.sum()), 'labelled_joints': int(labelled.sum()),
    'outside_joints': int(sum(r['outside'].sum() for r in records)),
    'mean_covered_share': round(float(share.mean()), 4),
    'covered_share_by_joint': {name: round(float(v), 4) for name, v in
                               zip(source.skeleton.names, by_joint, strict=True)}}
  lines = [_line(int(source.annotation_id[r['row']]), int(source.image_id[r['row']]),
                 r['covered'], r['placements']) for r in records]
  return manifest | {'hash': _hash(manifest, lines)}


def _share(flags):
  flags = list(flags)
  return round(sum(flags) / len(flags), 4)


def _line(number, image, covered, placements):
  """What the hash knows of a pair: whose it is, what is drawn where, which joints it hides.

  Places count to 1/64 of a pixel, so that the last bit of a sine does not.
  """
  drawn = [[int(p[0]), *(round(v * 64) for v in p[1:])] for p in placements]
  return f'{number} {image} {list(covered)} {drawn}'


def _hash(manifest, lines):
  head = [str(manifest[k]) for k in ('benchmark', 'recipe', 'bank', 'source')]
  return hashlib.sha256('\n'.join(head + sorted(lines)).encode()).hexdigest()


class _Picture(TypedDict):
  id: int
  file_name: str
  width: int
  height: int
  crc32: int


class _Clean(TypedDict):
  images: list[_Picture]
  annotations: list[dict]
  categories: list[dict]


class _OccludedPicture(_Picture):
  clean_image_id: int


class _Pair(TypedDict, total=False):
  id: Required[int]
  image_id: Required[int]
  covered: list[int]
  placements: list[list[float]]


class _Occluded(TypedDict):
  images: list[_OccludedPicture]
  annotations: list[_Pair]
  categories: list[dict]


class _Manifest(TypedDict):
  benchmark: str
  recipe: str
  bank: str
  source: str
  pairs: int
  hash: str
  annotations_crc32: dict[str, int]


def verify(folder):
  """Checks every picture of a benchmark folder and the hash of its draws; returns the manifest.

  No file outside of the folder is opened. Raises OSError or UserError naming what differs.
  """
  path = os.path.join(folder, 'MANIFEST.json')
  if not os.path.isfile(path):
    raise FileNotFoundError(f"'{folder}' holds no MANIFEST.json: it is no benchmark, or its export "
                            'was interrupted; run the export again')
  mend = 'it is not as an export writes it: export the benchmark again'
  files = {}
  for kind, form in (('clean', _Clean), ('occluded', _Occluded)):
    files[kind] = own_files.read_json(_annotations(folder, kind), form, mend)
    for entry in tqdm.tqdm(files[kind]['images'], f'checking {kind} pictures'):
      _verify_picture(os.path.join(folder, kind), entry)
  manifest = own_files.read_json(path, _Manifest, mend, _FORM)
  people = [a for a in files['occluded']['annotations'] if 'covered' in a]
  image_of = {e['id']: e['clean_image_id'] for e in files['occluded']['images']}
  lines = [_line(a['id'], image_of.get(a['image_id']), a['covered'], a.get('placements', ()))
           for a in people]
  if len(people) != manifest['pairs'] or _hash(manifest, lines) != manifest['hash']:
    raise UserError(f"{folder}: occluded.json does not have the hash of MANIFEST.json; it was "
                    'changed, or files of two exports are mixed; export it again')
  if _annotation_sums(folder) != manifest['annotations_crc32']:
    raise UserError(f'{folder}: an annotation file was changed after the export; export it again')
  return manifest


def _annotation_sums(folder):
  """{kind: checksum of its annotation file}."""
  return {kind: own_files.crc32_of(_annotations(folder, kind)) for kind in ('clean', 'occluded')}


def _annotations(folder, kind):
  return os.path.join(folder, 'annotations', f'{kind}.json')


def _verify_picture(folder, entry):
  path = own_files.inside(folder, entry['file_name'])
  if zlib.crc32(read_file(path)) != entry['crc32']:
    raise UserError(f"picture '{path}' is not the one that was exported: it was changed or is "
                    'broken; export the benchmark again')
  read_picture(path, (entry['width'], entry['height']))
