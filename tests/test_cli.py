"""Errors of users are one line, mistakes of this code keep their traceback."""
import jax.numpy as jnp
import pytest

from dslope_jax import cli
from dslope_jax.training import optimizers
from tests.refusals import fails


def test_a_mistake_of_the_user_is_one_line(capsys):
  with pytest.raises(SystemExit) as stopped, cli.checked():
    raise ValueError('data.size is 3')
  assert stopped.value.code == 1
  assert capsys.readouterr().err.splitlines()[0] == 'error: data.size is 3'


def test_a_mistake_of_this_code_keeps_its_traceback():
  with pytest.raises(ValueError, match='axis'), cli.checked():
    jnp.stack([jnp.zeros(3)], axis=7)
  with pytest.raises(TypeError), cli.checked():
    jnp.zeros((2, 3)) @ jnp.zeros((2, 3))
    raise AssertionError('the product above fails')


def test_never_is_not_an_interval_of_nothing():
  for text in ('0 steps', '0 epochs', '0.0 steps'):
    fails(lambda text=text: optimizers.due_steps({'eval_every': text}, 10, 100), 'eval_every', text)
  due = optimizers.due_steps({'save_every': '0.25 epochs', 'log_every': '0.1 steps'}, 10, 9)
  assert [step for step in range(1, 10) if due(step, 'save_every')] == [3, 5, 8, 9]
  assert all(due(step, 'log_every') for step in range(1, 10))
