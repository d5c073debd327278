"""D-Slope on who a face is of: IResNet-18 of insightface's family, crops of 112x112.

Command: python train.py --config configs/faces_recognition.py --config.data.root=FACES
  arguments after a colon, comma-separated: a mutual term, kl (default), mse, distill or none;
  clean / occluded (one plain network instead of a pair, and the crops it is trained on);
  softmax, cosface (in place of ArcFace); r50, r100 (IResNet-50, IResNet-100)
Files: FACES/PERSON/*.jpg, a folder a person; or with --config.data.name=coco a json of COCO's form
  whose annotations have an identity, --config.data.name=lfw, packed: see docs/faces.md.
Expected and time: see docs/faces_results.md.
"""
from ml_collections import ConfigDict

from configs import common
from dslope_jax.errors import UserError

_DEPTHS = {'r50': 50, 'r100': 100}
_MARGINS = {'softmax': 0.0, 'cosface': 0.4}
_KINDS, _VIEWS = ('kl', 'mse', 'distill', 'none'), ('clean', 'occluded')


def get_config(argument=''):
  config = recognition(argument)
  config.data.loader = ConfigDict(dict(
    folder='', annotations='', images='', skeleton='', pairs='', records='', held_out=0, seed=0))
  return config


def recognition(argument=''):
  """All fields of recognition, for a pair or, with the word 'clean' or 'occluded', one network."""
  words = [word for word in argument.split(',') if word]
  known = [*_KINDS, *_VIEWS, *_MARGINS, *_DEPTHS]
  for word in words:
    if word not in known:
      raise UserError(f"config argument '{word}' is none of {', '.join(known)}")
  common.refuse_contradictions(words, _KINDS, _VIEWS, _MARGINS, _DEPTHS)
  one = lambda choices: next((word for word in words if word in choices), None)
  view = one(_VIEWS)
  if view and one(_KINDS):
    raise UserError(f"'{view}' trains one network, which has no mutual term '{one(_KINDS)}'")
  halves = ('net',) if view else ('gnet', 'enet')
  config = common.loop([name for half in halves for name in (
    half, 'head' if view else f'{half}_head')])
  config.task = 'recognition'
  config.duration, config.batch_size, config.eval_every = '40 epochs', 128, '5 epochs'
  config.system = ConfigDict(dict(
    name='identity', loss='arcface', scale=64.0, margin=0.5,
    model=dict(name='iresnet', depth=18, width=64, dim=512, dropout=0.0, dtype='float32')))
  if view:
    config.system.view = view
  else:
    config.system.update(ConfigDict(dict(name='dslope', learner='identity', mutual=_mutual(
      one(_KINDS) or 'kl'))))
  if config.system.get('mutual') and config.system.mutual.kind == 'distill':
    config.optim.gnet.frozen = True
    del config.optim.gnet_head, config.init_from.gnet_head  # nothing reads it
  for word in words:
    if word in _MARGINS:
      config.system.update(dict(loss=word, margin=_MARGINS[word]))
    elif word in _DEPTHS:
      config.system.model.depth = _DEPTHS[word]
  for spec in config.optim.values():
    spec.update(dict(schedule='cosine', warmup='1 epoch', weight_decay=0.01))
  config.data.update(ConfigDict(dict(
    name='face_folders', root='data/faces', train_split='train', size=(112, 112), num_workers=8,
    crop='landmarks', padding=1.25, recipe='none,face_severity2,face_severity4',
    bank=dict(num_people=1000, seed=0, folder=''),
    augmentation=dict(flip_prob=0.5, shift=0.02, scale=0.03, rotation=3.0, light=0.15,
                      contrast=0.15, saturation=0.3),
    loader=dict())))
  config.evals = ConfigDict(dict(val=dict(
    split='val', recipe='face_severity3', pairs=6000, batch_size=128, flip=True,
    data=dict(name='', root='', loader=dict()))))
  return config


def _mutual(kind):
  """The weights are of this project: GNet learns from the truth alone, ENet also from GNet."""
  weight = {'kl': 1.0, 'mse': 1.0, 'distill': 1.0, 'none': 0.0}[kind]
  return dict(kind=kind, weights=dict(gnet=0.0, enet=weight), temperature=4.0, features=False,
              average=False)
