"""A run folder with a time in its name, runs/2026-11-25_12:30:00: init_from and tools/convert_weights.py took all behind the first colon for the name of a network."""
import json, os, pathlib, subprocess, sys, tempfile
import cv2, numpy as np

PROJECT = os.environ.get('PROJECT', os.getcwd())  # clone to test; run this with its python


def verdict(ok, text, wanted):
  print(text[-1500:].strip())
  print('---\nwanted:', wanted)
  print('RIGHT' if ok else 'FAILS')
  sys.exit(not ok)


with tempfile.TemporaryDirectory() as folder:
  path = pathlib.Path(folder, '2026-11-25_12:30:00', 'model.safetensors')
  path.parent.mkdir()
  from safetensors.numpy import save_file
  save_file({'a.weight': np.zeros(3, np.float32)}, path)
  done = subprocess.run([sys.executable, 'tools/convert_weights.py', str(path), '--model',
                         'simple_baseline', '--set', 'depth=18', '--out', folder + '/out'],
                        capture_output=True, text=True, cwd=PROJECT,
                        env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  text = done.stdout + done.stderr
  verdict('no weight file' not in text, text, 'the file is found (and then refused for its keys)')
