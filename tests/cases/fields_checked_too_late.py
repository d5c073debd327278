"""null or text in area / iscrowd / num_keypoints loads, trains, and ends the first evaluation (before its save) with a TypeError."""
import os
import sys

REPO = os.environ.get('PROJECT', os.getcwd())
sys.path.insert(0, REPO)
os.chdir(REPO)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
sys.dont_write_bytecode = True
import pathlib
import tempfile

import numpy as np

from dslope_jax.evaluation import pose_scores
from dslope_jax.tasks.subjects import of_source
from input_pipeline.sources import coco
from tests.data_sets import write_coco

bad = []
for field, value in (('area', None), ('area', 'x'), ('iscrowd', None), ('num_keypoints', None),
                     ('num_keypoints', 'x')):
  try:
    s = coco.load('train', root=write_coco(
      pathlib.Path(tempfile.mkdtemp()) / 'c',
      edit=lambda t: t['annotations'][0].update({field: value})))
  except ValueError as e:
    print('refused when loaded:', str(e)[-120:])
    continue
  try:
    pose = {'keypoints': s.keypoints.copy(), 'scores': np.ones(s.visibility.shape, np.float32)}
    pose_scores.score(of_source(s), {'net/clean': pose}, np.zeros(s.visibility.shape, bool),
                      metric='coco_ap', oks_nms=0.9)
  except Exception as e:
    bad.append(f'{field}={value!r}: loaded, then {type(e).__name__}: {e}')
print('\n'.join(bad))
sys.exit(bool(bad))
