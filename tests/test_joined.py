"""Several makers as one: whose row it is, how often it is seen, the place in the training."""
import collections
import dataclasses

import numpy as np
import pytest

from input_pipeline import stream
from input_pipeline.joined import JoinedMaker
from tests.refusals import fails


@dataclasses.dataclass(frozen=True)
class Told:
  """A maker whose samples say what it was asked for."""
  number: int
  count: int
  seed: int = 0

  def __len__(self):
    return self.count

  def train(self, index, row):
    assert 0 <= row < self.count
    return {'said': np.array([self.number, row, index])}

  def evaluate(self, row):
    return self.train(-1, row)

  blank = evaluate

  def name(self, row):
    return f'{self.number}/{row}'


def joined(*times):
  return JoinedMaker((Told(0, 3), Told(1, 2)), times, 4)


def test_rows_are_those_of_the_makers():
  maker = joined(1, 3)
  assert len(maker) == 9
  said = [tuple(maker.train(50 + row, row)['said'].tolist()) for row in range(9)]
  assert said == [(0, 0, 50), (0, 1, 51), (0, 2, 52), (1, 0, 53), (1, 1, 54), (1, 0, 55),
                  (1, 1, 56), (1, 0, 57), (1, 1, 58)]
  assert [maker.name(row) for row in range(5)] == ['0/0', '0/1', '0/2', '1/0', '1/1']
  assert maker.evaluate(4)['said'].tolist() == [1, 1, -1] == maker.blank(4)['said'].tolist()
  with pytest.raises(IndexError):
    maker.name(9)


def test_an_epoch_of_the_stream_sees_each_row_so_often():
  batches = stream.train_stream(joined(2, 3), batch_size=4)
  seen = np.concatenate([next(batches)['said'] for _ in range(3)])
  batches.close()
  counts = collections.Counter(map(tuple, seen[:, :2].tolist()))
  assert counts == {(0, 0): 2, (0, 1): 2, (0, 2): 2, (1, 0): 3, (1, 1): 3}


def test_each_set_needs_a_number():
  for times in ((1,), (1, 0), ()):
    fails(lambda times=times: joined(*times), 'times', '2 sets')
