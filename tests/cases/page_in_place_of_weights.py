# needs: torch
"""A download that is Google Drive's warning page, or a pointer of Git LFS, under the name of weights: the message says that the file holds more than tensors and could run code. Needs torch."""
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
bad, text = [], ''
with tempfile.TemporaryDirectory() as folder:
  for name, content in (
      ('page', b'<!DOCTYPE html><html><head><title>Drive - Virus scan warning</title></head>'),
      ('pointer', b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 114\n')):
    path = pathlib.Path(folder, f'{name}.pth')
    path.write_bytes(content)
    try:
      weight_files.read(path)
    except ValueError as error:
      text += ascii(str(error)) + '\n'
      if 'could run code' in str(error):
        bad.append(name)
verdict(not bad, text, f'no PyTorch file at all: get it again (a web page, a Git LFS pointer); {bad}')
