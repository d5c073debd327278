"""Heatmaps: keypoints -> Gaussian targets, heatmaps -> keypoints. HRNet's rules, in one place.

Arrays are NHWC: heatmaps (...,h,w,K). Keypoints are (x, y), in crop pixels where they enter
`encode`, in heatmap pixels where they leave `decode`.
"""
import jax.numpy as jnp
import numpy as np


def encode(keypoints, weights, size, stride=4, sigma=2.0):
  """Draws one Gaussian of peak 1 per keypoint, cut to a square of radius 3 sigma.

  keypoints: (...,K,2) crop pixels. weights: (...,K); a joint of weight <= 0.5 gets an empty map.
  size: (W, H) of the crop; the heatmaps are (H/stride, W/stride). sigma: heatmap pixels.

  Returns heatmaps (...,h,w,K) float32 and weights (...,K), zero where the square lies outside the
  map. The peak is int(x / stride + 0.5), cut towards zero: published, so x/stride in (-1.5, 0.5)
  lands on pixel 0. A square that ends exactly at index 0 keeps its weight, over an empty map.
  """
  w, h = size[0] // stride, size[1] // stride
  radius = 3 * sigma
  peak = jnp.trunc(keypoints.astype(jnp.float32) / stride + 0.5)
  limit = jnp.array([w, h], jnp.float32)
  outside = ((peak - radius >= limit) | (peak + radius + 1 < 0)).any(-1)
  weights = jnp.where(outside, 0, weights)
  # Separable: two short exponentials and an outer product instead of one exponential per pixel.
  bell_x = _bell(jnp.arange(w), peak[..., 0], radius, sigma)
  bell_y = _bell(jnp.arange(h), peak[..., 1], radius, sigma) * (weights[..., None, :] > 0.5)
  return bell_y[..., :, None, :] * bell_x[..., None, :, :], weights


def _bell(positions, peak, radius, sigma):
  """(...,n,K) one-dimensional Gaussian around peak (...,K), zero beyond radius."""
  d = positions[:, None].astype(jnp.float32) - peak[..., None, :]
  # The published window is mu - radius ... mu + radius of whole pixels around an integer peak.
  return jnp.where(jnp.abs(d) <= radius, jnp.exp(-(d * d) / (2 * sigma ** 2)), 0)


def decode(heatmaps):
  """Highest pixel of each map, moved a quarter pixel towards its larger neighbour.

  heatmaps: (...,h,w,K). Returns keypoints (...,K,2) float32 in heatmap pixels and scores (...,K),
  the heights of the peaks. A map without a positive pixel gives (0, 0). The first maximum in
  row-major order counts; peaks with 1 < x < w - 1 and 1 < y < h - 1 are moved, so x = 1 is not.
  """
  *_, h, w, _ = heatmaps.shape
  maps = jnp.moveaxis(heatmaps, -1, -3)  # (...,K,h,w)
  flat = maps.reshape(*maps.shape[:-2], h * w)
  index = flat.argmax(-1)
  scores = flat.max(-1)
  index = jnp.where(scores > 0, index, 0)
  x, y = index % w, index // w

  def neighbour(dx, dy):
    at = jnp.clip(y + dy, 0, h - 1) * w + jnp.clip(x + dx, 0, w - 1)
    return jnp.take_along_axis(flat, at[..., None], -1)[..., 0]

  inside = (x > 1) & (x < w - 1) & (y > 1) & (y < h - 1)
  shift = jnp.stack([jnp.sign(neighbour(1, 0) - neighbour(-1, 0)),
                     jnp.sign(neighbour(0, 1) - neighbour(0, -1))], -1)
  keypoints = jnp.stack([x, y], -1) + 0.25 * jnp.where(inside[..., None], shift, 0)
  return keypoints.astype(jnp.float32), scores


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


def to_picture(keypoints, center, scale, size):
  """Heatmap or crop pixels -> pixels of the full picture (inverse of the upright affine map).

  keypoints: (N,K,2) in a frame of size (w, h), that of the heatmap or of the crop. center, scale:
  (N,2), box centre and box side / 200. As published only the width's scale is used; crops keep
  the aspect, so it holds for both axes.
  """
  pixel = (scale[:, :1] * 200 / size[0])[:, :, None]
  middle = np.array(size, np.float32) / 2
  return (keypoints - middle) * pixel + center[:, None]
