"""Sets of faces with known identity, written to a folder for a test."""
import json
import pathlib
import struct

import cv2
import numpy as np

from dslope_jax.skeletons import FACE_300W


def picture(number, size=(40, 48)):
  """(H,W,3) uint8, of soft colours that tell the number."""
  rng = np.random.default_rng(number)
  coarse = rng.uniform(0, 255, (6, 5, 3)).astype(np.float32)
  return np.clip(cv2.resize(coarse, size), 0, 255).astype(np.uint8)


def write(path, image):
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  assert cv2.imwrite(str(path), image)


def write_folders(root, people, name='{person}_{number:04d}.png', size=(40, 48)):
  """people: {person: number of pictures}."""
  count = 0
  for person, pictures in people.items():
    for number in range(1, pictures + 1):
      write(pathlib.Path(root) / person / name.format(person=person, number=number),
            picture(count, size))
      count += 1
  return str(root)


def write_coco(root, split='train', identities=4, pictures=3, first=0, edit=None):
  """Faces with 68 landmarks, as the file of YouTube Faces has them; two videos a person."""
  root, images, annotations = pathlib.Path(root), [], []
  rng = np.random.default_rng(first)
  for person in range(first, first + identities):
    for number in range(pictures):
      image_id = 100 * person + number
      name = f'{person:03d}_{number:02d}.jpg'
      write(root / split / name, picture(image_id))
      images.append({'id': image_id, 'file_name': name, 'width': 40, 'height': 48})
      points = np.round(rng.uniform((5, 8), (35, 40), (68, 2)), 2)
      low, side = points.min(0), np.ptp(points, axis=0)
      annotations.append({
        'id': image_id, 'image_id': image_id, 'category_id': 1, 'iscrowd': 0, 'identity': person,
        'video': 10 * person + number % 2, 'num_keypoints': 68, 'bbox': [*low.tolist(),
                                                                          *side.tolist()],
        'keypoints': np.column_stack([points, np.full(68, 2)]).ravel().tolist()})
  truth = {'images': images, 'annotations': annotations, 'categories': [
    {'id': 1, 'name': 'face', 'keypoints': [f'point_{k}' for k in range(68)]}]}
  assert len(FACE_300W.names) == 68
  if edit:
    edit(truth)
  (root / f'{split}.json').write_text(json.dumps(truth))
  return str(root)


MARK = struct.pack('<I', 0xced7230a)


def record(content):
  """A record of RecordIO: content that has the mark at a multiple of 4 bytes goes in parts."""
  parts, start = [], 0
  for place in range(0, len(content) - 3, 4):
    if content[place:place + 4] == MARK:
      parts.append(content[start:place])
      start = place + 4
  parts.append(content[start:])
  out = b''
  for number, part in enumerate(parts):
    flag = 0 if len(parts) == 1 else 1 if number == 0 else 3 if number == len(parts) - 1 else 2
    out += MARK + struct.pack('<I', flag << 29 | len(part)) + part + b'\0' * (-len(part) % 4)
  return out


def header(label, key):
  """The header of a record; label: a number, or several."""
  if isinstance(label, (int, float)):
    return struct.pack('<IfQQ', 0, label, key, 0)
  return struct.pack('<IfQQ', len(label), 0, key, 0) + np.array(label, '<f4').tobytes()


def write_packed(root, labels, identities=True, name='train', endings=None):
  """A packed set: labels of the pictures, in order; with records of identities, or without."""
  root = pathlib.Path(root)
  root.mkdir(parents=True, exist_ok=True)
  contents, key = [], int(identities)
  for number, label in enumerate(labels):
    ending = (endings or {}).get(number, '.jpg')
    data = cv2.imencode(ending, picture(number, (112, 112)))[1].tobytes()
    contents.append(header(label, key + number) + data)
  if identities:
    starts = [1 + i for i, label in enumerate(labels) if i == 0 or label != labels[i - 1]]
    ends, last = [*starts[1:], len(labels) + 1], len(labels) + 1
    contents = [header([last, last + len(starts)], 0), *contents]
    contents += [header(span, last + i) for i, span in enumerate(zip(starts, ends, strict=True))]
  data, lines = b'', []
  for key, content in enumerate(contents):
    lines.append(f'{key}\t{len(data)}\n')
    data += record(content)
  (root / f'{name}.rec').write_bytes(data)
  (root / f'{name}.idx').write_text(''.join(lines))
  return str(root)
