"""Sections and defaults of every config; FIELDS, or --explain, says what each means."""
from ml_collections import ConfigDict

from dslope_jax.errors import UserError


def loop(networks):
  """The fields that every run has, for a system with these networks."""
  return ConfigDict(dict(
    task='',
    seed=0,
    duration='210 epochs',
    batch_size=128,
    accumulate=1,
    remat=False,
    ema_decay=0.0,
    system=dict(name=''),
    optim={name: adam() for name in networks},
    init_from={name: '' for name in networks},
    fresh_head=False,
    data=dict(
      num_workers=0,
      max_unreadable=10,
      patience=600.0),
    evals=dict(),
    log_every='50 steps', eval_every='10 epochs', save_every='1 epoch', keep=3))


def top_down(networks=('net',)):
  """All fields of a plain heatmap network on people's crops; a config changes what it needs."""
  config = loop(networks)
  config.task = 'top_down'
  config.system = ConfigDict(dict(
    name='heatmap', view='clean', codec='hrnet', sigma=2.0, loss='mse',
    covered_weight=1.0, states=False,
    model=dict(
      name='hrnet', width=32, modules=(1, 4, 3), blocks=(4, 4, 4), stem_width=64,
      dtype='float32')))
  config.data.update(ConfigDict(dict(
    name='coco', root='data/coco', train_split='train', size=(192, 256),
    loader=dict(annotations='annotations/person_keypoints_{split}.json', images='', padding=1.25,
                skip_invalid=False, category='', skeleton=''),
    prepared='',
    recipe='published',
    bank=dict(num_people=2000, seed=0, folder=''),
    augmentation=dict(scale=0.35, rotation=45.0, rotation_prob=0.6, flip_prob=0.5,
                      half_body_prob=0.3, half_body_joints=8),
    holdout=0.0)))
  config.evals = ConfigDict(dict(val=evaluation('val', 'coco_ap')))
  return config


def adam(lr=1e-3):
  """Published: Adam, 1e-3, a tenth of it from epoch 170 and again from epoch 200, of 210."""
  return dict(
    lr=lr,
    schedule='multistep',
    boundaries=('170 epochs', '200 epochs'), factor=0.1,
    warmup='0 steps', warmup_from=0.01,
    weight_decay=0.0,
    l2=0.0,
    decay='kernels',
    amsgrad=False,
    clip=0.0,
    layer_decay=1.0,
    frozen=False)


def evaluation(split, metric):
  """An entry of `evals`."""
  return dict(split=split, metric=metric, recipe='published', boxes='gt', batch_size=64, flip=True,
              shift=True, oks_nms=0.9, data=dict(name='', root='', loader=dict()))


def dslope(kind='mse'):
  """The paired system; the weights are the published ones of kinds 'mse' and 'distill'."""
  config = top_down(('gnet', 'enet'))
  config.system.name = 'dslope'
  del config.system.view  # each half has its own
  config.system.mutual = ConfigDict(dict(
    kind=kind, weights=dict(gnet=1e-5, enet=1e-5 if kind == 'distill' else 1e-3),
    temperature=0.1, features=False, average=False))
  config.system.shared = False
  config.optim.gnet.frozen = kind == 'distill'
  return config


def share_trunk(config):
  """The pair as one network 'net' with two heads; its optimizer is that of ENet."""
  config.system.shared = True
  config.optim = ConfigDict({'net': config.optim.enet})
  config.init_from = ConfigDict({'net': ''})
  return config


def tell_states(config):
  """Networks that tell which joints are in sight and in the picture, each with the optimizer of the
  one that it reads."""
  config.system.states = True
  for name, spec in config.optim.items():
    own = 'states' if name == 'net' else f'{name}_states'
    config.optim[own] = ConfigDict(spec.to_dict() | {'frozen': False, 'layer_decay': 1.0})
    config.init_from[own] = ''
  return config


