"""Sections and defaults of every config; fields.py, or --explain, says what each field means."""
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
    beta2=0.999,
    amsgrad=False,
    clip=0.0,
    layer_decay=1.0,
    frozen=False)


def evaluation(split, metric):
  """An entry of `evals`."""
  return dict(split=split, metric=metric, recipe='published', boxes='gt', batch_size=64, flip=True,
              shift=True, oks_nms=0.9, data=dict(name='', root='', loader=dict()))


def lifting(networks=('net',)):
  """All fields of PoseMoE on clips of 2D keypoints; see configs/h36m_posemoe.py."""
  config = loop(networks)
  config.task = 'lifting'
  config.duration, config.batch_size = '90 epochs', 16
  config.system = ConfigDict(dict(
    name='lifting', view='clean', normalise='screen',
    weights=dict(position=1.0, scale=0.5, velocity=20.0, smoothness=0.0, encoder=0.0),
    model=dict(name='pose_moe', width=128, encoder_layers=8, decoder_layers=8, heads=8,
               head='tanh512', layer_scale=1e-5, embedding_std=0.0, xy_residual=False,
               input_channels=2, dtype='float32')))
  for spec in config.optim.values():
    spec.update(dict(lr=5e-4, schedule='exponential', factor=0.99, weight_decay=0.01,
                     decay='all'))
  config.data.update(ConfigDict(dict(
    name='h36m', root='data/h36m', train_split='train', target='image', frames=243, stride=81,
    windows='drop', recipe='none', flip_prob=0.5, loader=dict())))
  config.evals = ConfigDict(dict(val=dict(
    split='val', metric='mpjpe', recipe='severity3', windows='cover', stride=0, batch_size=64,
    flip=True, data=dict(name='', root='', loader=dict()))))
  return config


def bottom_up(stage='all'):
  """All fields of HUPOR on pictures of several people, in one step or one network after the other;
  see configs/muco_hupor_detect.py."""
  networks = ('detector', 'reasoner', 'refiner')
  config = loop(networks if stage == 'all' else networks[:1 + HUPOR_STAGES.index(stage)])
  config.task = 'bottom_up'
  config.duration, config.batch_size = '192000 steps', 16
  config.system = ConfigDict(dict(
    name='hupor', stage=stage, view='clean', visible_only=True, max_people=20, max_peaks=32,
    thresholds=dict(),
    noise=dict(peak=0.4, dropped=(0.05, 0.1), jitter=1.0, false_peaks=0.3, false_height=0.3,
               lost_limbs=0.05, maps=0.02, depth=1.0),
    detected_share=0.5 if stage == 'all' else 0.0, student_weight=1.0, joint_dropout=0.1,
    reference=False,
    detector=dict(name='smap', stages=3, widths=(64, 128, 256, 512), blocks=(3, 4, 6, 3),
                  decoder_width=256, head_scale=1.0, dtype='float32'),
    reasoner=dict(name='dsed', stages=3, widths=(128, 256, 512), blocks=(3, 4, 6, 3),
                  decoder_width=256, head_scale=1.0, dtype='float32'),
    refiner=dict(name='refine_net', widths=(160, 256, 256, 128))))
  for name, spec in config.optim.items():
    spec.update(dict(lr=1.6e-3, schedule='linear', warmup='2400 steps', warmup_from=0.1, l2=8e-6,
                     decay='all', frozen=stage != 'all' and name != list(config.optim)[-1]))
  if 'refiner' in config.optim:
    config.optim.refiner.update(dict(lr=1e-3, l2=0.0))
  config.data.update(ConfigDict(dict(
    name='muco', root='data/muco', train_split='train', size=(832, 512), max_people=20,
    recipe='none', bank=dict(folder=''),
    beside=dict(name='', root='', train_split='', times=1, scale=(0.8, 1.1), loader=dict()),
    augmentation=dict(rotation=10.0, jitter=40 / 832, scale=(1.0, 1.0), flip_prob=0.5),
    loader=dict())))
  config.evals = ConfigDict(dict(val=dict(
    split='val', metric='mupots', recipe='severity3', batch_size=16, flip=True, peak=0.0,
    data=dict(name='', root='', loader=dict()))))
  config.log_every, config.save_every, config.eval_every = '200 steps', '4000 steps', '16000 steps'
  return config


HUPOR_STAGES = 'detect', 'reason', 'refine'


def refuse_contradictions(words, *choices):
  """Raises UserError for two words of which one takes the other's place. choices: groups of such
  words."""
  for choice in choices:
    given = [word for word in dict.fromkeys(words) if word in choice]
    if len(given) > 1:
      raise UserError(f"config arguments '{given[0]}' and '{given[1]}' contradict: leave one out")


