"""Heatmaps: keypoints -> Gaussian targets, heatmaps -> keypoints, under three published rules.

`codec` finds a rule by name: 'hrnet' (whole pixels, a quarter pixel's shift), 'dark' (HRNet's
frame; bells and peaks between the pixels) and 'udp' (the same, in a frame without bias).

Arrays are NHWC: heatmaps (...,h,w,K). Keypoints are (x, y), in crop pixels where they are encoded,
in heatmap pixels where they are decoded.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.errors import UserError


class Codec(NamedTuple):
  """One rule. encode: as `encode`. decode: (heatmaps, sigma) -> as `decode`.

  unbiased: UDP's convention in crops and in heatmaps: lengths are measured between pixel centres,
  so n pixels span n - 1 units; mirrored maps then need no shift in `flip_merge`.
  stamp: the decoder's word in stamps.
  """
  encode: Callable
  decode: Callable
  unbiased: bool
  stamp: str


def codec(name: str) -> Codec:
  """The rule of this name; UserError if there is none."""
  if name not in _CODECS:
    raise UserError(f"system.codec is one of {sorted(_CODECS)}, not '{name}'")
  return _CODECS[name]


def encode(keypoints, weights, size, stride=4, sigma=2.0):
  """HRNet: draws one Gaussian of peak 1 per keypoint, cut to a square of radius 3 sigma.

  keypoints: (...,K,2) crop pixels. weights: (...,K); a joint of weight <= 0.5 gets an empty map.
  size: (W, H) of the crop; the heatmaps are (H/stride, W/stride). sigma: heatmap pixels.

  Returns heatmaps (...,h,w,K) float32 and weights (...,K), zero where the square lies outside the
  map. The peak is int(x / stride + 0.5), cut towards zero: published, so x/stride in (-1.5, 0.5)
  lands on pixel 0. A square that ends exactly at index 0 keeps its weight, over an empty map.
  """
  peak = jnp.trunc(keypoints.astype(jnp.float32) / stride + 0.5)
  return _draw(peak, peak, weights, _map_size(size, stride), sigma)


def encode_dark(keypoints, weights, size, stride=4, sigma=2.0):
  """DARK (Zhang et al., CVPR 2020, section 3.2): the bell's centre is not rounded.

  As `encode`, but the bell fills the whole map; the square only decides about the weight.
  """
  center = keypoints.astype(jnp.float32) / stride
  return _draw(center, center, weights, _map_size(size, stride), sigma, cut=False)


def encode_udp(keypoints, weights, size, stride=4, sigma=2.0):
  """UDP (Huang et al., CVPR 2020, section 3): last crop pixel = last heatmap pixel, no rounding.

  As `encode`; the square stays around the nearest whole pixel, the bell's centre does not.
  """
  map_size = _map_size(size, stride)
  center = keypoints.astype(jnp.float32) / _step(map_size, size, unbiased=True)
  return _draw(center, jnp.trunc(center + 0.5), weights, map_size, sigma)


def _map_size(size, stride):
  return size[0] // stride, size[1] // stride


def _draw(center, window, weights, map_size, sigma, cut=True):
  """Bells around center (...,K,2), cut to squares around window (...,K,2), and their weights."""
  w, h = map_size
  radius = 3 * sigma
  limit = jnp.array([w, h], jnp.float32)
  outside = ((window - radius >= limit) | (window + radius + 1 < 0)).any(-1)
  weights = jnp.where(outside, 0, weights)
  # Separable: two short exponentials and an outer product instead of one exponential per pixel.
  bell_x, bell_y = (_bell(jnp.arange(n), center[..., i], window[..., i],
                          radius if cut else np.inf, sigma) for i, n in enumerate((w, h)))
  bell_y = bell_y * (weights[..., None, :] > 0.5)
  return bell_y[..., :, None, :] * bell_x[..., None, :, :], weights


def _bell(positions, center, window, radius, sigma):
  """(...,n,K) one-dimensional Gaussian around center (...,K), zero beyond radius of window."""
  positions = positions[:, None].astype(jnp.float32)
  d = positions - center[..., None, :]
  # The published window is mu - radius ... mu + radius of whole pixels around an integer peak.
  inside = jnp.abs(positions - window[..., None, :]) <= radius
  return jnp.where(inside, jnp.exp(-(d * d) / (2 * sigma ** 2)), 0)


def decode(heatmaps):
  """HRNet: highest pixel of each map, moved a quarter pixel towards its larger neighbour.

  heatmaps: (...,h,w,K). Returns keypoints (...,K,2) float32 in heatmap pixels and scores (...,K),
  the heights of the peaks. A map without a positive pixel gives (0, 0). The first maximum in
  row-major order counts; peaks with 1 < x < w - 1 and 1 < y < h - 1 are moved, so x = 1 is not.
  """
  *_, h, w, _ = heatmaps.shape
  x, y, scores = peaks(heatmaps)
  at = _reader(heatmaps, x, y)
  inside = (x > 1) & (x < w - 1) & (y > 1) & (y < h - 1)
  shift = jnp.stack([jnp.sign(at(1, 0) - at(-1, 0)), jnp.sign(at(0, 1) - at(0, -1))], -1)
  return _moved(x, y, 0.25 * shift, inside), scores


def decode_dark(heatmaps, sigma=2.0):
  """DARK (section 3.1): one Newton step from the highest pixel, on the logarithm of blurred maps.

  As `decode`; sigma of the targets fixes the blur. As published the second differences reach two
  pixels, so only peaks with 1 < x < w - 2 and 1 < y < h - 2 are moved.
  """
  *_, h, w, _ = heatmaps.shape
  x, y, scores = peaks(heatmaps)
  at = _reader(jnp.log(jnp.maximum(blur(heatmaps, sigma), 1e-10)), x, y)
  step = _newton_step(
    dx=(at(1, 0) - at(-1, 0)) / 2, dy=(at(0, 1) - at(0, -1)) / 2,
    dxx=(at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4, dyy=(at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4,
    dxy=(at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4)
  inside = (x > 1) & (x < w - 2) & (y > 1) & (y < h - 2) & (scores > 0)
  return _moved(x, y, step, inside), scores


def decode_udp(heatmaps, sigma=2.0):
  """UDP's form of DARK's step: differences of one pixel, edges repeated, so every peak is moved.

  As `decode_dark`. Published: blurred maps are cut to 0.001 ... 50 before the logarithm, and the
  second derivatives get float32's epsilon, which keeps a flat map from a division by zero.
  """
  x, y, scores = peaks(heatmaps)
  at = _reader(jnp.log(jnp.clip(blur(heatmaps, sigma), 1e-3, 50)), x, y)
  crossed = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1))
  epsilon = np.finfo(np.float32).eps
  step = _newton_step(
    dx=(at(1, 0) - at(-1, 0)) / 2, dy=(at(0, 1) - at(0, -1)) / 2,
    dxx=at(1, 0) - 2 * at(0, 0) + at(-1, 0) + epsilon,
    dyy=at(0, 1) - 2 * at(0, 0) + at(0, -1) + epsilon, dxy=crossed / 2)
  return _moved(x, y, step, scores > 0), scores


def peaks(heatmaps):
  """x, y and height of each map's highest pixel, (...,K) each; (0, 0) where none is positive."""
  w = heatmaps.shape[-2]
  flat = _rows(heatmaps)
  index = flat.argmax(-1)
  scores = flat.max(-1)
  index = jnp.where(scores > 0, index, 0)
  y = jax.lax.div(index, jnp.asarray(w, index.dtype))  # the signs that // asks for are known
  return index - y * w, y, scores


