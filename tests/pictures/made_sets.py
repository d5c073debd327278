"""Tiny sets in the forms of the published ones, written to a folder for a test."""
import json

import cv2
import numpy as np
import scipy.io

from dslope_jax.skeletons import MPI15, MPI_INF_3DHP
from tests.pictures import made

# Two frames of two people, cm.
PLACES = [[(-40, 0, 400), (50, 5, 520)], [(-30, 0, 380), (60, 0, 500)]]


def write_picture(path, size=made.SIZE):
  path.parent.mkdir(parents=True, exist_ok=True)
  cv2.imwrite(str(path), np.full((*size[::-1], 3), 90, np.uint8))


def frames():
  """Each frame's `Picture`."""
  return [made.one(*places) for places in PLACES]


def write_canonical(root, name='M3E_gt.json', edit=None):
  entries = []
  for i, one in enumerate(frames()):
    file = f'TS{i + 1}/img_000000.jpg'
    write_picture(root / file)
    table = np.concatenate([one.joints_2d, one.joints_3d[..., 2:], one.visibility[..., None],
                            one.joints_3d, np.broadcast_to(made.CAMERA, (2, 15, 4))], -1)
    entries.append({'dataset': 'M3E', 'img_paths': file, 'img_width': made.SIZE[0],
                    'img_height': made.SIZE[1], 'isValidation': i, 'bodys': table.tolist()})
  if edit:
    edit(entries)
  (root / name).write_text(json.dumps({'root': entries}))
  return root


def write_muco(root, edit=None):
  """Of the 21 joints those that MPI15 lacks are far away."""
  of_21 = [1, 0, 14, 5, 6, 7, 11, 12, 13, 2, 3, 4, 8, 9, 10]
  images, annotations = [], []
  for i, one in enumerate(frames()):
    name = f'unaugmented_set/{i}.jpg'
    write_picture(root / name)
    images.append({'id': i + 7, 'width': made.SIZE[0], 'height': made.SIZE[1], 'file_name': name,
                   'f': made.CAMERA[:2].tolist(), 'c': made.CAMERA[2:].tolist()})
    for points, places in zip(one.joints_2d, one.joints_3d, strict=True):
      full_2d, full_3d, seen = np.full((21, 2), 9e3), np.full((21, 3), 9e6), [True] * 21
      full_2d[of_21], full_3d[of_21] = points, 10 * places
      seen[7] = False  # the left wrist
      annotations.append({'id': len(annotations), 'image_id': i + 7, 'bbox': [0, 0, 9, 9],
                          'keypoints_img': full_2d.tolist(), 'keypoints_cam': full_3d.tolist(),
                          'keypoints_vis': seen})
  content = {'images': images, 'annotations': annotations, 'categories': []}
  if edit:
    edit(content)
  (root / 'MuCo-3DHP.json').write_text(json.dumps(content))
  return root


def write_mupots(root, name='TS1', valid=((1, 1), (1, 0)), size=made.SIZE, **changes):
  """annot.mat and occlusion.mat as MATLAB has them: cells of structs, frames x people."""
  order = [MPI15.names.index(n) if n in MPI15.names else 0 for n in MPI_INF_3DHP.names]
  annotations, labels = np.empty((2, 2), object), np.empty((2, 2), object)
  for f, one in enumerate(frames()):
    write_picture(root / name / f'img_{f:06d}.jpg', size)
    for p in range(2):
      annotations[f, p] = {
        'annot2': one.joints_2d[p][order].T, 'annot3': 10 * one.joints_3d[p][order].T,
        'univ_annot3': 11 * one.joints_3d[p][order].T, 'isValidFrame': valid[f][p]}
      labels[f, p] = (np.arange(17) == MPI_INF_3DHP.names.index('left_wrist')).astype(float)
  content = {'annotations': annotations, 'occlusion_labels': labels} | changes
  for file, key in (('annot', 'annotations'), ('occlusion', 'occlusion_labels')):
    scipy.io.savemat(root / name / f'{file}.mat', {key: content[key]})
  return root


def write_panoptic(root, name='160906_pizza1', joints=15, pictures=(0, 1), turn=0.3, lens=(0,) * 5):
  """A sequence whose two cameras see the same; the world is turned about the camera's Y axis."""
  c, s = np.cos(turn), np.sin(turn)
  matrix, move = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]), np.array([[5.0], [-3], [20]])
  k = [[made.CAMERA[0], 0, made.CAMERA[2]], [0, made.CAMERA[1], made.CAMERA[3]], [0, 0, 1]]
  entry = lambda number: {
    'name': f'00_{number:02d}', 'type': 'hd', 'resolution': list(made.SIZE), 'K': k,
    'distCoef': list(lens), 'R': matrix.tolist(), 't': move.tolist()}
  folder = root / name / f'hdPose3d_stage1{"_coco19" * (joints == 19)}'
  folder.mkdir(parents=True)
  calibration = {'calibDataSource': name, 'cameras': [entry(n) for n in (16, 30, 3)]}
  (root / name / f'calibration_{name}.json').write_text(json.dumps(calibration))
  for f, one in enumerate(frames()):
    world = (one.joints_3d - move[:, 0]) @ matrix  # its inverse
    world = np.concatenate([world, np.repeat(world[:, :1], joints - 15, 1)], 1)
    confidence = np.full((2, joints, 1), 0.8)
    confidence[1, 5] = -1
    table = np.concatenate([world, confidence], -1).reshape(2, -1).tolist()
    bodies = [{'id': p, f'joints{joints}': numbers} for p, numbers in enumerate(table)]
    (folder / f'body3DScene_{f:08d}.json').write_text(json.dumps(
      {'version': 0.7, 'univTime': 1.5, 'fpsType': 'hd_29_97', 'bodies': bodies}))
  for number in (16, 30):
    for f in pictures:
      write_picture(root / f'{name}/hdImgs/00_{number}/00_{number}_{f:08d}.jpg')
  return root
