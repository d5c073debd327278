"""Which network a weight file holds is told from keys and shapes, in every layout."""
import json
import pathlib

import numpy as np
import pytest

from dslope_jax.weights import architecture
from tests.refusals import fails

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden'
_HRNET = dict(stem_width=64, modules=(1, 4, 3), blocks=(4, 4, 4))
_HRFORMER = dict(modules=(1, 4, 2), blocks=2, stem_width=64, bottlenecks=2, window=7)
_LITE = dict(blocks=2, width=40, stem_width=32, reduction=8)
_BASELINE = dict(width=64, filters=(256, 256, 256))
_TALL = (192, 256)
# {listing of published keys: (network, its arguments, keypoints, size of the crops)}
LISTINGS = {
  'dslope/hrnet/keys_tiny8_deep': ('hrnet', dict(
    width=8, stem_width=64, modules=(1, 2, 2), blocks=(2, 2, 2)), 17, _TALL),
  'dslope/hrnet/keys_w32_coco': ('hrnet', dict(width=32, **_HRNET), 17, _TALL),
  'dslope/hrnet/keys_w32_mpii': ('hrnet', dict(width=32, **_HRNET), 16, (256, 256)),
  'dslope/hrnet/keys_w48_coco': ('hrnet', dict(width=48, **_HRNET), 17, _TALL),
  'dslope/simple_baseline/keys_res18_coco': ('simple_baseline', dict(depth=18, **_BASELINE), 17,
                                             _TALL),
  'dslope/simple_baseline/keys_res50_coco': ('simple_baseline', dict(depth=50, **_BASELINE), 17,
                                             _TALL),
  'dslope/simple_baseline/keys_res50_mpii': ('simple_baseline', dict(depth=50, **_BASELINE), 16,
                                             (256, 256)),
  'dslope/simple_baseline/keys_res101_coco': ('simple_baseline', dict(depth=101, **_BASELINE), 17,
                                              _TALL),
  'dslope/simple_baseline/keys_res152_coco': ('simple_baseline', dict(depth=152, **_BASELINE), 17,
                                              _TALL),
  'hrformer/keys_hrformer_small_coco17': ('hrformer', dict(
    size='small', width=32, heads=1, **_HRFORMER), 17, _TALL),
  'hrformer/keys_hrformer_base_coco17': ('hrformer', dict(
    size='base', width=78, heads=2, **_HRFORMER), 17, _TALL),
  'litehrnet/keys_litehrnet18_coco17': ('lite_hrnet', dict(depth=18, **_LITE), 17, _TALL),
  'litehrnet/keys_litehrnet30_coco17': ('lite_hrnet', dict(depth=30, **_LITE), 17, _TALL),
  'vitpose/keys_vitpose_small_classic_coco17': ('vitpose', dict(
    size='small', decoder='classic', filters=(256, 256)), 17, _TALL),
  'vitpose/keys_vitpose_base_classic_coco17': ('vitpose', dict(
    size='base', decoder='classic', filters=(256, 256)), 17, _TALL),
  'vitpose/keys_vitpose_base_simple_coco17': ('vitpose', dict(
    size='base', decoder='simple'), 17, _TALL),
  'vitpose/keys_hf_base_classic_coco17': ('vitpose', dict(
    size='base', decoder='classic', filters=(256, 256), epsilon=1e-12), 17, _TALL)}


def weights(listing):
  """A state dict of the listed shapes that takes no memory."""
  found = json.loads((GOLDEN / f'{listing}.json').read_text())
  entries = [(e['key'], e['shape']) if isinstance(e, dict) else e[:2]
             for e in found.get('entries', found.get('state_dict'))]
  return {key: np.broadcast_to(np.float32(0), shape) for key, shape in entries}


@pytest.mark.parametrize('listing', LISTINGS)
def test_every_published_listing_is_told(listing):
  name, arguments, count, size = LISTINGS[listing]
  found = weights(listing)
  wanted = name, arguments | {'num_keypoints': count}
  for prefix in ('', 'module.', 'model.student.'):
    assert architecture.identify({prefix + k: v for k, v in found.items()}) == wanted
  assert architecture.crop_size(name, found) == size
  trunk = {k: v for k, v in found.items() if not k.startswith((
    'keypoint_head.', 'head.', 'final_layer.', 'deconv_layers.'))}
  name_of_trunk, of_trunk = architecture.identify(trunk)
  assert name_of_trunk == name and 'num_keypoints' not in of_trunk


def test_sizes_from_position_embeddings():
  positions = lambda count: {'pos_embed': np.zeros((1, count + 1, 8))}
  for count, size in ((192, (192, 256)), (432, (288, 384)), (256, (256, 256))):
    assert architecture.crop_size('vitpose', positions(count)) == size
  assert architecture.crop_size('hrnet', positions(432)) == (192, 256)


def test_what_is_no_published_network():
  fails(lambda: architecture.identify({'fc.weight': np.zeros((2, 2))}), 'none of the networks')
  narrow = {'blocks.0.attn.qkv.weight': np.zeros((72, 24))}
  fails(lambda: architecture.identify(narrow), 'width 24 and depth 1')
  uneven = {f'layer{i}.{b}.conv1.weight': np.zeros((8, 8, 1, 1)) for i in range(1, 5)
            for b in range(5)}
  fails(lambda: architecture.identify(uneven), '(5, 5, 5, 5)', 'depths 10, 18, 34')
  lost = weights('dslope/hrnet/keys_w32_coco')
  del lost['conv1.weight']
  fails(lambda: architecture.identify(lost), 'hrnet', 'conv1.weight')
