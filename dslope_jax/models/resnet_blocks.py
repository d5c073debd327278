"""Residual blocks of ResNet (He et al., Deep Residual Learning, 2016), shared by HRNet."""
import flax.linen as nn

from dslope_jax.models.layers import BatchNorm, Conv, sum_relu


class BasicBlock(nn.Module):
  """Two 3x3 convolutions with a skip. stride: of the first."""
  features: int
  stride: int = 1

  @nn.compact
  def __call__(self, x, *, train):
    y = Conv(self.features, 3, self.stride, name='conv1')(x)
    y = nn.relu(BatchNorm(name='bn1')(y, train=train))
    y = Conv(self.features, 3, name='conv2')(y)
    return sum_relu(BatchNorm(name='bn2')(y, train=train), _skip(x, y, self.stride, train))


class Bottleneck(nn.Module):
  """1x1, 3x3, 1x1 convolutions to 4 * features channels, with a skip. stride: of the 3x3."""
  features: int
  stride: int = 1

  @nn.compact
  def __call__(self, x, *, train):
    y = nn.relu(BatchNorm(name='bn1')(Conv(self.features, name='conv1')(x), train=train))
    y = Conv(self.features, 3, self.stride, name='conv2')(y)
    y = nn.relu(BatchNorm(name='bn2')(y, train=train))
    y = BatchNorm(name='bn3')(Conv(4 * self.features, name='conv3')(y), train=train)
    return sum_relu(_skip(x, y, self.stride, train), y)


def _skip(x, y, stride, train):
  """x, brought to the resolution and width of y by a 1x1 convolution where they differ."""
  if stride == 1 and x.shape[-1] == y.shape[-1]:
    return x
  x = Conv(y.shape[-1], 1, stride, name='downsample_0')(x)
  return BatchNorm(name='downsample_1')(x, train=train)
