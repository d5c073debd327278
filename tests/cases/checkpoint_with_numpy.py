# needs: torch
"""Checkpoints as HRNet's training (perf is a numpy.float64) and mmengine (meta.dataset_meta holds arrays: sigmas, colours) save them. Only the tensors are wanted; the file is refused, and the reason is PyTorch's own page with colour codes. Needs torch."""
import json, os, pathlib, subprocess, sys, tempfile
import cv2, numpy as np

PROJECT = os.environ.get('PROJECT', os.getcwd())  # clone to test; run this with its python


def verdict(ok, text, wanted):
  print(text[-1500:].strip())
  print('---\nwanted:', wanted)
  print('RIGHT' if ok else 'FAILS')
  sys.exit(not ok)


sys.path.insert(0, PROJECT)
try:
  import torch
except ImportError:
  sys.exit('torch is not installed; nothing was tested')
from dslope_jax.weights import files as weight_files
weights, bad, text = {'conv1.weight': torch.zeros(2, 2)}, [], ''
with tempfile.TemporaryDirectory() as folder:
  for name, content in (
      ('hrnet', dict(epoch=9, model='pose_hrnet', state_dict=weights, perf=np.float64(0.7))),
      ('mmengine', dict(state_dict=weights, meta=dict(epoch=9, dataset_meta=dict(
        sigmas=np.ones(17, np.float32), keypoint_colors=np.zeros((17, 3), np.uint8)))))):
    path = f'{folder}/{name}.pth'
    torch.save(content, path)
    try:
      weight_files.read(path)
    except ValueError as error:
      bad.append(name)
      text += ascii(str(error)) + '\n'
verdict(not bad, text, f'the tensors, since NumPy arrays and numbers run nothing; refused: {bad}')
