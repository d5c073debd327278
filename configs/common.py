"""Sections and defaults of every config; durations read '10 epochs' or '500 steps'."""
from ml_collections import ConfigDict

from dslope_jax.errors import UserError


def loop(networks):
  """The fields that every run has, for a system with these networks."""
  return ConfigDict(dict(
    task='',  # a file of dslope_jax/tasks/
    seed=0,
    duration='210 epochs',
    batch_size=128,  # of all devices together
    accumulate=1,  # micro-batches that a batch is split into (gradient accumulation)
    remat=False,  # recompute activations in the backward pass (gradient checkpointing)
    ema_decay=0.0,  # > 0 keeps, and evaluates, a moving average of the weights
    system=dict(name=''),
    optim={name: adam() for name in networks},
    init_from={name: '' for name in networks},  # see docs/weights.md
    fresh_head=False,  # init_from takes all but the head, for other keypoints
    data=dict(
      num_workers=0,  # data processes; 0 works in threads of the training process
      max_unreadable=10,  # files; one more stops the run
      patience=600.0),  # seconds without a batch that stop it
    evals=dict(),
    log_every='50 steps', eval_every='10 epochs', save_every='1 epoch', keep=3))


def top_down(networks=('net',)):
  """All fields of a plain heatmap network on people's crops; a config changes what it needs."""
  config = loop(networks)
  config.task = 'top_down'
  config.system = ConfigDict(dict(
    name='heatmap', view='clean', codec='hrnet', sigma=2.0, loss='mse',
    covered_weight=1.0,  # of joints under a patch, for networks that see occluded crops
    model=dict(
      name='hrnet', width=32, modules=(1, 4, 3), blocks=(4, 4, 4), stem_width=64,
      dtype='float32')))
  config.data.update(ConfigDict(dict(
    name='coco', root='data/coco', train_split='train', size=(192, 256),
    loader=dict(annotations='annotations/person_keypoints_{split}.json', images='', padding=1.25,
                skip_invalid=False, category=''),  # '': the one that has keypoints
    prepared='',  # folder of crops to train on: see README, "Data too slow?"
    recipe='published',  # of the occluded partner while training: see docs/occlusion.md
    bank=dict(num_people=2000, seed=0, folder=''),  # '' is WORKDIR/patches
    augmentation=dict(scale=0.35, rotation=45.0, rotation_prob=0.6, flip_prob=0.5,
                      half_body_prob=0.3, half_body_joints=8),
    holdout=0.0)))  # share of the pictures held out of training, to calibrate confidences on
  config.evals = ConfigDict(dict(val=evaluation('val', 'coco_ap')))
  return config


def adam(lr=1e-3):
  """Published: Adam, 1e-3, a tenth of it from epoch 170 and again from epoch 200, of 210."""
  return dict(
    lr=lr,
    schedule='multistep',  # or 'constant', 'exponential', 'cosine', 'linear'
    boundaries=('170 epochs', '200 epochs'), factor=0.1,  # 'exponential': factor after each epoch
    warmup='0 steps', warmup_from=0.01,  # of lr
    weight_decay=0.0,  # decoupled: AdamW
    l2=0.0,  # added to the gradient: PyTorch's Adam with weight_decay
    decay='kernels',  # what both of them reach, or 'all'
    amsgrad=False,
    clip=0.0,  # norm of the gradient; 0: any
    layer_decay=1.0,  # < 1: for ViTPose
    frozen=False)


def evaluation(split, metric):
  """recipe: of the occluded pictures. boxes: 'gt' or a detector's COCO result file. shift: of the
  mirrored maps by one pixel, with codecs that ask for it (all but 'udp'). data: a data set of its
  own; empty fields, and loader options that are not given, are those of `config.data`."""
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


def use_arguments(config, argument, models=None):
  """Applies the comma-separated words after the config file's name: one of `models`,
  {word: arguments of the network}; '256x192', '384x288' or '256x256' (height x width), with the
  sigma that was published for it; for pairs a kind of mutual term and 'shared' (see
  `share_trunk`), for plain networks the view they train on, 'clean' or 'occluded'. Raises
  UserError."""
  models = models or {}
  sizes = {'256x192': ((192, 256), 2.0), '384x288': ((288, 384), 3.0), '256x256': ((256, 256), 2.0)}
  kinds, views = ('mse', 'kl', 'distill', 'none'), ('clean', 'occluded')
  for word in filter(None, argument.split(',')):
    if word in models:
      config.system.model.update(models[word])
    elif word in sizes:
      config.data.size, config.system.sigma = sizes[word]
    elif 'mutual' in config.system and word in kinds:
      config.system.mutual = dslope(word).system.mutual
      if 'gnet' in config.optim:
        config.optim.gnet.frozen = word == 'distill'
    elif 'mutual' in config.system and word == 'shared':
      share_trunk(config)
    elif 'view' in config.system and word in views:
      config.system.view = word
    else:
      known = [*models, *sizes, *((*kinds, 'shared') if 'mutual' in config.system else views)]
      raise UserError(f"config argument '{word}' is none of {', '.join(known)}")
  return config
