"""The field's test protocols, one word each, to score a run or another program's result file by.

Command: python train.py --config configs/protocols.py:crowdpose --config.data.root=CROWDPOSE
  python eval.py --config configs/protocols.py:ochuman --config.data.root=OCHUMAN \
    --predictions RESULTS.json
  arguments after the colon: coco, mpii, crowdpose, ochuman, ochuman_test, aic, jhmdb, 300w, cofw,
  wflw, aflw; coco_test and mpii_test, whose poses are written to be sent in; then those of
  ccoco_hrnet.py
Expected: see the papers of each set; boxes are the annotated ones unless a detector's are named.
Time: not measured.
"""
from configs import common

_TEST_DEV = dict(annotations='annotations/image_info_{split}.json', images='test2017')

_FILES = dict(annotations='', images='', padding=1.25, skip_invalid=False)  # '': the official ones
_COCO = _FILES | dict(annotations='annotations/person_keypoints_{split}.json')
_FACES = _FILES | dict(images='images')

# Loader, its options, training split, test split, metric, crop (width, height).
_PROTOCOLS = {
  'coco': ('coco', _COCO, 'train2017', 'val2017', 'coco_ap', (192, 256)),
  'coco_test': ('coco', _COCO, 'train2017', 'test-dev2017', 'none', (192, 256)),
  'mpii': ('mpii', {'padding': 1.25}, 'train', 'valid', 'pckh', (256, 256)),
  'mpii_test': ('mpii', {'padding': 1.25}, 'train', 'test', 'none', (256, 256)),
  'crowdpose': ('crowdpose', _FILES, 'trainval', 'test', 'crowdpose_ap', (192, 256)),
  'ochuman': ('ochuman', _FILES, 'val', 'val', 'coco_ap', (192, 256)),
  'ochuman_test': ('ochuman', _FILES, 'val', 'test', 'coco_ap', (192, 256)),
  'aic': ('aic', _FILES, 'train', 'val', 'coco_ap', (192, 256)),
  'jhmdb': ('jhmdb', _FILES | {'images': '.', 'sub': 1}, 'train', 'test', 'jhmdb_pck', (256, 256)),
  '300w': ('faces', _FACES | {'faces_of': '300w'}, 'train', 'valid', 'nme', (256, 256)),
  'cofw': ('faces', _FACES | {'faces_of': 'cofw'}, 'train', 'test', 'nme', (256, 256)),
  'wflw': ('faces', _FACES | {'faces_of': 'wflw'}, 'train', 'test', 'nme', (256, 256)),
  'aflw': ('faces', _FACES | {'faces_of': 'aflw'}, 'train', 'test', 'nme_box', (256, 256))}


def get_config(argument='coco'):
  word, _, rest = argument.partition(',')
  if word not in _PROTOCOLS:
    raise ValueError(f"config argument '{word}' is none of {', '.join(_PROTOCOLS)}")
  name, options, train, test, metric, size = _PROTOCOLS[word]
  config = common.dslope()
  config.system.model.dtype = 'bfloat16'
  config.data.update(dict(name=name, root=f'data/{word}', train_split=train, size=size))
  config.data.loader = common.ConfigDict(options)
  config.evals.val.update(common.evaluation(test, metric))
  if metric == 'none':
    config.evals.val.recipe = 'none'  # nobody knows where their joints are
  if word == 'coco_test':
    config.evals.val.loader = common.ConfigDict(_TEST_DEV)
  return common.use_arguments(config, rest, dict(w32=dict(width=32), w48=dict(width=48)))
