"""Weights of published PyTorch networks in, and ours out again in their layout.

  python tools/convert_weights.py MODEL.pth [--model hrnet] [--set width=48] --out DIR
  python tools/convert_weights.py --workdir runs/ccoco_hrnet --network enet --out DIR

DIR gets `model.safetensors` in the published key layout, `config.json` with the network's arguments
and, for an import, `certificate.json`. `init_from` of a config takes DIR or MODEL.pth alike. Of a
file without a head, such as ImageNet's, the backbone is written.
"""
import argparse
import ast
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

from dslope_jax.errors import UserError
from dslope_jax.files import local_path
from dslope_jax.weights.files import split_network
from dslope_jax.weights.pytorch import export, load_file, save


def _parse():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('file', nargs='?', help='weight file to import; FILE:enet of a pair')
  parser.add_argument('--model', default='', help='hrnet, simple_baseline, hrformer, vitpose, '
                      'lite_hrnet, dag, pose_gcn, smap, dsed, refine_net; default what the '
                      "file's keys tell")
  parser.add_argument('--set', nargs='*', default=[], metavar='ARGUMENT=VALUE',
                      help='arguments of the network, as in system.model of a config')
  parser.add_argument('--image_size', type=int, nargs=2, metavar=('W', 'H'),
                      help='default what the weights were trained on')
  parser.add_argument('--fresh_head', action='store_true', help='take all but the head')
  parser.add_argument('--workdir', help='run to export from, instead of a file')
  parser.add_argument('--network', default='gnet', help='of that run')
  parser.add_argument('--step', type=int, help='of that run; default the newest')
  parser.add_argument('--mmpose', action='store_true', help='write backbone. and keypoint_head.')
  parser.add_argument('--out', required=True)
  return parser.parse_args()


def main():
  given = _parse()
  try:
    given.out = local_path(given.out)
    if given.workdir:
      given.workdir = local_path(given.workdir)
      name, kwargs, variables = export(given.workdir, given.network, given.step)
      save(given.out, name, kwargs, variables, given.mmpose or None)
      print(f"{given.network} of '{given.workdir}' is in {given.out}/model.safetensors; crop size, "
            'codec and keypoints are not: to predict poses with it, take tools/publish.py')
      return
    if not given.file:
      raise UserError('give a weight file, or --workdir')
    path, network = split_network(local_path(given.file))
    kwargs = dict(_setting(text) for text in given.set)
    converted, certificate = load_file(path, given.model, kwargs, given.image_size, network,
                                       given.fresh_head)
    save(given.out, certificate['model'], certificate['arguments'], converted.variables,
         given.mmpose or None, certificate)
    print(f"{certificate['model']}: {len(converted.used)} keys taken; dropped: "
          f"{_some(converted.dropped)}; stays fresh: {', '.join(converted.fresh) or 'nothing'}; "
          f'see {given.out}/certificate.json')
  except (OSError, UserError) as error:
    sys.exit(f'error: {error}')


def _some(keys):
  more = f' and {len(keys) - 3} more' if len(keys) > 3 else ''
  return ', '.join(keys[:3]) + more or 'nothing'


def _setting(text):
  key, _, value = text.partition('=')
  try:
    return key, ast.literal_eval(value)  # literals only: nothing is run
  except (SyntaxError, ValueError):
    return key, value


if __name__ == '__main__':
  commands.imported()
  main()
