"""Writes the networks of a run as a folder for others: weights, settings and a model card.

  python tools/publish.py --weights WORKDIR --out DIR [--license apache-2.0] [--data coco]
  python tools/publish.py --weights WORKDIR:enet --out DIR

--weights: a run, with both networks of a pair, or one of them; its moving average where it kept
one. DIR gets model.safetensors, config.json, facts.json, calibration.json where the run has one,
and README.md, to be read before it is put anywhere. predict.py, eval.py and tools/export.py take
DIR as --weights, or hf://OWNER/NAME when it is on the Hugging Face hub. docs/export.md has more.
"""
import argparse
import glob
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

import jax
import jinja2

from dslope_jax import models, own_files, tasks
from dslope_jax.cli import checked, say
from dslope_jax.errors import UserError
from dslope_jax.evaluation import confidences, engine
from dslope_jax.evaluation.base import read_stamped
from dslope_jax.files import local_path
from dslope_jax.lifter import Lifter
from dslope_jax.people_finder import PeopleFinder
from dslope_jax.predictor import Predictor
from dslope_jax.tasks.base import BOXES, PICTURES, TRACKS
from dslope_jax.training import checkpointing
from dslope_jax.training import workdir as workdirs
from dslope_jax.weights import published
from dslope_jax.weights.files import split_network

_PREDICTORS = {BOXES: Predictor, TRACKS: Lifter, PICTURES: PeopleFinder}
_TEMPLATES = pathlib.Path(published.__file__).parent


def _parse(argv):
  parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--weights', required=True, metavar='WORKDIR[:NETWORK]')
  parser.add_argument('--out', required=True, metavar='DIR')
  parser.add_argument('--license', default='', metavar='NAME',
                      help='of the weights, by its short name on the hub, such as apache-2.0')
  parser.add_argument('--data', default='', metavar='NAMES',
                      help='data sets trained on, by their names on the hub: OWNER/NAME,...')
  return parser.parse_args(argv)


def publish(given):
  """Writes all files; the model card is made of what the other files say."""
  workdir, half = split_network(given.weights)
  if os.path.exists(os.path.join(given.out, 'model.safetensors')):
    raise UserError(f"'{given.out}' holds weights already; choose another --out")
  checkpointing.find_step(workdir)
  config = workdirs.settings(workdir)
  weights, step = checkpointing.restore_networks(workdir, ema=config.get('ema_decay', 0) > 0)
  stored = confidences.stored(workdir, step)
  calibration = stored and stored[1]
  if half and 'net' not in weights['params']:
    if half not in weights['params']:
      raise UserError(f"'{workdir}' has the networks {', '.join(weights['params'])}, not {half!r}")
    config, weights, calibration = published.of_half(config, weights, calibration, half)
  elif half not in ('', 'net'):
    raise UserError(f"'{workdir}' has one network, which is published as it is: name none")
  serving = tasks.serve(config, workdirs.read_facts(workdir))
  if serving.takes not in _PREDICTORS:
    raise UserError(f"runs of the task '{config.task}' put out no poses and are not published; "
                    'tools/convert_weights.py writes their networks')
  facts = own_files.read_json(os.path.join(workdir, 'facts.json'), dict, 'get it from a copy')
  published.write(given.out, config, facts, serving.system.networks, weights, step, calibration)
  predictor = _PREDICTORS[serving.takes](given.out)
  card = _card(given, config, step, predictor, _evaluations(workdir, half, step))
  pathlib.Path(given.out, 'README.md').write_text(card, encoding='utf-8')
  say(f'{predictor.about}\nread {given.out}/README.md before you pass it on')


def _evaluations(workdir, half, step):
  """{entry: results as text under their stamp} of the newest evaluation."""
  files = glob.glob(os.path.join(glob.escape(workdir), 'eval_*', '*', 'results.json'))
  step_of = lambda file: int(file.split(os.sep)[-3].removeprefix('eval_'))
  newest = max(map(step_of, files), default=None)
  out = {}
  for file in sorted(file for file in files if step_of(file) == newest):
    found = read_stamped(file)
    rows = {row: numbers for row, numbers in found['results'].items()
            if not half or row.split('/')[0] in (half, 'net')}
    entry = file.split(os.sep)[-2] + (f' (of step {newest})' if newest != step else '')
    out[entry] = engine.table(rows, found['stamp'])
  return out


def _card(given, config, step, predictor, evaluations):
  system, skeleton, data = predictor.serving.system, predictor.facts.skeleton, config.data
  takes = predictor.serving.takes
  count = lambda name: sum(leaf.size for leaf in jax.tree.leaves(predictor.weights['params'][name]))
  training = {
    'data': f'data set `{data.name}`, split {data.train_split}' + (
      f', of `{data.loader.annotations}`' if 'annotations' in data.loader else '') + (
      f'; {data.holdout:.0%} of the pictures held out' if data.get('holdout') else ''),
    'occlusion': f'recipe `{data.recipe}`',
    'system': config.system.name + (
      f', target {data.target}' if takes == TRACKS else f', stage {config.system.stage}'
      if takes == PICTURES else f', codec {config.system.codec}, sigma {config.system.sigma}'),
    'steps': f'{step}, batches of {config.batch_size}' + (
      f', moving average {config.ema_decay}' if config.get('ema_decay') else ''),
    'settings': 'all of them are in `config.json`'}
  environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=False,
                                   keep_trailing_newline=True)
  return environment.get_template('model_card.md.jinja').render(
    title=os.path.basename(os.path.normpath(given.out)), license=given.license,
    datasets=[name for name in given.data.split(',') if name], size=predictor.facts.size,
    frames=predictor.facts.frames, unit=predictor.serving.unit,
    takes=takes, shared=config.system.get('shared', False), names=skeleton.names,
    skeleton=skeleton.name,
    networks={name: (models.describe(network)[0], count(name))
              for name, network in system.networks.items()},
    answers=predictor.answers, answer=predictor.answer, training=training,
    evaluations=evaluations, calibrated=predictor.fits.get('people'))


def main(argv=None):
  given = _parse(argv)
  with checked():
    given.weights, given.out = local_path(given.weights), local_path(given.out)
    publish(given)


if __name__ == '__main__':
  commands.imported()
  main()