def _rows(heatmaps):
  """(...,h,w,K) -> (...,K,h*w)."""
  *lead, h, w, k = heatmaps.shape
  return jnp.moveaxis(heatmaps, -1, -3).reshape(*lead, k, h * w)


def _reader(heatmaps, x, y):
  """(dx, dy) -> values (...,K) of the pixels beside (x, y); edge pixels repeat beyond the map."""
  *_, h, w, _ = heatmaps.shape
  flat = _rows(heatmaps)

  def at(dx, dy):
    index = jnp.clip(y + dy, 0, h - 1) * w + jnp.clip(x + dx, 0, w - 1)
    return jnp.take_along_axis(flat, index[..., None], -1)[..., 0]
  return at


def _newton_step(dx, dy, dxx, dyy, dxy):
  """-H^-1 g of each map, (...,K,2); zero where H cannot be inverted."""
  determinant = dxx * dyy - dxy * dxy
  step = jnp.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1)
  solvable = (determinant != 0)[..., None]
  return jnp.where(solvable, step / jnp.where(solvable, determinant[..., None], 1), 0)


def _moved(x, y, step, where):
  """Keypoints (...,K,2) float32: peaks, moved by step where it is asked for."""
  keypoints = jnp.stack([x, y], -1) + jnp.where(where[..., None], step, 0)
  return keypoints.astype(jnp.float32)


