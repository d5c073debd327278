"""Where numbers and pictures go: a progress bar, JSON lines, TensorBoard. Process 0 only."""
import contextlib
import math
import os
import sys
import time
from typing import NotRequired, TypedDict

import jax
import numpy as np
import tqdm
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from dslope_jax import own_files
from dslope_jax.evaluation import charts
from dslope_jax.training.profiling import Waits


class MetricWriter:
  """Writes `metrics.jsonl`, `tensorboard/` and `learning_curve.png`, and keeps the progress bar.

  Terms of a step stay on the device until `log` is called for the *next* log point, so nothing
  waits for the step in flight. What cannot be written is told once on stderr; the run continues.
  A line of metrics.jsonl is {'step', term: number, ...} of training, means over the steps since
  the last such line, or {'step', 'entry', 'results': {row: {metric: number}}} of an evaluation.
  start: the step to continue from; lines beyond it, of a run that was killed, are dropped.
  """

  def __init__(self, workdir, total: int, start: int, batch_size: int, waits: Waits):
    self.active = jax.process_index() == 0
    self.workdir, self.path = workdir, os.path.join(workdir, 'metrics.jsonl')
    self.batch_size = batch_size
    self.pending, self.previous = [], []
    self.waits, self.since = waits, waits.reading()
    self.bar = tqdm.tqdm(total=total, initial=start, unit='step', disable=not self.active,
                         mininterval=1, dynamic_ncols=True)
    self._board, self._told = None, set()
    if self.active:
      with self._spared('metrics.jsonl'):
        _drop_beyond(self.path, start)
      with self._spared('tensorboard'):
        # Not tensorboardX's SummaryWriter: on a full disk its thread dies and the run hangs.
        folder = os.path.join(workdir, 'tensorboard')
        os.makedirs(folder, exist_ok=True)
        self._board = EventsWriter(os.path.join(folder, 'events'), f'.{os.getpid()}')
        if start:  # TensorBoard then forgets what other files have from this step on
          self._board.write_event(Event(wall_time=time.time(), step=start + 1,
                                        session_log=SessionLog(status=SessionLog.START)))

  def step(self, step: int, terms: dict):
    """Takes the terms (device scalars) of a step."""
    self.pending.append((step, terms))
    self.bar.update(1)

  def log(self):
    """Writes the log point before this one; raises FloatingPointError for a loss not finite."""
    shares = self.waits.since(self.since)
    samples = shares.steps * self.batch_size
    speed = {'samples_per_second': samples / shares.seconds,
             'samples_per_cpu_second': samples / shares.cpu_seconds,
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
        means = {k: float(np.mean([t[k] for _, t in entries])) for k in entries[0][1]}
        line = _finite(means | speed)
        self._write(entries[-1][0], line, line)
        shown = f"{speed['samples_per_second']:.0f} samples/s, " \
          f"{speed['data_wait_share']:.0%} wait, " if speed else ''
        self.bar.set_postfix_str(shown + f"loss {means.get('loss', np.nan):.2e}", refresh=False)
    self.previous = []

  def metrics(self, step: int, entry: str, results: dict):
    """Writes what an evaluation found: {row: {metric: number}} of an entry of `config.evals`."""
    results = {row: _finite(values) for row, values in results.items()}
    self._write(step, {'entry': entry, 'results': results},
                {f'{entry}/{row}/{k}': v for row, values in results.items()
                 for k, v in values.items()})

  def picture(self, step: int, name: str, image):
    """image: (H,W,3) uint8."""
    if self.active:
      with self._spared('tensorboard'):
        self._show(step, summary.image(name, image, dataformats='HWC'))

  def _write(self, step, line, scalars):
    if self.active:
      with self._spared('metrics.jsonl'):
        own_files.append_line(self.path, {'step': step} | line)
      with self._spared('tensorboard'):
        self._show(step, *(summary.scalar(k, v) for k, v in scalars.items() if v is not None))

  def _show(self, step, *summaries):
    if self._board:
      for each in summaries:
        self._board.write_event(Event(wall_time=time.time(), step=step, summary=each))
      self._board.flush()

  def close(self):
    """Closes the files and draws what is in them."""
    self.bar.close()
    if self.active:
      with self._spared('tensorboard'):
        if self._board:
          self._board.close()
      with self._spared('learning_curve.png'):
        draw_curve(self.path, os.path.join(self.workdir, 'learning_curve.png'))

  @contextlib.contextmanager
  def _spared(self, name):
    """Tells once what cannot be written within, and continues: no run ends for want of a log."""
    try:
      yield
    except Exception as error:  # OSError of a disk, and whatever a library makes of it
      if name not in self._told:
        self._told.add(name)
        tqdm.tqdm.write(f"warning: cannot write '{os.path.join(self.workdir, name)}' ({error}); "
                        'training continues without it', file=sys.stderr)


def draw_curve(path, out):
  """Writes the picture of `learning_curve`, if there is one."""
  figure = learning_curve(path)
  if figure:
    figure.savefig(out, dpi=100)


def learning_curve(path):
  """Figure of a metrics.jsonl, or None of an empty one: the terms of training, one pair of axes
  for those of the same name, and the first metric of each entry that was evaluated."""
  terms, metrics = {}, {}
  for line in _lines(path).values():
    step = line.pop('step')
    for row, values in line.get('results', {}).items():
      for metric, value in list(values.items())[:1]:
        metrics.setdefault(f"{line['entry']}: {metric}", {}).setdefault(row, []).append(
          (step, value))
    for key, value in line.items() if 'entry' not in line else ():
      network, _, term = key.rpartition('/')
      terms.setdefault(term, {}).setdefault(network, []).append((step, value))
  panels = [charts.Panel(title, series, 'step', log=group is terms and _spans_decades(series))
            for group in (metrics, terms) for title, series in group.items()]
  rows = [row for series in metrics.values() for row in series]
  return charts.lines(panels, charts.styles(rows)) if panels else None


def _spans_decades(series):
  values = [v for points in series.values() for _, v in points if v is not None]
  return bool(values) and min(values) > 0 and max(values) > 30 * min(values)


class _Line(TypedDict):
  step: int
  entry: NotRequired[str]
  results: NotRequired[dict[str, dict[str, float | None]]]


def _lines(path):
  """{(step, entry or None): line}, the last one of each; what a kill cut off is left out."""
  found = {(line['step'], line.get('entry')): line for line in own_files.read_lines(path, _Line)}
  return dict(sorted(found.items(), key=lambda item: item[0][0]))


def _drop_beyond(path, start):
  """Drops the lines after step `start`, and those that are cut off, from a metrics.jsonl."""
  if os.path.exists(path):
    own_files.write_lines(path, [v for v in _lines(path).values() if v['step'] <= start])


def _finite(values):
  """NaN and infinities, which json does not know, as None."""
  return {k: v if v is not None and math.isfinite(v) else None for k, v in values.items()}


def check_finite(step: int, terms: dict):
  """Raises FloatingPointError naming the first term that is not finite, causes before sums."""
  for name in sorted(terms, key=lambda k: (k.endswith('grad_norm'), k == 'loss', k)):
    if not np.isfinite(terms[name]):
      raise FloatingPointError(
        f"step {step}: '{name}' is {float(terms[name])}; the run stops, the last checkpoint is "
        'from before. Try a lower learning rate, a warm-up or clipping (optim.*.clip)')
