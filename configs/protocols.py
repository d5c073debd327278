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

# Loader, its options, training split, test split, metric, crop (width, height).
_PROTOCOLS = {
  'coco': ('coco', {}, 'train2017', 'val2017', 'coco_ap', (192, 256)),
  'coco_test': ('coco', {}, 'train2017', 'test-dev2017', 'none', (192, 256)),
  'mpii_test': ('mpii', {}, 'train', 'test', 'none', (256, 256)),
  'mpii': ('mpii', {}, 'train', 'valid', 'pckh', (256, 256)),
  'crowdpose': ('crowdpose', {}, 'trainval', 'test', 'crowdpose_ap', (192, 256)),
  'ochuman': ('ochuman', {}, 'val', 'val', 'coco_ap', (192, 256)),
  'ochuman_test': ('ochuman', {}, 'val', 'test', 'coco_ap', (192, 256)),
  'aic': ('aic', {}, 'train', 'val', 'coco_ap', (192, 256)),
  'jhmdb': ('jhmdb', {}, 'train', 'test', 'jhmdb_pck', (256, 256)),
  '300w': ('faces', {'faces_of': '300w'}, 'train', 'valid', 'nme', (256, 256)),
  'cofw': ('faces', {'faces_of': 'cofw'}, 'train', 'test', 'nme', (256, 256)),
  'wflw': ('faces', {'faces_of': 'wflw'}, 'train', 'test', 'nme', (256, 256)),
  'aflw': ('faces', {'faces_of': 'aflw'}, 'train', 'test', 'nme_box', (256, 256))}


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
