"""Weight files that end in a traceback: float8 safetensors, a scalar head, a file without a head on the command line."""
import os, sys; REPO = os.environ.get("PROJECT", os.getcwd()); sys.path.insert(0, REPO); os.chdir(REPO); os.environ.setdefault("JAX_PLATFORMS", "cpu"); sys.dont_write_bytecode = True
import json, struct, tempfile
from dslope_jax.weights import pytorch as torch_weights
d, bad = tempfile.mkdtemp(), []
for what, key, dtype, shape, size in (('float8', 'final_layer.weight', 'F8_E4M3', [1], 1), ('scalar head', 'final_layer.weight', 'F32', [], 4), ('no head (ImageNet, backbone)', 'conv1.weight', 'F32', [1], 4)):
  h = json.dumps({key: {'dtype': dtype, 'shape': shape, 'data_offsets': [0, size]}}).encode(); open(d + '/a.safetensors', 'wb').write(struct.pack('<Q', len(h)) + h + b'\0' * size)
  try: torch_weights.load_file(d + '/a.safetensors', 'hrnet', {}, (64, 96))  # as the command line does
  except (OSError, ValueError): continue
  except Exception as e: bad.append(f'{what}: {type(e).__name__}: {e}')
print('\n'.join(bad)); sys.exit(bool(bad))
