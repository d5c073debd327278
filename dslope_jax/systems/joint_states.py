"""Which joints are in sight and in the picture: a second network beside any top-down learner."""
import jax
import jax.numpy as jnp
import optax

from dslope_jax import models
from dslope_jax.errors import UserError
from dslope_jax.systems.base import Facts, Learner
from dslope_jax.visibility import OUTSIDE, VISIBLE, is_labelled


def add(learner: Learner, facts: Facts, view: str) -> Learner:
  """The learner with a network 'states', which tells 'visible' and 'present' of each joint.

  view: what it is trained on, 'clean' or 'occluded'. The network reads what the learner's own one
  puts out ('heatmaps', 'features') and sends no gradient back: poses are as without it. It reads
  the upright picture alone, also where poses are averaged with the mirrored one.
  """
  of_view = ('covered', 'outside') if view == 'occluded' else ()

  def inputs_of(outputs):
    if not outputs.get('features'):
      raise UserError('system.states needs a network that puts out features; choose another '
                      'system.model')
    return jax.lax.stop_gradient((outputs['features'][-1][0], outputs['heatmaps']))

  def shapes(inputs):
    found = learner.shapes(inputs)
    outputs, _ = jax.eval_shape(learner.networks['net'].init_with_output, jax.random.key(0),
                                *found['net'])
    maps = outputs['heatmaps']
    maps = jax.ShapeDtypeStruct((*maps.shape[:3], count), maps.dtype)  # of its own head alone
    return found | {'states': (outputs['features'][-1][0], maps)}

  def run(forward, images):
    outputs = learner.run(forward, images)
    return outputs | {'states': forward('states', *inputs_of(outputs))}

  def fit(outputs, batch):
    of = lambda batch: targets(batch['visibility'], *(batch[field] for field in of_view))
    _, of_all = of(batch.get('whole', batch))
    return learner.fit(outputs, batch) | losses(outputs['states'], *of(batch), of_all)

  def predict(forward, images, **test):
    states = run(forward, images)['states']  # the compiler merges this with the learner's own pass
    told = {name: jax.nn.sigmoid(logits) for name, logits in states.items()}
    return {readout: fields | told
            for readout, fields in learner.predict(forward, images, **test).items()}

  count = facts.skeleton.num_keypoints
  return learner._replace(
    networks=learner.networks | {'states': models.build('joint_states', num_keypoints=count)},
    truth=tuple(dict.fromkeys((*learner.truth, 'visibility', *of_view))),
    shapes=shapes, run=run, fit=fit, predict=predict)


def targets(visibility, covered=False, outside=False):
  """{'visible', 'present'}: (B,K) bool each, and which of them are known.

  visibility: (B,K). covered, outside: (B,K) bool, of the occluded view. v = 0 is known of neither;
  what is outside of the picture is not present, and nobody says whether it would be in sight.
  """
  labelled = is_labelled(visibility)
  inside = labelled & ~jnp.asarray(outside)
  return ({'visible': (visibility == VISIBLE) & ~jnp.asarray(covered), 'present': inside},
          {'visible': inside, 'present': labelled | (visibility == OUTSIDE)})


def losses(logits, wanted, known, of_all):
  """{name: binary cross-entropy, mean over the known joints}, 0 where none is.

  of_all: what is known of the whole batch, where these samples are a micro-batch of it: the mean
  over equal micro-batches is then the value of the whole batch.
  """
  out = {}
  for name, values in logits.items():
    cost = optax.sigmoid_binary_cross_entropy(values, wanted[name].astype(jnp.float32))
    share = of_all[name].mean()
    out[name] = (cost * known[name]).mean() / jnp.where(share > 0, share, 1)
  return out
