"""metrics.jsonl, TensorBoard and the learning curve: after a kill, on a full disk, at NaN."""
import json
import pathlib

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from dslope_jax import own_files
from dslope_jax.evaluation import charts
from dslope_jax.training import metric_writer
from dslope_jax.training.metric_writer import MetricWriter, learning_curve
from dslope_jax.training.profiling import Waits

pytestmark = pytest.mark.curve


def run(folder, start, total, evaluate=(), loss=1.0):
  """A writer that has been given the steps from `start` to `total`, two a log point."""
  writer = MetricWriter(str(folder), total, start, 4, Waits())
  for step in range(start + 1, total + 1):
    writer.step(step, {'net/heatmap': jnp.float32(loss * step), 'loss': jnp.float32(loss)})
    if step % 2 == 0:
      writer.log()
    if step in evaluate:
      writer.flush()
      writer.metrics(step, 'val', {'net/clean': {'MPJPE': 40.0 + loss, 'PCK': float('nan')}})
  writer.flush()
  return writer


def read(folder):
  return [json.loads(x) for x in (folder / 'metrics.jsonl').read_text().splitlines()]


def events(folder):
  """[(step, tag, value)] of all TensorBoard files, and the steps from which others are purged."""
  found, purged = [], []
  for path in sorted((folder / 'tensorboard').iterdir()):
    data, place = path.read_bytes(), 0
    while place < len(data):  # a record: length, checksum, event, checksum
      size = int.from_bytes(data[place:place + 8], 'little')
      event = Event.FromString(data[place + 12:place + 12 + size])
      place += 16 + size
      purged += [event.step] if event.HasField('session_log') else []
      found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
  return found, purged


def test_lines_are_means_and_evaluations_say_what_they_are(tmp_path):
  run(tmp_path, 0, 4, evaluate=(4,)).close()
  first, second, evaluation = read(tmp_path)
  assert (first['step'], first['net/heatmap'], first['loss']) == (2, 1.5, 1.0)
  assert (second['step'], second['net/heatmap']) == (4, 3.5)
  assert evaluation == {'step': 4, 'entry': 'val',
                        'results': {'net/clean': {'MPJPE': 41.0, 'PCK': None}}}
  found, purged = events(tmp_path)
  assert (4, 'net/heatmap', 3.5) in found and (4, 'val/net/clean/MPJPE', 41.0) in found
  assert not purged and not any(tag.endswith('PCK') for _, tag, _ in found)
  assert cv2.imread(str(tmp_path / 'learning_curve.png')).shape[0] > 200


def test_a_resumed_run_takes_back_what_came_after_the_checkpoint(tmp_path):
  run(tmp_path, 0, 8, evaluate=(4, 8))  # killed: not closed
  with open(tmp_path / 'metrics.jsonl', 'a') as f:
    f.write('{"step": 8, "lo')  # cut off
  run(tmp_path, 4, 6, evaluate=(6,), loss=2.0).close()
  assert [(line['step'], line.get('entry')) for line in read(tmp_path)] == [
    (2, None), (4, None), (4, 'val'), (6, None), (6, 'val')]
  assert read(tmp_path)[3]['loss'] == 2.0
  assert events(tmp_path)[1] == [5]


def test_learning_curve(tmp_path, monkeypatch):
  lines = [{'step': 1, 'a/fit': 1.0, 'b/fit': 2.0, 'loss': 1.0},
           {'step': 2, 'a/fit': 9.0, 'b/fit': 9.0, 'loss': 9.0},
           {'step': 2, 'a/fit': 0.02, 'b/fit': None, 'loss': 0.5},  # the later of one step counts
           {'step': 2, 'entry': 'val', 'results': {'a/refined/clean': {'MPJPE': 50.0, 'AUC': 3.0},
                                                   'b/clean': {'MPJPE': 60.0}}},
           {'step': 2, 'entry': 'test', 'results': {'b/clean': {}}}]
  (tmp_path / 'x').write_text('\n'.join(map(json.dumps, lines)) + '\n{"step')
  drawn, draw = [], charts.lines
  monkeypatch.setattr(charts, 'lines', lambda panels, looks: drawn.extend(panels) or draw(panels,
                                                                                         looks))
  learning_curve(tmp_path / 'x')
  assert {p.title: (p.series, p.log) for p in drawn} == {
    'val: MPJPE': ({'a/refined/clean': [(2, 50.0)], 'b/clean': [(2, 60.0)]}, False),
    'fit': ({'a': [(1, 1.0), (2, 0.02)], 'b': [(1, 2.0), (2, None)]}, True),
    'loss': ({'': [(1, 1.0), (2, 0.5)]}, False)}
  assert learning_curve(tmp_path / 'none') is None


def test_a_disk_that_takes_nothing_stops_no_run(tmp_path, monkeypatch, capsys):
  def full(*args, **kwargs):
    raise OSError(28, 'No space left on device')
  writer = run(tmp_path, 0, 2)
  monkeypatch.setattr(own_files, 'open', full, raising=False)
  monkeypatch.setattr(writer._board, 'write_event', full)
  monkeypatch.setattr(metric_writer, 'learning_curve', full)
  for step in (3, 4):
    writer.step(step, {'loss': jnp.float32(1)})
    writer.log()
  writer.metrics(4, 'val', {'net/clean': {'PCK': 1.0}})
  writer.picture(4, 'pairs', np.zeros((4, 4, 3), np.uint8))
  writer.close()
  told = [x for x in capsys.readouterr().err.splitlines() if x.startswith('warning: ')]
  assert len(told) == 3 and all('No space left' in x for x in told)
  monkeypatch.setattr(metric_writer, 'EventsWriter', full)
  run(tmp_path / 'missing', 0, 2).close()  # no such folder, nothing can be opened
  assert len(read(tmp_path)) == 1


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
  writer = MetricWriter(str(tmp_path), 2, 0, 4, Waits())
  writer.step(1, {'loss': jnp.float32(np.nan), 'net/heatmap': jnp.float32(np.inf)})
  with pytest.raises(FloatingPointError, match="step 1: 'net/heatmap' is inf"):
    writer.flush()
  writer.close()
  assert not pathlib.Path(tmp_path, 'metrics.jsonl').exists()
