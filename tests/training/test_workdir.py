"""What a run's folder remembers of the data it was trained on."""
import dataclasses
import errno
import fcntl
import json
import os

import pytest

from dslope_jax import skeletons
from dslope_jax.systems.base import Facts
from dslope_jax.training import workdir
from tests.refusals import fails

FACTS = Facts(skeletons.MPII, (48, 64), frames=9, classes=3)


def test_facts_come_back(tmp_path):
  for facts in (FACTS, Facts()):
    workdir.check_facts(tmp_path, facts, 'abc', allow_change=True)
    assert workdir.read_facts(tmp_path) == facts


def test_other_training_data_are_refused_on_resume(tmp_path):
  workdir.check_facts(tmp_path, FACTS, 'abc')
  workdir.check_facts(tmp_path, FACTS, 'abd')  # nothing is trained yet
  (tmp_path / 'checkpoints/1').mkdir(parents=True)
  workdir.check_facts(tmp_path, FACTS, 'abd')
  fails(lambda: workdir.check_facts(tmp_path, FACTS, 'abc'), tmp_path, 'abd', 'abc',
        '--allow_config_change')
  swapped = dataclasses.replace(skeletons.MPII, flip_pairs=skeletons.MPII.flip_pairs[1:])
  fails(lambda: workdir.check_facts(tmp_path, FACTS._replace(skeleton=swapped), 'abd'), tmp_path)
  workdir.check_facts(tmp_path, FACTS, 'abc', allow_change=True)
  workdir.check_facts(tmp_path, FACTS, 'abc')


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"skeleton": {"names": ["a"]}}'])
def test_broken_facts_are_named(tmp_path, text):
  (tmp_path / 'facts.json').write_text(text)
  fails(lambda: workdir.read_facts(tmp_path), tmp_path / 'facts.json', 'broken')
  fails(lambda: workdir.read_facts(tmp_path / 'no'), tmp_path / 'no', kind=FileNotFoundError)


def test_facts_that_were_changed_by_hand_are_noticed(tmp_path):
  workdir.check_facts(tmp_path, FACTS, 'abc')
  path = tmp_path / 'facts.json'
  fields = json.loads(path.read_text())
  path.write_text(json.dumps(dict(reversed(fields.items()))))
  assert workdir.read_facts(tmp_path) == FACTS  # written in another way
  pairs = fields['skeleton']['flip_pairs']
  pairs[0], pairs[1] = [pairs[0][0], pairs[1][1]], [pairs[1][0], pairs[0][1]]
  path.write_text(json.dumps(fields))
  fails(lambda: workdir.read_facts(tmp_path), path, 'checksum', 'changed')
  fails(lambda: workdir.check_facts(tmp_path, FACTS, 'abc'), path, 'checksum')
  del fields['checksum']  # as of runs that had none yet
  path.write_text(json.dumps(fields))
  assert workdir.read_facts(tmp_path).skeleton.flip_pairs[0] != FACTS.skeleton.flip_pairs[0]


def test_fields_of_other_data_matter_only_to_what_was_made_from_them(tmp_path):
  from tests import tiny
  config = tiny.config()
  check = lambda: workdir.check_config(config, tmp_path, False, free=('data.num_workers',),
                                       settled={'patches': ('data.name', 'data.bank')})
  check()
  config.batch_size, config.data.bank.num_people = 8, 3
  check()
  (tmp_path / 'patches').mkdir()
  config.batch_size = 4
  check()
  config.data.bank.num_people = 4
  fails(check, 'data.bank.num_people: 3 -> 4')
  config.data.bank.num_people = 3
  (tmp_path / 'checkpoints/1').mkdir(parents=True)
  config.data.num_workers, config.evals = 2, {}
  check()
  config.batch_size = 8
  fails(check, 'batch_size: 4 -> 8')


def test_a_disk_without_locks_is_no_other_run(tmp_path, monkeypatch, capsys):
  def flock(_, operation):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(fcntl, 'flock', flock)
  number = errno.ENOSYS
  workdir.claim(tmp_path).close()
  assert 'has no locks (Function not implemented)' in capsys.readouterr().err
  number = errno.EWOULDBLOCK
  fails(lambda: workdir.claim(tmp_path), 'another run', tmp_path)
