"""One plain heatmap network: the baseline that every paired system is compared with."""
import jax

from dslope_jax import heatmaps, losses, models
from dslope_jax.systems.base import System, normalise

_LOSSES = {'mse': losses.heatmap_mse, 'ohkm': losses.ohkm_mse}


def build(num_keypoints, model, sigma=2.0, loss='mse', joint_weights=None, images='clean',
          codec='hrnet'):
  """A network 'net' trained on clean or on occluded crops.

  model: name and arguments of `models.build`. sigma: of the target, heatmap pixels.
  loss: 'mse' or 'ohkm'. joint_weights: K factors, or None (published for COCO: 1).
  images: 'clean' trains on `image`, 'occluded' on `occluded_image`. codec: of `heatmaps.codec`.
  """
  field = {'clean': 'image', 'occluded': 'occluded_image'}.get(images)
  if field is None:
    raise ValueError(f"system.images is 'clean' or 'occluded', not '{images}'")
  networks = {'net': models.build(**model, num_keypoints=num_keypoints)}
  fit = make_fit(loss, sigma, joint_weights, codec)

  def loss_fn(forward, batch, step):
    output = forward('net', normalise(batch[field]))
    term = fit(output['heatmaps'], batch)
    return term, {'net/heatmap': term}

  return System(networks, image_shapes(networks), loss_fn, make_predict(networks))


def image_shapes(networks):
  """`System.inputs` of networks that take one batch of images."""
  return lambda size: {name: [jax.ShapeDtypeStruct((1, size[1], size[0], 3), 'float32')]
                       for name in networks}


def make_fit(loss, sigma, joint_weights, codec='hrnet'):
  """(heatmaps, batch) -> the joint loss against targets drawn from the batch's keypoints.

  Joints with v = 1 and v = 2 weigh alike (HRNet); a joint hidden by a patch keeps its weight.
  """
  if loss not in _LOSSES:
    raise ValueError(f"system.loss is one of {sorted(_LOSSES)}, not '{loss}'")
  heatmaps.codec(codec)  # an unknown one is told before anything is compiled

  def fit(pred, batch):
    target, weight = draw_targets(batch, pred.shape[2], sigma, joint_weights, codec)
    return _LOSSES[loss](pred, target, weight)
  return fit


def draw_targets(batch, heatmap_width, sigma, joint_weights=None, codec='hrnet'):
  """Heatmaps (B,h,w,K) and joint weights (B,K) of a batch; stride = crop width / heatmap width."""
  h, w = batch['image'].shape[1:3]
  labelled = (batch['visibility'] > 0).astype('float32')
  target, weight = heatmaps.codec(codec).encode(batch['keypoints'], labelled, (w, h),
                                                w // heatmap_width, sigma)
  if joint_weights is not None:
    weight = weight * jax.numpy.asarray(joint_weights, weight.dtype)
  return target, weight


def make_predict(networks):
  """`System.predict` that runs every network on the same images."""
  def predict(forward, images):
    images = normalise(images)
    return {name: forward(name, images, train=False)['heatmaps'] for name in networks}
  return predict
