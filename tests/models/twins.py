"""Operations that twins of networks are written in: of NumPy, and of PyTorch where it is there."""
import numpy as np
import pytest


class OfNumpy:
  """Operations on (B,C,H,W) float64."""

  def convolve(self, x, weight, bias=None, stride=1):
    size = weight.shape[-1]
    x = np.pad(x, ((0, 0), (0, 0), *[((size - 1) // 2,) * 2] * 2))
    patches = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    out = np.einsum('bchwij,ocij->bohw', patches[:, :, ::stride, ::stride], weight, optimize=True)
    return out if bias is None else out + bias[:, None, None]

  def norm(self, x, scale, bias, mean, var):
    mean, var, scale, bias = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in (mean, var, scale, bias))
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias

  def enlarge(self, x, size):
    for axis, new in zip((2, 3), size, strict=True):
      old = x.shape[axis]
      place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
      low = np.floor(place).astype(int)
      share = (place - low).reshape([-1 if a == axis else 1 for a in range(4)])
      high = np.minimum(low + 1, old - 1)
      x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return x

  def prelu(self, x, weight):
    return np.where(x >= 0, x, x * weight[:, None, None])

  def linear(self, x, weight, bias):
    return x.reshape(len(x), -1) @ weight.T + bias

  relu = staticmethod(lambda x: np.maximum(x, 0))
  join = staticmethod(lambda maps: np.concatenate(maps, 1))
  tensor = staticmethod(lambda x: np.asarray(x, np.float64))
  array = staticmethod(np.asarray)


class OfTorch:
  """The same operations by PyTorch."""

  def __init__(self):
    self.torch = pytest.importorskip('torch', reason='PyTorch is not installed: the twin runs on '
                                     'NumPy alone')
    self.functional = self.torch.nn.functional
    self.relu, self.prelu = self.functional.relu, self.functional.prelu

  def convolve(self, x, weight, bias=None, stride=1):
    return self.functional.conv2d(x, weight, bias, stride, (weight.shape[-1] - 1) // 2)

  def norm(self, x, scale, bias, mean, var):
    return self.functional.batch_norm(x, mean, var, scale, bias)

  def enlarge(self, x, size):
    return self.functional.interpolate(x, size=size, mode='bilinear', align_corners=False)

  def linear(self, x, weight, bias):
    return self.functional.linear(x.flatten(1), weight, bias)

  def join(self, maps):
    return self.torch.cat(maps, 1)

  def tensor(self, x):
    return self.torch.tensor(np.ascontiguousarray(x, np.float64))

  def array(self, x):
    return x.numpy()
