"""Published test protocols, one word each, to score a run or another program's result file.

Command: python train.py --config configs/protocols.py:crowdpose --config.data.root=CROWDPOSE
  python eval.py --config configs/protocols.py:ochuman --config.data.root=OCHUMAN \
    --predictions RESULTS.json
  arguments after the colon: coco, mpii, crowdpose, ochuman, ochuman_test, aic, jhmdb, 300w, cofw,
  wflw, aflw; coco_occluded, the hidden and overlapping people of COCO (see docs/protocols.md);
  coco_test and mpii_test, whose poses are written to be submitted; then those of ccoco_hrnet.py
OCHuman is for testing: its protocols have no training split; evaluate a run of ccoco_hrnet.py.
Expected: see the papers of each set; boxes are the ground-truth ones unless a detector's are given.
Time: not measured.
"""
from typing import NamedTuple

from configs import common
from dslope_jax.errors import UserError

_OCCLUDED = dict(subset='occluded')
_TEST_DEV = dict(annotations='annotations/image_info_{split}.json', images='test2017')

_FILES = dict(annotations='', images='', padding=1.25, skip_invalid=False)  # '': the official ones
_COCO = _FILES | dict(annotations='annotations/person_keypoints_{split}.json', category='',
                      skeleton='')
_FACES = _FILES
_MPII = dict(padding=1.25)
_JHMDB = _FILES | dict(images='.', sub=1)

# Augmentations that are not COCO's. HRNet's for MPII (W32 yaml) and for faces (its code for facial
# landmarks: 300W, COFW, WFLW, AFLW; it draws from uniform distributions, this code as for bodies).
# MMPose's for AI Challenger and sub-JHMDB, of which HRNet published nothing.
_SMALLER = dict(scale=0.25, rotation=30.0, half_body_prob=0.0)
_LARGER = dict(scale=0.5, rotation=40.0)
# A third of the partners stays clean, as of `published`.
_FACE_RECIPES = 'none,face_severity2,face_severity4', 'face_severity3'


class _Protocol(NamedTuple):
  """Loader and its options, splits ('' where nobody may train), metric, crop (width, height), what
  differs from COCO's augmentation, recipes of training and testing."""
  name: str
  loader: dict
  train: str
  test: str
  metric: str
  size: tuple[int, int]
  augmentation: dict = {}
  recipes: tuple[str, str] = ('published', 'published')


def _faces(faces_of, test, metric):
  return _Protocol('faces', _FACES | dict(faces_of=faces_of), 'train', test, metric, (256, 256),
                   _SMALLER, _FACE_RECIPES)


_UNKNOWN = 'published', 'none'  # of test sets whose joints nobody knows
_PROTOCOLS = {
  'coco': _Protocol('coco', _COCO, 'train2017', 'val2017', 'coco_ap', (192, 256)),
  'coco_occluded': _Protocol('coco', _COCO, 'train2017', 'val2017', 'coco_ap', (192, 256)),
  'coco_test': _Protocol('coco', _COCO, 'train2017', 'test-dev2017', 'none', (192, 256),
                         recipes=_UNKNOWN),
  'mpii': _Protocol('mpii', _MPII, 'train', 'valid', 'pckh', (256, 256), _SMALLER),
  'mpii_test': _Protocol('mpii', _MPII, 'train', 'test', 'none', (256, 256), _SMALLER, _UNKNOWN),
  'crowdpose': _Protocol('crowdpose', _FILES, 'trainval', 'test', 'crowdpose_ap', (192, 256)),
  'ochuman': _Protocol('ochuman', _FILES, '', 'val', 'coco_ap', (192, 256)),
  'ochuman_test': _Protocol('ochuman', _FILES, '', 'test', 'coco_ap', (192, 256)),
  'aic': _Protocol('aic', _FILES, 'train', 'val', 'coco_ap', (192, 256), _LARGER),
  'jhmdb': _Protocol('jhmdb', _JHMDB, 'train', 'test', 'jhmdb_pck', (256, 256), _SMALLER),
  '300w': _faces('300w', 'valid', 'nme'),
  'cofw': _faces('cofw', 'test', 'nme'),
  'wflw': _faces('wflw', 'test', 'nme'),
  'aflw': _faces('aflw', 'test', 'nme_box')}


def get_config(argument='coco'):
  word, _, rest = argument.partition(',')
  if word not in _PROTOCOLS:
    raise UserError(f"config argument '{word}' is none of {', '.join(_PROTOCOLS)}")
  protocol, config = _PROTOCOLS[word], common.dslope()
  config.system.model.dtype = 'bfloat16'
  config.data.update(dict(name=protocol.name, root=f'data/{word}', train_split=protocol.train,
                          size=protocol.size, recipe=protocol.recipes[0], num_workers=8))
  config.data.loader = common.ConfigDict(protocol.loader)
  config.data.augmentation.update(protocol.augmentation)
  config.evals.val.update(common.evaluation(protocol.test, protocol.metric)
                          | dict(recipe=protocol.recipes[1]))
  config.evals.val.data.loader = common.ConfigDict(
    dict(coco_test=_TEST_DEV, coco_occluded=_OCCLUDED).get(word, {}))
  return common.use_arguments(config, rest, dict(w32=dict(width=32), w48=dict(width=48)))