def blur(heatmaps, sigma):
  """Heatmaps (...,h,w,K) smoothed by a Gaussian, zeros around them, each of its old height.

  The kernel has 11 pixels for targets of sigma 2 and 17 for sigma 3, as published (DARK, UDP), and
  otherwise the odd number that OpenCV's rule ties to sigma; that rule also gives its own width.
  """
  reach = max(1, round((sigma - 0.8) / 0.3 + 1))
  width = 0.3 * (reach - 1) + 0.8
  kernel = np.exp(-np.arange(-reach, reach + 1) ** 2 / (2 * width ** 2))
  smooth = heatmaps
  for n in heatmaps.shape[-3:-1]:  # each time the first of the last three axes, which goes last
    band = _band(n, reach, kernel / kernel.sum()).astype(heatmaps.dtype)
    # 'highest': accelerators otherwise round the factors, and the peak moves by it.
    smooth = jnp.tensordot(smooth, band, ((-3,), (1,)), precision='highest')
  smooth = jnp.moveaxis(smooth, -3, -1)
  height, now = (m.max((-3, -2), keepdims=True) for m in (heatmaps, smooth))
  return smooth * jnp.where(now > 0, height / jnp.where(now > 0, now, 1), 1)


def _band(n, reach, kernel):
  """(n,n) matrix that convolves n pixels with a kernel of 2 reach + 1."""
  offset = np.arange(n) - np.arange(n)[:, None]
  return np.where(np.abs(offset) <= reach, kernel[np.clip(offset + reach, 0, 2 * reach)], 0)


def flip_merge(heatmaps, flipped, flip_pairs, shift=True):
  """Averages heatmaps with those of the mirrored pictures.

  heatmaps, flipped: (...,h,w,K). flip_pairs: joints exchanged by the mirror. shift: move the
  mirrored maps one pixel to the right first (column 0 keeps its value), as published; it aligns
  strided maps of mirrored pictures and is worth about 2 AP on COCO.
  """
  order = np.arange(heatmaps.shape[-1])
  for a, b in flip_pairs:
    order[a], order[b] = b, a
  back = flipped[..., :, ::-1, :][..., order]
  if shift:
    back = jnp.concatenate([back[..., :, :1, :], back[..., :, :-1, :]], -2)
  return (heatmaps + back) / 2


def to_crop(keypoints, map_size, size, unbiased=False):
  """Heatmap -> crop pixels, both of size (w, h).

  For UDP the published code has size / (map_size - 1) here and divides by size on the way to the
  picture: the same place there, but up to one pixel beside the crop's own joints.
  """
  return keypoints * _step(map_size, size, unbiased)


def _step(map_size, size, unbiased):
  """Crop pixels of one heatmap pixel, (2,) or one for both axes."""
  if unbiased:
    return (np.array(size, np.float32) - 1) / (np.array(map_size, np.float32) - 1)
  return size[0] / map_size[0]


def to_picture(keypoints, center, scale, size, unbiased=False):
  """Heatmap or crop pixels -> pixels of the full picture (inverse of the upright affine map).

  keypoints: (N,K,2) in a frame of size (w, h), that of the heatmap or of the crop. center, scale:
  (N,2), box centre and box side / 200. As published only the width's scale is used; crops keep
  the aspect, so it holds for both axes. UDP uses both.
  """
  pixel, middle = _frame(scale, size, unbiased)
  return (keypoints - middle) * pixel + center[:, None]


def from_picture(keypoints, center, scale, size, unbiased=False):
  """Inverse of `to_picture`."""
  pixel, middle = _frame(scale, size, unbiased)
  return (keypoints - center[:, None]) / pixel + middle


def _frame(scale, size, unbiased):
  """Picture pixels of one pixel of the frame, (N,1,1) or (N,1,2), and the frame's middle (2,)."""
  size = np.array(size, np.float32)
  if unbiased:
    return (scale * 200 / (size - 1))[:, None], (size - 1) / 2
  return (scale[:, :1] * 200 / size[0])[:, :, None], size / 2


_CODECS = {
  'hrnet': Codec(encode, lambda heatmaps, sigma: decode(heatmaps), False, 'quarter'),
  'dark': Codec(encode_dark, decode_dark, False, 'dark'),
  'udp': Codec(encode_udp, decode_udp, True, 'udp')}
