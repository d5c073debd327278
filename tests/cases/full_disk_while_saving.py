"""Disk full while a checkpoint is written: hundreds of tracebacks before (or instead of) one line. Needs root (mounts a tmpfs)."""
# needs: root
import os, sys; REPO = os.environ.get("PROJECT", os.getcwd()); sys.path.insert(0, REPO); os.chdir(REPO); os.environ.setdefault("JAX_PLATFORMS", "cpu"); sys.dont_write_bytecode = True
import subprocess, tempfile
d = tempfile.mkdtemp(); subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', d], check=True)
code = '''
import sys; sys.path.insert(0, %r)
import jax, jax.numpy as jnp
from dslope_jax.cli import checked
from dslope_jax.training import checkpointing
from dslope_jax.training.train_state import TrainState
w = {'net': {f'w{i}': jax.random.normal(jax.random.key(i), (100, 100)) for i in range(60)}}
s = TrainState(step=jnp.asarray(1, jnp.int32), params=w, batch_stats={'net': {'m': jnp.ones(3)}}, opt_state=(jnp.zeros(3),), ema={})
with checked():
  c = checkpointing.Checkpoints(%r)
  try: c.save(s, 1); c.wait()
  finally: c.close()
''' % (REPO, d)
try: p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=200)
finally: subprocess.run(['umount', d])
n = p.stderr.count('Traceback'); L = p.stderr.strip().splitlines()
print(f'rc {p.returncode}, {len(L)} lines, {n} tracebacks; error lines: {[l[:160] for l in L if l.startswith("error")]}'); sys.exit(n > 0 or len(L) > 5)
