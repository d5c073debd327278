"""Devices reduce gradients, batch statistics and scalars, nothing else; the document's numbers."""
import json
import math
import pathlib
import subprocess
import sys

import pytest

from benchmarks import collectives, scaling

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENT = (ROOT / 'docs/scaling.md').read_text()
# Batch norms of one ResNet-18 of width 8 with three deconvolutions: stem, two blocks of two in the
# first stage, the same and a shortcut in three more.
CHANNELS = [8, *4 * [8], *5 * [16], *5 * [32], *5 * [64], *3 * [8]]


@pytest.fixture(scope='module')
def counts(tmp_path_factory):
  path = tmp_path_factory.mktemp('counts') / 'counts.json'
  done = subprocess.run([sys.executable, 'benchmarks/collectives.py', '--config', 'tests/tiny.py',
                         '--merge', '--json', str(path)],
                        cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return json.loads(path.read_text())


def test_devices_reduce_what_is_expected_and_nothing_else(counts):
  assert counts['devices'] == 8
  assert [set(kinds) for kinds in counts['kinds']] == [{'all-reduce'}, {'all-reduce'}]
  found = {name: tuple(numbers) for name, (*numbers, _) in counts['counted'].items()}
  terms, size = found.pop('terms')
  assert size == 4 * terms and terms < 20  # scalars
  assert found == {name: (number, 4 * numbers)
                   for name, (number, numbers) in counts['expected'].items()}
  assert found['norm, forward'] == (2 * 2 * len(CHANNELS), 4 * 2 * 2 * sum(CHANNELS))
  assert found['norm, backward'] == (2 * 2 * len(CHANNELS), 4 * 2 * 2 * sum(CHANNELS))


def test_no_byte_is_lost_when_reductions_are_put_together(counts):
  partitioned, final = counts['kinds']
  assert counts['bytes'][0] == counts['bytes'][1]
  assert final['all-reduce'] < partitioned['all-reduce']


@pytest.mark.parametrize('operation, name, purpose', [
  ('f32[8]{0} all-reduce(', 'transpose(jvp(Model))/stem/bn1/reduce_sum', 'norm, backward'),
  ('f32[8]{0} all-reduce(', 'jvp(Model)/stem/bn1/reduce_sum', 'norm, forward'),
  ('bf16[3,3,8,8]{3,2,1,0} all-reduce-start(', 'transpose(jvp(Model))/stem/conv1/dot', 'gradients'),
  ('f32[] all-reduce(', 'jvp()/reduce_sum', 'terms'),
  ('f32[64,8]{1,0} all-reduce(', 'jvp()/reduce_sum', 'other'),
  ('f32[8]{0} all-reduce(', 'jvp(Model)/stem/conv1/dot', 'other'),
  ('f32[8]{0} all-reduce(', 'add', 'other'),
  ('f32[64,8]{1,0} all-gather(', 'transpose(jvp(Model))/stem/bn1/reduce_sum', 'other')])
def test_purposes(operation, name, purpose):
  line = f'  %x.1 = {operation}%y), metadata={{op_name="jit(step)/{name}" stack_frame_id=1}}'
  collective, = collectives.read(line)
  assert collectives.purpose(collective, {'stem/bn1'}) == purpose


def test_chain():
  program = '\n'.join(f'  {line}' for line in (
    '%a = f32[8]{0} parameter(0)', '%b = f32[8]{0} all-reduce(%a)', '%c = f32[8]{0} all-reduce(%a)',
    '%d = f32[8]{0} add(%b, %c)', 'ROOT %e = f32[8]{0} all-reduce(%d)'))
  assert collectives.chain(program) == 2


@pytest.mark.parametrize('sides', [2, 3])
def test_torus_has_all_chips(sides):
  for n in scaling.COUNTS:
    torus = scaling.torus(n, sides)
    assert math.prod(torus) == n and max(torus) <= 2 * min(torus)


def test_the_document_is_what_the_scripts_print():
  step = scaling.describe(collectives.load_config(scaling.CONFIG))
  for line in scaling.report(step, scaling.assumptions().parse_args([])).splitlines():
    assert line in DOCUMENT
  # The counts of the long compilation, as far as they follow from the weights.
  channels = step.norms // (4 * (2 + 2))
  for name, each in (('forward', 2), ('backward', 2)):
    number = each * step.layers
    assert f'| norm, {name} | {number:,} | {each * channels:,} | {number:,} |' in DOCUMENT
  assert f'| {step.gradients // 2:,} | 588 | {step.gradients:,} | bf16 |' in DOCUMENT