def on_coco(config):
  """The same on COCO 2017, in bfloat16."""
  config.system.model.dtype = 'bfloat16'
  config.data.train_split = 'train2017'
  config.data.num_workers = 8
  config.evals.val.split = 'val2017'
  return config


def on_mpii(config):
  """The same on MPII, files as HRNet made them, 256x256, in bfloat16."""
  config.system.model.dtype = 'bfloat16'
  config.data.update(dict(name='mpii', root='data/mpii', size=(256, 256), num_workers=8))
  config.data.loader = ConfigDict(dict(padding=1.25))
  config.data.augmentation.update(dict(scale=0.25, rotation=30.0, half_body_prob=0.0))
  config.evals.val.update(evaluation('valid', 'pckh'))
  return config


def on_lspet(config):
  """The same on Leeds Sports Pose Extended in COCO's format, 64x96: a small HRNet for a CPU."""
  config.duration = '20 epochs'
  config.batch_size = 32
  config.system.model.update(dict(width=16, stem_width=16, modules=(1, 1, 1), blocks=(1, 1, 1)))
  config.system.sigma = 1.5
  config.data.update(dict(root='data/lspet', size=(64, 96)))
  config.data.augmentation.update(dict(scale=0.25, rotation=30.0, half_body_prob=0.0))
  config.data.loader.annotations = 'lspet_{split}.json'
  for spec in config.optim.values():
    spec.update(dict(schedule='cosine', warmup='200 steps'))
  config.evals.val.update(evaluation('val', 'pck'))
  config.eval_every = '5 epochs'
  return config


def faces(faces_of, test, argument):
  """HRNetV2-W18 on a set of faces, 256x256, in bfloat16, as HRNet's code for faces trains it; with
  the word 'plain' one network, else a pair. faces_of, test: the set and its split for testing."""
  words = argument.split(',')
  config = top_down() if 'plain' in words else dslope()
  config.duration, config.batch_size, config.eval_every = '60 epochs', 16, '5 epochs'
  config.system.sigma = 1.5
  config.system.model.update(dict(width=18, head='multi', dtype='bfloat16'))
  config.data.update(dict(
    name='faces', root=f'data/{faces_of}', train_split='train', size=(256, 256), num_workers=8,
    recipe='none,face_severity2,face_severity4'))
  config.data.loader = ConfigDict(dict(
    faces_of=faces_of, annotations='', images='', padding=1.25, skip_invalid=False))
  config.data.augmentation.update(dict(scale=0.25, rotation=30.0, half_body_prob=0.0))
  for spec in config.optim.values():
    spec.update(dict(lr=1e-4, boundaries=('30 epochs', '50 epochs')))
  config.evals.val.update(evaluation(test, 'nme') | dict(recipe='face_severity3', flip=False))
  own = ','.join(word for word in words if word != 'plain')
  return use_arguments(config, own, more=('plain',))


def use_arguments(config, argument, models=None, more=()):
  """Applies the comma-separated words after the config file's name: one of `models`,
  {word: arguments of the network}; '256x192', '384x288' or '256x256' (height x width), with the
  sigma that was published for it; for pairs a kind of mutual term and 'shared' (see
  `share_trunk`), for plain networks the view they train on, 'clean' or 'occluded'; 'states' (see
  `tell_states`). more: words that the caller knows. Raises UserError."""
  models = models or {}
  sizes = {'256x192': ((192, 256), 2.0), '384x288': ((288, 384), 3.0), '256x256': ((256, 256), 2.0)}
  kinds, views = ('mse', 'kl', 'distill', 'none'), ('clean', 'occluded')
  words = [word for word in argument.split(',') if word]
  for word in words:
    if word == 'states':
      continue  # comes last, when the networks are settled
    if word in models:
      config.system.model.update(models[word])
    elif word in sizes:
      config.data.size, config.system.sigma = sizes[word]
    elif 'mutual' in config.system and word in kinds:
      config.system.mutual = dslope(word).system.mutual
      if 'gnet' in config.optim:
        config.optim.gnet.frozen = word == 'distill'
    elif 'shared' in config.system and word == 'shared':
      share_trunk(config)
    elif 'view' in config.system and word in views:
      config.system.view = word
    else:
      own = views if 'view' in config.system else kinds
      shared = ['shared'] * ('shared' in config.system)
      known = [*models, *sizes, *own, *shared, 'states', *more]
      raise UserError(f"config argument '{word}' is none of {', '.join(known)}")
  return tell_states(config) if 'states' in words else config


