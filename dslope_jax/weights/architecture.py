"""Which published network a weight file holds, told from its keys and shapes alone."""
import math
import re

from dslope_jax import models
from dslope_jax.errors import UserError
from dslope_jax.models import iresnet, lite_hrnet, simple_baseline, vitpose

# mmpose's prefixes; HRNetV2's own head is head.0, head.1, head.3
_PARTS = re.compile(r'backbone\.|keypoint_head\.|head\.(?!\d)')
_BRANCH = 'stage2.0.branches.0.0.'
# {network: keys that it alone has, in every layout it is published in}; the first that is found
# counts.
_SIGNS = {
  'vitpose': ('blocks.0.attn.qkv.weight', 'backbone.layers.0.attn.qkv.weight',
              'backbone.encoder.layer.0.attention.attention.query.weight'),
  'hrformer': (_BRANCH + 'attn.attn.q_proj.weight',),
  'lite_hrnet': ('stage0.0.layers.0.cross_resolution_weighting.conv1.conv.weight',),
  'dag': ('kpt_layer.weight',),
  'pose_gcn': ('gconv_input.0.gconv.W',),
  'smap': ('stage0.upsample.up1.res_rd_conv2.conv.weight',),
  'dsed': ('stage0.downsample_prior.layer1.0.conv_bn_relu1.conv.weight',),
  'refine_net': ('block.layer1.0.weight',),
  'hrnet': (_BRANCH + 'conv1.weight',),
  'iresnet': ('layer4.0.prelu.weight',),
  'simple_baseline': ('layer4.0.conv1.weight',)}


def identify(state_dict) -> tuple[str, dict]:
  """(name, arguments) of `models.build` for a state dict of {key: array}, of whatever layout.

  num_keypoints is among the arguments where the dict has a head. What keys and shapes do not tell
  is as it was published (HRFormer: no relative bias).
  Raises UserError where it is none of the networks, or not one that was published.
  """
  for name, signs in _SIGNS.items():
    found = [key.removesuffix(sign) for key in state_dict for sign in signs
             if key == sign or key.endswith('.' + sign)]
    if found:
      prefix = min(found, key=len).removesuffix('backbone.')
      own = {key.removeprefix(prefix): value for key, value in state_dict.items()
             if key.startswith(prefix)}
      shapes = {key: value.shape for key, value in published(name, own).items()}
      try:
        arguments = _READERS[name](shapes)
      except LookupError as error:
        raise UserError(f'the keys are those of a {name}, but {error} is missing') from None
      if any(key.startswith('backbone.encoder.') for key in own):
        arguments['epsilon'] = 1e-12  # of transformers, where the authors have 1e-6
      head = last_layer(name, shapes.get)
      return name, models.with_keypoints(name, arguments, head[0]) if head else arguments
  raise UserError(f'the keys are of none of the networks {", ".join(_SIGNS)}; name the '
                  'architecture, or give its own weights')


def published(name: str, state_dict) -> dict:
  """The state dict under the published key names, if no prefix is before its own."""
  module = models.module(name)
  if hasattr(module, 'from_other_layouts'):
    state_dict = module.from_other_layouts(state_dict)
  return {key[found.end() if (found := _PARTS.match(key)) else 0:]: value
          for key, value in state_dict.items()}


