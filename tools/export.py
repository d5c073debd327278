"""Writes a predictor as files that run without this code: StableHLO for JAX, ONNX for all others.

  python tools/export.py --weights WORKDIR --out DIR
  python tools/export.py --weights WORKDIR:enet --formats stablehlo,onnx --out DIR

--weights: as for predict.py. DIR gets predictor.stablehlo, predictor.onnx and certificate.json:
what the files are made of, and by how much they differ from the predictor on trial crops. A file
that differs by more than rounding is refused. docs/export.md shows how to run them and how to
install what ONNX needs.
"""
import argparse
import datetime
import hashlib
import importlib.metadata
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

import jax
import numpy as np

from dslope_jax import exporting, own_files, skeletons
from dslope_jax.cli import checked, crop_size, keep_compiled, say
from dslope_jax.errors import UserError
from dslope_jax.files import local_path
from dslope_jax.predictor import Predictor
from dslope_jax.weights.files import digest

_FORMATS = {
  'stablehlo': (exporting.to_stablehlo, exporting.load_stablehlo, ('jax', 'jaxlib')),
  'onnx': (exporting.to_onnx, exporting.load_onnx, ('jax2onnx', 'onnx', 'onnxruntime'))}
_EXPIRY = ('JAX refuses predictor.stablehlo some months after the date above, by its compatibility '
           'window. It is for delivery: to keep weights, keep safetensors (tools/publish.py) and '
           'this code, and export again.')


def _parse(argv):
  parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--weights', required=True)
  parser.add_argument('--out', required=True, metavar='DIR')
  parser.add_argument('--formats', type=_formats, default=['stablehlo'], metavar='NAMES',
                      help=f'of {",".join(_FORMATS)} (stablehlo)')
  parser.add_argument('--size', type=crop_size, metavar='WxH', help='of crops, for weight files')
  parser.add_argument('--skeleton', metavar='NAME', choices=skeletons.KNOWN,
                      help='of weight files with other than 17 (COCO) or 16 (MPII) keypoints')
  return parser.parse_args(argv)


def _formats(text):
  names = text.split(',')
  if unknown := set(names) - set(_FORMATS):
    raise argparse.ArgumentTypeError(f'{unknown.pop()!r} is none of {", ".join(_FORMATS)}')
  return names


def export(given):
  """Writes all files of an export, the certificate last."""
  present = [name for name in ('certificate.json', *map(_file, _FORMATS))
             if os.path.exists(os.path.join(given.out, name))]
  if present:
    raise UserError(f"'{given.out}' holds an export ({', '.join(present)}); choose another --out")
  # In bfloat16 no two programs round alike.
  predictor = Predictor(given.weights, skeleton=given.skeleton, size=given.size, dtype='float32')
  say(f'weights: {predictor.about}')
  reference = exporting.Reference(predictor, exporting.trial_crops(predictor))
  os.makedirs(given.out, exist_ok=True)
  # In which folder they are is nobody else's business.
  certificate = _certificate(predictor, reference, re.sub("^'[^']*/", "'", predictor.about))
  for name in given.formats:
    write, load, packages = _FORMATS[name]
    path = os.path.join(given.out, _file(name))
    content = write(predictor)
    with open(path + '.part', 'wb') as f:
      f.write(content)
    try:
      parity = reference.parity(load(path + '.part'), _file(name))
    except BaseException:
      os.remove(path + '.part')
      raise
    os.replace(path + '.part', path)
    certificate['files'][_file(name)] = {
      'sha256': hashlib.sha256(content).hexdigest(), 'differences': parity,
      'versions': {package: importlib.metadata.version(package) for package in packages}}
    ties = ', '.join(f'{count} of {kind}' for kind, count in parity['near_ties_of'].items())
    say(f'{path}: {len(content) / 2**20:.1f} MiB; heatmaps differ by {parity["heatmaps"]:.1g} of '
        f'their peak, keypoints by {parity["keypoints"]:.1g} px in {parity["joints"]} joints less '
        f'{parity["near_ties"]} near ties ({ties})')
  own_files.write_json(os.path.join(given.out, 'certificate.json'), certificate)


def _file(name):
  return f'predictor.{name}'


def _certificate(predictor, reference, about):
  (w, h), skeleton = predictor.facts.size, predictor.facts.skeleton
  outputs = jax.eval_shape(exporting.function(predictor), reference.crops)
  return {
    'date': datetime.date.today().isoformat(), 'weights': about,
    'weights_sha256': digest(predictor.weights), 'answer': predictor.answer,
    'networks': list(predictor.members), 'computed_in': 'float32', **predictor.test,
    'inputs': {'images': f'(B,{h},{w},3) uint8, RGB'},
    'outputs': {name: f'({",".join(map(str, ("B", *leaf.shape[1:])))}) {leaf.dtype}'
                for name, leaf in outputs.items()},
    'crop': _crop_rule(predictor), 'size': [w, h], 'num_keypoints': skeleton.num_keypoints,
    'keypoints': list(skeleton.names),
    'skeleton': {'name': skeleton.name, 'limbs': skeleton.limbs, 'flip_pairs': skeleton.flip_pairs},
    'platforms': list(exporting.PLATFORMS), 'expiry': _EXPIRY,
    'allowed': {'heatmaps, of the peak': exporting.HEATMAP, 'keypoints, px': exporting.KEYPOINT,
                'near ties, of the peak': exporting.TIE},
    'compared_on': 'cpu', 'files': {}}


def _crop_rule(predictor):
  """How crops are cut: a box of the crop's shape is enlarged by `padding`, and is `span` crop
  pixels wide and high then."""
  w, h = predictor.facts.size
  sample = predictor.serving.prepare(np.zeros((8, 8, 3), np.uint8), [[0, 0, w, h]])
  corners = {'/': {'keypoints': np.array([[[0, 0], [w, h]]], np.float32)}}
  (low, high), = predictor.serving.finish(corners, sample)['/']['keypoints']
  padding = 200 * float(sample['scale'][0, 0]) / w
  return {'padding': round(padding, 4),
          'span': [round(padding * side * side / length) for side, length in
                   zip((w, h), (high - low).tolist(), strict=True)]}


def main(argv=None):
  given = _parse(argv)
  keep_compiled()
  with checked():
    given.out = local_path(given.out)
    export(given)


if __name__ == '__main__':
  commands.imported()
  main()
