"""One flipped bit in a checkpoint's array data: training resumes from, and evaluation reads, wrong numbers without a word."""
import os, sys; REPO = os.environ.get("PROJECT", os.getcwd()); sys.path.insert(0, REPO); os.chdir(REPO); os.environ.setdefault("JAX_PLATFORMS", "cpu"); sys.dont_write_bytecode = True
import pathlib, random, shutil, tempfile, jax, jax.numpy as jnp, numpy as np
from dslope_jax.training import checkpointing
from dslope_jax.training.train_state import TrainState
def state(step):
  w = {'net': {'w': jax.random.normal(jax.random.key(step), (300, 400))}}
  return TrainState(step=jnp.asarray(step, jnp.int32), params=w, batch_stats={'net': {'m': jnp.ones(3)}}, opt_state=(jnp.zeros(3),), ema={})
work, wrong, rng = pathlib.Path(tempfile.mkdtemp()), 0, random.Random(0)
c = checkpointing.Checkpoints(work)
for s in (1, 2): c.save(state(s), s)
c.close()
for trial in range(8):
  copy = work / f'copy{trial}'; shutil.copytree(work / 'checkpoints', copy / 'checkpoints')
  big = max((f for f in (copy / 'checkpoints/2').rglob('*') if f.is_file()), key=lambda f: f.stat().st_size)
  b = bytearray(big.read_bytes()); b[rng.randrange(len(b))] ^= 1 << rng.randrange(8); big.write_bytes(b)
  c = checkpointing.Checkpoints(copy); r = c.restore(state(0)); c.close()
  if int(r.step) == 2 and not np.array_equal(r.params['net']['w'], state(2).params['net']['w']): wrong += 1
shutil.rmtree(work)
print(f'{wrong} of 8 flipped bits were loaded silently'); sys.exit(wrong > 0)
