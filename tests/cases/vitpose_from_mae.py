"""configs/ccoco_vitpose.py says to start from MAE weights (--config.init_from.gnet=mae_small.pth). MAE files call the last norm norm.weight, hold a cls_token and no head: refused, with fresh_head as well."""
import json, os, pathlib, subprocess, sys, tempfile
import cv2, numpy as np

PROJECT = os.environ.get('PROJECT', os.getcwd())  # clone to test; run this with its python


def verdict(ok, text, wanted):
  print(text[-1500:].strip())
  print('---\nwanted:', wanted)
  print('RIGHT' if ok else 'FAILS')
  sys.exit(not ok)


sys.path.insert(0, PROJECT)
import jax, jax.numpy as jnp
from safetensors.numpy import save_file
from dslope_jax import models
from dslope_jax.weights import pytorch as torch_weights
SIZES = dict(num_keypoints=7, size='small', width=32, depth=2, heads=2, filters=(8, 8))
with tempfile.TemporaryDirectory() as folder:
  made = models.build('vitpose', **SIZES).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
  mae = {key.removeprefix('backbone.').replace('last_norm', 'norm'): value for key, value in
         torch_weights.to_state_dict('vitpose', made).items() if key.startswith('backbone.')}
  mae['cls_token'] = np.zeros((1, 1, 32), np.float32)  # as in mae_pretrain_vit_base.pth
  save_file(mae, folder + '/mae_small.safetensors')
  ok, text = False, ''
  for fresh_head in (False, True):
    try:
      converted, _ = torch_weights.load_file(folder + '/mae_small.safetensors', 'vitpose',
                                             dict(SIZES), (64, 64), fresh_head=fresh_head)
      ok, text = True, text + f'{len(converted.used)} keys taken, fresh: {len(converted.fresh)}\n'
    except ValueError as error:
      text += f'fresh_head={fresh_head}: {error}\n'
  verdict(ok, text, 'the backbone is filled and the head stays fresh, with or without fresh_head')
