"""Standard output closed (a daemon, `>&-`): AttributeError traceback; a pipe that ended (`| head`) stops the training."""
import os, subprocess, sys
REPO = os.environ.get("PROJECT", os.getcwd())
code = f'import sys; sys.path.insert(0, {REPO!r}); import dslope_jax.cli; dslope_jax.cli.say("text")'
p = subprocess.run(['sh', '-c', 'exec "$@" >&-', 'x', sys.executable, '-c', code], cwd=REPO, stderr=subprocess.PIPE, text=True, env=os.environ | dict(JAX_PLATFORMS='cpu'), timeout=100)
print(p.stderr.strip().splitlines()[-1:]); sys.exit('AttributeError' in p.stderr)