# What each field means, for --explain; a star stands for any network, or any entry of `evals`.
# Arguments of systems, networks and data loaders (`system`, `system.model`, `data.loader`) are not
# here: their docstrings explain them. Durations are texts such as '10 epochs' or '500 steps'.
FIELDS = {
  'task': "kind of problem: 'top_down', one person in a crop, or another file of dslope_jax/tasks/",
  'seed': 'a whole number that all random draws come from: first weights, order of samples, '
          'augmentation, occlusion',
  'duration': 'length of the training, in epochs or steps',
  'batch_size': 'samples of one step, of all devices together; a pair of crops is one sample',
  'accumulate': 'micro-batches that a batch is split into, one after the other (gradient '
                'accumulation): less memory, more time',
  'remat': 'recompute activations in the backward pass (gradient checkpointing): less memory, '
           'more time',
  'ema_decay': 'above 0 a moving average of the weights is kept, and evaluated; its decay in a '
               'step, such as 0.999',
  'init_from.*': 'weights that the network starts from: a run, RUN:NETWORK or a weight file; see '
                 'docs/weights.md',
  'fresh_head': 'init_from takes all but the head, for other keypoints',
  'log_every': 'interval between lines of metrics.jsonl, in epochs or steps',
  'eval_every': 'interval between evaluations, in epochs or steps; the last step is evaluated, too',
  'save_every': 'interval between checkpoints, in epochs or steps; the last step is saved, too',
  'keep': 'newest checkpoints that are kept, a number',

  'system.name': 'what is trained: a file of dslope_jax/systems/',
  'system.*.name': 'architecture: a file of dslope_jax/models/',
  'system.mutual.weights.gnet': "factor of the mutual term in GNet's loss; published 1e-5 for "
                                "'mse'",
  'system.mutual.weights.enet': "factor of the mutual term in ENet's loss; published 1e-3 for "
                                "'mse', 1e-5 for 'distill'",

  'system.states': 'a further network tells which joints are in sight and in the picture; set it '
                   "by the word 'states' after the config's name, which adds its optim section",

  'optim.*.lr': 'learning rate of Adam after the warm-up',
  'optim.*.schedule': "learning rate over time: 'multistep', 'constant', 'exponential', 'cosine' "
                      "or 'linear', the last two down to 0 at the end",
  'optim.*.boundaries': "of 'multistep': times, in epochs or steps, at which the rate is "
                        'multiplied by factor',
  'optim.*.factor': "of 'multistep' at each boundary, of 'exponential' after each epoch",
  'optim.*.warmup': 'rise of the learning rate from warmup_from * lr to lr, in epochs or steps',
  'optim.*.warmup_from': 'share of lr at which the warm-up begins',
  'optim.*.weight_decay': 'share of the weights that is subtracted in a step, times the learning '
                          'rate (AdamW)',
  'optim.*.l2': 'share of the weights that is added to their gradient (weight_decay of '
                "PyTorch's Adam)",
  'optim.*.decay': "what weight_decay and l2 reach: 'kernels' or 'all' parameters",
  'optim.*.amsgrad': 'divide by the largest second moment so far (AMSGrad)',
  'optim.*.clip': 'largest norm of the gradient of the network; 0 for any',
  'optim.*.layer_decay': 'factor on the learning rate for each layer further from the head; 1 for '
                         'none; of ViTPose only',
  'optim.*.frozen': 'the network keeps its weights',

  'data.name': 'data set: a file of input_pipeline/sources/, or crowdpose, aic, jhmdb',
  'data.root': 'folder of the data set',
  'data.train_split': 'split that is trained on',
  'data.size': 'width and height of the crops, in pixels; config words such as 384x288 are '
               'height x width',
  'data.num_workers': 'data processes; 0 works in threads of the training process',
  'data.max_unreadable': 'picture files that cannot be read and count as without labels; one more '
                         'stops the run',
  'data.patience': 'time without a new batch that ends the run, in seconds',
  'data.prepared': 'folder of prepared crops to train on; see docs/performance.md',
  'data.recipe': 'how the occluded crops are drawn in training; see docs/occlusion.md',
  'data.holdout': 'share of the training pictures, 0 to 1, that is kept from training, to '
                  'calibrate confidences on',
  'data.bank.num_people': 'training people that patches are cut from, at most',
  'data.bank.seed': 'of the choice of these people',
  'data.bank.folder': 'folder of a patch bank made before; empty: WORKDIR/patches',
  'data.augmentation.scale': 'standard deviation of the factor on the crop size, which is 1 in the '
                             'mean and never differs from it by more than this',
  'data.augmentation.rotation': 'standard deviation of the rotation, in degrees; never more than '
                                'twice that',
  'data.augmentation.rotation_prob': 'probability, 0 to 1, that a crop is rotated',
  'data.augmentation.flip_prob': 'probability, 0 to 1, that a crop is mirrored',
  'data.augmentation.half_body_prob': 'probability, 0 to 1, that the crop shows the upper or lower '
                                      'body only',
  'data.augmentation.half_body_joints': 'labelled joints above which a crop may show half a body',

  'evals.*.split': 'split that is scored',
  'evals.*.metric': 'how it is scored: a name of docs/evaluation.md',
  'evals.*.recipe': 'how the occluded pictures are drawn; see docs/occlusion.md',
  'evals.*.boxes': "boxes that people are cut out by: 'gt', the ground truth, or a detector's COCO "
                   'result file',
  'evals.*.batch_size': 'people of one batch, of all devices together',
  'evals.*.flip': 'average with the prediction on the mirrored crop (flip test)',
  'evals.*.shift': 'shift the mirrored heatmaps by one heatmap pixel before the average; with '
                   "codec 'udp' never",
  'evals.*.oks_nms': 'OKS, 0 to 1, above which the less certain of two poses is suppressed; 0 '
                     'suppresses none',
  'evals.*.data.name': 'data set of this entry; empty: config.data.name',
  'evals.*.data.root': 'its folder; empty: config.data.root',
  'evals.*.data.loader': 'options of its loader; what is not given is taken from '
                         'config.data.loader',
}

