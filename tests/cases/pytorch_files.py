# needs: torch
"""PyTorch files (needs torch): a dict that holds itself hangs for ever; 1.4 kB ask for 32 GB; Parameters, sparse and quantised tensors end in tracebacks."""
import os, sys; REPO = os.environ.get("PROJECT", os.getcwd()); sys.path.insert(0, REPO); os.chdir(REPO); sys.path.append(os.environ.get('TORCH_PATH', ''))
import resource, signal, tempfile
try: import torch
except ImportError: print('no torch here'); sys.exit(0)
from dslope_jax.weights import files as weight_files
p, bad = tempfile.mkdtemp() + '/a.pth', []
class Late(BaseException): pass
def late(*_): raise Late('hung for 5 s')
signal.signal(signal.SIGALRM, late); resource.setrlimit(resource.RLIMIT_AS, (14 << 30, 14 << 30))
itself = {}; itself['state_dict'] = itself
for what, value in (('holds itself', itself), ('2^33 numbers of stride 0', {'a': torch.ones(1).expand(2**33)}), ('Parameter', {'a': torch.nn.Parameter(torch.ones(2))}), ('sparse', {'a': torch.ones(2).to_sparse()})):
  torch.save(value, p); signal.alarm(5)
  try: weight_files.read(p)
  except (OSError, ValueError): pass
  except BaseException as e: bad.append(f'{what} ({os.path.getsize(p)} bytes): {type(e).__name__}: {str(e)[:100]}')
  signal.alarm(0)
print('\n'.join(bad)); sys.exit(bool(bad))
