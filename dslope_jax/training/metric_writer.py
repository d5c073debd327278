"""Where numbers and pictures go: a progress bar, JSON lines, TensorBoard. Process 0 only."""
import json
import math
import os

import jax
import numpy as np
import tqdm
from tensorboardX import SummaryWriter

from dslope_jax.evaluation import drawing
from dslope_jax.training.profiling import Waits


class MetricWriter:
  """Writes `metrics.jsonl`, `tensorboard/` and `learning_curve.png`, and keeps the progress bar.

  Terms of a step stay on the device until `log` is called for the *next* log point, so nothing
  waits for the step in flight.
  """

  def __init__(self, workdir, total: int, start: int, batch_size: int, waits: Waits):
    self.active = jax.process_index() == 0
    self.workdir = workdir
    self.batch_size = batch_size
    self.pending, self.previous = [], []
    self.waits, self.since = waits, waits.reading()
    self.bar = tqdm.tqdm(total=total, initial=start, unit='step', disable=not self.active,
                         mininterval=1, dynamic_ncols=True)
    if self.active:
      self.lines = open(os.path.join(workdir, 'metrics.jsonl'), 'a', encoding='utf-8')  # noqa: SIM115
      self.board = SummaryWriter(os.path.join(workdir, 'tensorboard'))

  def step(self, step: int, terms: dict):
    """Takes the terms (device scalars) of a step."""
    self.pending.append((step, terms))
    self.bar.update(1)

  def log(self):
    """Writes the log point before this one; raises FloatingPointError for a loss not finite."""
    shares = self.waits.since(self.since)
    speed = {'samples_per_second': shares.steps * self.batch_size / shares.seconds,
             'data_wait_share': shares.data, 'device_wait_share': shares.device}
    self._flush()
    self.previous = [(self.pending, speed)]
    self.pending = []
    self.resume_clock()

  def start(self):
    """Starts the clocks of samples/s and of the bar: what came before was start-up."""
    self.bar.unpause()
    self.resume_clock()

  def say_doing(self, what: str):
    """Names on the bar what keeps the next step waiting."""
    self.bar.set_description(what)

  def resume_clock(self):
    """Starts the clock of samples/s anew, after work that is not training."""
    self.since = self.waits.reading()

  def flush(self):
    """Writes all that is pending; waits for the device. To be called before a save."""
    self._flush()
    self.previous = [(self.pending, {})]
    self.pending = []
    self._flush()

  def _flush(self):
    for entries, speed in self.previous:
      entries = jax.device_get(entries)
      for step, terms in entries:
        check_finite(step, terms)
      if entries:
        step = entries[-1][0]
        means = {k: float(np.mean([t[k] for _, t in entries])) for k in entries[0][1]}
        rates = {k: float(v) for k, v in entries[-1][1].items() if k.endswith('/learning_rate')}
        self.scalars(step, means | rates | speed)
        self.bar.set_postfix_str(_line(means, speed), refresh=False)
    self.previous = []

  def scalars(self, step: int, values: dict):
    if not self.active:
      return
    finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
    self.lines.write(json.dumps({'step': step} | finite) + '\n')
    self.lines.flush()
    for key, value in values.items():
      if math.isfinite(value):
        self.board.add_scalar(key, value, step)

  def picture(self, step: int, name: str, image):
    """image: (H,W,3) uint8."""
    if self.active:
      self.board.add_image(name, image, step, dataformats='HWC')

  def close(self):
    """Closes the files and draws what is in them."""
    self.bar.close()
    if self.active:
      self.lines.close()
      self.board.close()
      drawing.save(os.path.join(self.workdir, 'learning_curve.png'),
                     learning_curve(os.path.join(self.workdir, 'metrics.jsonl')))


def learning_curve(path):
  """Chart of a metrics.jsonl: the losses, and the first metric of every evaluation, by step."""
  losses, metrics = {}, {}
  with open(path, encoding='utf-8') as f:
    for line in f:
      values = json.loads(line)
      step = values.pop('step')
      for key, value in values.items():
        *where, name = key.split('/')
        if value is None:
          continue
        if len(where) == 3:  # evaluation / network / kind of picture / metric
          shown = metrics.setdefault(where[0], (name, {}))
          if name == shown[0]:
            shown[1].setdefault('/'.join(where[1:]), []).append((step, value))
        elif _is_loss(key):
          losses.setdefault(key, []).append((step, value))
  panels = [('losses by step', losses, True)]
  panels += [(f'{entry}: {name} by step', lines, False)
             for entry, (name, lines) in metrics.items()]
  return drawing.curves(panels)


def _is_loss(key):
  return not key.endswith(('grad_norm', 'learning_rate', '_share', 'samples_per_second')) and \
    '/mutual' not in key


def _line(means, speed):
  """Short text for the bar: speed, waiting, loss and fit; the other terms are in the files."""
  parts = []
  if speed:
    parts = [f"{speed['samples_per_second']:.0f} samples/s", f"{speed['data_wait_share']:.0%} wait"]
  terms = filter(_is_loss, means)
  return ', '.join(parts + [f'{k} {means[k]:.1e}' for k in terms])


def check_finite(step: int, terms: dict):
  """Raises FloatingPointError naming the first term that is not finite, causes before sums."""
  for name in sorted(terms, key=lambda k: (k.endswith('grad_norm'), k == 'loss', k)):
    if not np.isfinite(terms[name]):
      raise FloatingPointError(
        f"step {step}: '{name}' is {float(terms[name])}; the run stops, the last checkpoint is "
        'from before. Try a lower learning rate, a warm-up or clipping (optim.*.clip)')