def use_hupor_arguments(config, argument):
  """Applies the comma-separated words after the config file's name: 'smap', a detector of all
  joints alone; 'occluded', pictures with things pasted over them. Raises UserError."""
  for word in filter(None, argument.split(',')):
    if word == 'smap':
      config.system.update(dict(stage='detect', visible_only=False))
      for section in (config.optim, config.init_from):
        for name in set(section) - {'detector'}:
          del section[name]
    elif word == 'occluded':
      config.system.view, config.data.recipe = 'occluded', 'none:1,severity1:1,severity3:1'
    else:
      raise UserError(f"config argument '{word}' is none of smap, occluded")
  return config


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
  one that it reads; none for a teacher that does not learn."""
  config.system.states = True
  for name, spec in config.optim.items():
    if not spec.frozen:
      own = 'states' if name == 'net' else f'{name}_states'
      config.optim[own] = ConfigDict(spec.to_dict() | {'layer_decay': 1.0})
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
  """The same on Leeds Sports Pose Extended in COCO's format, 96x128: a small HRNet for a CPU.

  Network, crops and rate are those that learned most in a CPU's time, see docs/evidence.md.
  """
  config.duration = '40 epochs'
  config.batch_size = 32
  config.system.model.update(dict(width=16, stem_width=16, modules=(1, 1, 1), blocks=(1, 1, 1)))
  config.system.sigma = 1.5
  config.data.update(dict(root='data/lspet', size=(96, 128)))
  config.data.augmentation.update(dict(scale=0.25, rotation=30.0, half_body_prob=0.0))
  config.data.loader.annotations = 'lspet_{split}.json'
  for spec in config.optim.values():
    spec.update(dict(lr=2e-3, schedule='cosine', warmup='200 steps'))
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
  return use_arguments(config, argument, more=('plain',))


def use_arguments(config, argument, models=None, more=()):
  """Applies the comma-separated words after the config file's name: one of `models`,
  {word: arguments of the network}; '256x192', '384x288' or '256x256' (height x width), with the
  sigma that was published for it; for pairs a kind of mutual term and 'shared' (see
  `share_trunk`), for plain networks the view they train on, 'clean' or 'occluded'; 'states' (see
  `tell_states`). more: words that the caller applies. Raises UserError."""
  models = models or {}
  sizes = {'256x192': ((192, 256), 2.0), '384x288': ((288, 384), 3.0), '256x256': ((256, 256), 2.0)}
  kinds, views = ('mse', 'kl', 'distill', 'none'), ('clean', 'occluded')
  words = [word for word in argument.split(',') if word]
  refuse_contradictions(words, models, sizes, kinds, views)
  for word in words:
    if word in ('states', *more):
      continue  # states come last, when the networks are settled
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


def pair_lifting(config):
  """The pair of lifting networks: GNet sees the clean clips, ENet those with hidden joints."""
  config.system.update(ConfigDict(dict(
    name='dslope', learner='lifting',
    mutual=dict(kind='mse', weights=dict(gnet=0.0, enet=0.1), features=False, average=False))))
  del config.system.view
  own = config.optim.net.to_dict()
  config.optim = ConfigDict({'gnet': own, 'enet': own})
  config.init_from = ConfigDict({'gnet': '', 'enet': ''})
  return config


def shorten(config, frames):
  """Clips of fewer frames."""
  config.data.update(dict(frames=frames, stride=min(config.data.stride, frames // 3)))


def read_confidence(config):
  """The network reads the detector's confidence beside x and y."""
  config.system.model.input_channels = 3


def use_lifting_arguments(config, argument, *choices, **words):
  """Applies the comma-separated words after the config file's name: 'entangled', the network of
  one stream; 'clean' or 'occluded', the clips that are trained on; 'pair', see `pair_lifting`.
  words: further ones, {word: function of the config}; choices: groups of which one may be given.
  Raises UserError."""
  known = {'entangled': _entangle, 'pair': pair_lifting} | {
    view: lambda c, view=view: c.system.update({'view': view}) for view in ('clean', 'occluded')}
  given, known = [word for word in argument.split(',') if word], words | known
  for word in given:
    if word not in known:
      raise UserError(f"config argument '{word}' is none of {', '.join(known)}")
  refuse_contradictions(given, ('clean', 'occluded'), *choices)
  if 'pair' in given and {'clean', 'occluded'} & set(given):
    raise UserError("'pair' trains on clean and on occluded clips; leave 'clean' or 'occluded' out")
  for word in sorted(given, key=list(known).index):
    known[word](config)
  return config


def _entangle(config):
  """The network of one stream, as deep, and with as many parameters as `pose_moe` to 2 %: its
  MLPs are wider by what that has in priors, router and heads."""
  model, frames = config.system.model, config.data.frames
  blocks, width = 4 * (model.encoder_layers + model.decoder_layers), model.width
  more = (frames * 17 + 512 * (model.head == 'tanh512') + 5) * width
  config.system.model = ConfigDict(dict(
    name='entangled', width=width, depth=blocks // 2, heads=model.heads,
    head=model.head, layer_scale=model.layer_scale,
    mlp_ratio=round((4 + more / (2 * blocks * width ** 2)) * width) / width,
    embedding_std=model.embedding_std, xy_residual=model.xy_residual,
    input_channels=model.input_channels, dtype=model.dtype))