# {range: (is a number in it, fields)}, checked before anything is made.
RANGES = {
  '1 or more': (lambda x: x >= 1, (
    'batch_size', 'accumulate', 'keep', 'evals.*.batch_size', 'data.bank.num_people',
    'system.model*.width', 'system.model*.stem_width', 'system.model*.depth', 'system.gcn.width',
    'system.gcn.hops')),
  '0 or more': (lambda x: x >= 0, (
    'seed', 'optim.*.lr', 'optim.*.weight_decay', 'optim.*.l2', 'optim.*.clip', 'data.num_workers',
    'data.max_unreadable', 'data.bank.seed', 'data.augmentation.rotation',
    'data.augmentation.half_body_joints', 'system.covered_weight', 'system.mutual.weights.*',
    'system.weights.*')),
  'above 0': (lambda x: x > 0, (
    'optim.*.factor', 'data.patience', 'system.sigma', 'system.mutual.temperature',
    '*loader.padding')),
  '0 to 1': (lambda x: 0 <= x <= 1, (
    'optim.*.warmup_from', 'data.augmentation.*_prob', 'evals.*.oks_nms')),
  'above 0, and 1 at most': (lambda x: 0 < x <= 1, ('optim.*.layer_decay',)),
  '0 or more, and below 1': (lambda x: 0 <= x < 1, (
    'ema_decay', 'data.holdout', 'data.augmentation.scale')),
}
