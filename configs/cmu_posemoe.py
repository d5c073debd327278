"""PoseMoE on motion of the CMU database, seen by cameras drawn at random.

Paper: Liu et al., PoseMoE (arXiv 2512.16494); a reconstruction, see docs/lifting.md.
Command: python train.py --config configs/cmu_posemoe.py:small --config.data.root=FOLDER
  arguments after a colon, comma-separated: small (T = 27, for a CPU); entangled (the network of one
  stream, of as many parameters); clean / occluded (what it trains on, default occluded); pair
  (D-Slope: GNet sees the clean clips, ENet those with hidden joints)
Files: FOLDER/index.json and FOLDER/npz/, 17 joints in Human3.6M's order; see docs/lifting.md.
Expected and time: see docs/lifting.md.
"""
from configs import common

_RECIPE = 'none:1,severity1:1,severity3:1,severity5:1'


def get_config(argument=''):
  config = on_cmu(common.lifting())
  return common.use_lifting_arguments(config, argument, small=small)


def on_cmu(config):
  """The same on CMU motion: clips of 81 frames, occluded ones by default. Cameras are drawn, so
  people may be anywhere in the picture and of any size there: the network sees clips normalised."""
  config.system.update(dict(view='occluded', normalise='clip'))
  config.system.model.update(dict(xy_residual=True, embedding_std=1.0, input_channels=3))
  config.data.update(dict(name='cmu_mocap', root='data/cmu_mocap', frames=81, stride=27,
                          recipe=_RECIPE, loader=dict(split_file='', cameras=64, seed=0)))
  return config


def small(config):
  """A network and clips for two CPU cores."""
  config.duration, config.batch_size = '2000 steps', 16
  config.system.weights.velocity = 2.0
  config.system.model.update(dict(
    width=32, encoder_layers=2, decoder_layers=2, heads=2, head='linear', layer_scale=1.0))
  config.data.update(dict(frames=27, stride=9))
  for spec in config.optim.values():
    spec.update(dict(lr=1e-2, schedule='cosine', warmup='100 steps', beta2=0.95))
  config.log_every, config.save_every, config.eval_every = '50 steps', '500 steps', '1000 steps'