def crop_size(name: str, state_dict) -> tuple[int, int]:
  """(W, H) of the crops that weights were trained on. UserError where they do not tell.

  They are told by ViTPose's position embeddings, and by the graph network's points for heatmaps of
  half the sides; else they are what is usual for 16 keypoints (MPII), for HRNetV2 (faces) or any
  others (COCO). SMAP's are whole pictures; those of IResNet, squares, are told by its last layer.
  """
  shape = lambda *ends: next((v.shape for k, v in state_dict.items() if k.endswith(ends)), None)
  positions = shape('pos_embed', 'position_embeddings')
  if name == 'vitpose' and positions:
    rows, columns = grid_of(positions[1] - 1)
    if rows * columns != positions[1] - 1:
      raise UserError(f'{positions[1] - 1} position embeddings do not tell the size of the crops; '
                      'give it')
    return columns * vitpose.PATCH, rows * vitpose.PATCH
  if name == 'pose_gcn' and shape('FC.0.0.weight'):  # its heatmaps have half the sides
    rows, columns = grid_of(shape('FC.0.0.weight')[1])
    return 2 * columns, 2 * rows
  if name == 'smap':
    return 832, 512
  if name == 'iresnet':
    weight, last = shape('fc.weight'), shape('layer4.0.conv2.weight')
    side = iresnet.STRIDE * math.isqrt(weight[1] // last[0]) if weight and last else 112
    return side, side
  head = last_layer(name, shape)
  square = (name == 'hrnet' and shape('head.3.weight')) or (head and head[0] == 16)
  return (256, 256) if square else (192, 256)


def last_layer(name, shape_of):
  """Shape of the weight that puts out heatmaps; None where the network or the file has none."""
  keys = (re.sub(r'_(\d)', r'.\1', layer) + '.weight' for layer in models.trait(name, 'LAST'))
  return next(filter(None, map(shape_of, keys)), None)


def grid_of(count: int) -> tuple[int, int]:
  """(rows, columns) of so many patches: square pictures of ImageNet, else those of people, 4 to 3.

  Their product is `count`, unless the pictures had other sides.
  """
  side = math.isqrt(count)
  rows = side if side * side == count else max(1, round(math.sqrt(count * 4 / 3)))
  return rows, count // rows


def _count(shapes, pattern):
  """How many numbers stand where `pattern` has '#': from 0 to the highest."""
  place = re.compile(re.escape(pattern).replace(r'\#', r'(\d+)'))
  return 1 + max((int(m[1]) for m in map(place.match, shapes) if m), default=-1)


def _stages(shapes):
  return tuple(_count(shapes, f'stage{stage}.#.') for stage in (2, 3, 4))


def _hrnet(shapes):
  return {'width': shapes[_BRANCH + 'conv1.weight'][0], 'stem_width': shapes['conv1.weight'][0],
          'modules': _stages(shapes),
          'blocks': tuple(_count(shapes, f'stage{stage}.0.branches.0.#.') for stage in (2, 3, 4))
          } | ({'head': 'multi'} if 'head.0.weight' in shapes else {})


def _dag(shapes):
  return _hrnet(shapes) | {
    'attention': 'channel_att.atn.weight' in shapes,
    'spatial_attention': 'spatial_att.gamma' in shapes,
    'presence': 'context_predictor.0.weight' in shapes}


def _pose_gcn(shapes):
  sampler = shapes.get('FC.0.0.weight')
  return {'num_keypoints': shapes['gconv_output.Lamda1'][0],
          'width': shapes[_SIGNS['pose_gcn'][0]][2], 'guidance': sampler is not None,
          'hops': _count(shapes, 'gconv_output.Lamda#') - 1,
          'blocks': _count(shapes, 'gconv_layers.#.') + 1} | (
    {'sampler_width': sampler[0], 'heatmap_size': grid_of(sampler[1])} if sampler else {})


def _of_stages(shapes):
  first, limbs = (shapes[f'stage0.upsample.up1.{head}_conv2.conv.weight'][0]
                  for head in ('res', 'res_d'))
  return {'num_keypoints': first - 2 * limbs, 'limbs': limbs, 'stages': _count(shapes, 'stage#.'),
          'widths': tuple(shapes[f'stage0.downsample.layer{i}.0.conv_bn_relu1.conv.weight'][0]
                          for i in (1, 2, 3, 4)),
          'blocks': tuple(_count(shapes, f'stage0.downsample.layer{i}.#.') for i in (1, 2, 3, 4)),
          'decoder_width': shapes['stage0.upsample.up1.u_skip.conv.weight'][0]}


def _smap(shapes):
  return _of_stages(shapes) | {'anchors': shapes[_SIGNS['smap'][0]][0]}


def _dsed(shapes):
  arguments = _of_stages(shapes)
  return arguments | {'widths': arguments['widths'][1:]}


def _refine_net(shapes):
  widths = [shapes[f'block.layer{i}.0.weight'][0]
            for i in range(1, _count(shapes, 'block.layer#.0.weight'))]
  return {'num_keypoints': shapes[_SIGNS['refine_net'][0]][1] // 5, 'widths': tuple(widths)}


def _hrformer(shapes):
  cells, heads = shapes[_BRANCH + 'attn.attn.relative_position_bias_table']
  width = shapes[_BRANCH + 'norm1.weight'][0]
  return {'size': 'base' if width >= 78 else 'small', 'width': width, 'heads': heads,
          'modules': _stages(shapes), 'blocks': _count(shapes, 'stage2.0.branches.0.#.'),
          'stem_width': shapes['conv1.weight'][0], 'bottlenecks': _count(shapes, 'layer1.#.'),
          'window': (math.isqrt(cells) + 1) // 2}


def _iresnet(shapes):
  blocks = tuple(_count(shapes, f'layer{stage}.#.') for stage in (1, 2, 3, 4))
  depth = next((depth for depth, counts in iresnet.DEPTHS.items() if counts == blocks), None)
  if depth is None:
    raise UserError(f'an IResNet of {blocks} blocks is none of the depths '
                    f'{", ".join(map(str, iresnet.DEPTHS))}')
  return {'depth': depth, 'width': shapes['conv1.weight'][0]} | (
    {'dim': shapes['fc.weight'][0]} if 'fc.weight' in shapes else {})


def _lite_hrnet(shapes):
  modules = tuple(_count(shapes, f'stage{stage}.#.') for stage in (0, 1, 2))
  depth = {m: depth for depth, m in lite_hrnet.MODULES.items()}.get(modules)
  squeezed, all_channels = shapes[_SIGNS['lite_hrnet'][0]][:2]
  return ({'depth': depth} if depth else {'modules': modules}) | {
    'blocks': _count(shapes, 'stage0.0.layers.#.'), 'width': shapes['transition0.0.2.weight'][0],
    'stem_width': shapes['stem.conv1.conv.weight'][0], 'reduction': all_channels // squeezed}


def _simple_baseline(shapes):
  counts = tuple(_count(shapes, f'layer{stage}.#.') for stage in (1, 2, 3, 4))
  deep = 'layer1.0.conv3.weight' in shapes
  depth = next((depth for depth, (_, blocks) in simple_baseline.DEPTHS.items()
                if blocks == counts and (depth >= 50) == deep), None)
  if depth is None:
    raise UserError(f'a ResNet with {counts} blocks is none of the depths '
                    f'{", ".join(map(str, simple_baseline.DEPTHS))}')
  return {'depth': depth, 'width': shapes['conv1.weight'][0]} | _filters(shapes, 3)


def _vitpose(shapes):
  width, depth = shapes['blocks.0.attn.qkv.weight'][1], _count(shapes, 'blocks.#.')
  size = next((size for size, numbers in vitpose.SIZES.items() if numbers[:2] == (width, depth)),
              None)
  if size is None:
    raise UserError(f'a ViT of width {width} and depth {depth} is none of the sizes '
                    f'{", ".join(vitpose.SIZES)}, and its number of heads is not known')
  simple = shapes.get('final_layer.weight', (0, 0, 1))[2] == 3
  return {'size': size, 'decoder': 'simple' if simple else 'classic'} | _filters(shapes, 2)


def _filters(shapes, count):
  """Channels of the deconvolutions, each followed by a norm and a ReLU."""
  keys = [f'deconv_layers.{3 * i}.weight' for i in range(count)]
  return {'filters': tuple(shapes[key][1] for key in keys)} if keys[0] in shapes else {}


_READERS = {'hrnet': _hrnet, 'dag': _dag, 'pose_gcn': _pose_gcn, 'smap': _smap, 'dsed': _dsed,
            'refine_net': _refine_net, 'iresnet': _iresnet, 'hrformer': _hrformer,
            'lite_hrnet': _lite_hrnet, 'simple_baseline': _simple_baseline, 'vitpose': _vitpose}
