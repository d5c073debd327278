"""People kept from training: whole pictures, the same ones in every run."""
import dataclasses
import functools

import numpy as np
import pytest

from input_pipeline import sources
from input_pipeline.sources import held_out
from tests import tiny
from tests.refusals import fails


@functools.cache
def world():
  return sources.load('synthetic', 'train', num_people=90, size=(48, 64), people=(2, 4))


def test_no_picture_has_people_of_both_kinds():
  rest, held = held_out.split(world(), 0.3)
  assert len(rest) + len(held) == 90 and 10 < len(held) < 50
  assert not set(rest.image_id.tolist()) & set(held.image_id.tolist())
  assert sorted([*rest.annotation_id, *held.annotation_id]) == world().annotation_id.tolist()
  row = int(np.flatnonzero(world().annotation_id == held.annotation_id[1])[0])
  np.testing.assert_array_equal(held.read(1), world().read(row))
  assert held_out.split(world(), 0) == (world(), None)


@pytest.mark.parametrize('share', [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize('ids', [np.arange(1, 20001), np.arange(9, 10 ** 6, 50)])
def test_the_share_is_that_of_the_pictures(share, ids):
  many = dataclasses.replace(world().subset(np.zeros(len(ids), int)), image_id=ids)
  _, held = held_out.split(many, share)
  assert abs(len(held) / len(ids) - share) < 4 * np.sqrt(share * (1 - share) / len(ids))


def test_who_is_held_out_depends_on_the_picture_alone():
  held = held_out.split(world(), 0.3)[1]
  some = world().subset(np.arange(60)[::-1])
  again = held_out.split(some, 0.3)[1]
  assert set(again.annotation_id) == set(held.annotation_id) & set(range(1, 61))
  more = held_out.split(world(), 0.5)[1]
  assert set(held.annotation_id) < set(more.annotation_id)


def test_shares_that_leave_nobody():
  for share in (-0.1, 1.0, 1.5, float('nan')):
    fails(functools.partial(held_out.split, world(), share), f'data.holdout is {share}',
          '0 to below 1')
  one = world().subset(np.flatnonzero(world().image_id == world().image_id[0]))
  fails(lambda: held_out.split(one, 0.5), 'nobody on one side of the 1 pictures of synthetic train')


def test_a_run_holds_out_pictures_and_needs_a_training_split():
  from dslope_jax.tasks.people import load_train
  config = tiny.config(holdout=0.3)
  rest, held = load_train(config)
  assert len(held) and not set(rest.image_id.tolist()) & set(held.image_id.tolist())
  config.data.train_split = ''
  fails(lambda: load_train(config), 'no training split', 'synthetic is for testing',
        'configs/ccoco_hrnet.py', '--workdir')
