"""Rows, numbers and intervals of recognition, from embeddings that are known."""
import json

import numpy as np
import pytest

from dslope_jax.evaluation import engine, identity_scores
from dslope_jax.evaluation.compare import bootstrap
from dslope_jax.metrics import verification
from input_pipeline.identities import pairing
from tests.refusals import fails

RNG = np.random.default_rng(0)
C, EACH, D = 12, 5, 6
LABELS = np.repeat(np.arange(C), EACH)
VIDEO = np.where(np.arange(C * EACH) % EACH < 2, LABELS, -1)  # the first two of each are one video


def unit(x):
  return x / np.linalg.norm(x, axis=1, keepdims=True)


def outputs(noise=(0.3, 0.6), networks=('gnet', 'enet')):
  centers = RNG.normal(size=(C, D))
  return {f'{network}/{view}': {'embedding': unit(centers[LABELS] + RNG.normal(
    0, spread, (C * EACH, D)))} for network in networks
    for view, spread in zip(('clean', 'occluded'), noise, strict=True)} | {'batch': {}}


def all_pairs():
  a, b = np.triu_indices(C * EACH, 1)
  apart = (VIDEO[a] != VIDEO[b]) | (VIDEO[a] < 0)
  return np.stack([a, b, LABELS[a] == LABELS[b]], 1)[apart]


FACES = identity_scores.faces_of(LABELS + 100, VIDEO, all_pairs(), None,
                                 [f'p{i}' for i in range(C * EACH)])


def test_rows_and_numbers_are_those_of_the_metrics():
  found = outputs()
  scores = identity_scores.score(FACES, found, mixes=(('gnet', 'enet'),))
  assert set(scores.results) == {f'{network}/{views}' for network in ('gnet', 'enet', 'mean')
                                 for views in ('clean-clean', 'clean-occluded',
                                               'occluded-occluded')}
  clean, hidden = (found[f'enet/{view}']['embedding'] for view in ('clean', 'occluded'))
  for views, first, second in (('clean-clean', clean, clean), ('clean-occluded', clean, hidden),
                               ('occluded-occluded', hidden, hidden)):
    row = scores.results[f'enet/{views}']
    assert row['EER'] == pytest.approx(100 * verification.eer(first, FACES.pairs, second))
    assert row['accuracy'] == pytest.approx(
      100 * verification.ten_fold_accuracy(first, FACES.pairs, FACES.folds, second))
    assert row['TAR@0.01'] == pytest.approx(
      100 * verification.tar_at_far(first, FACES.pairs, 0.01, second))
    assert row['rank1'] == pytest.approx(100 * verification.rank1(
      second, LABELS, first, LABELS, FACES.group, FACES.group))
    assert row['EER_low'] <= row['EER'] <= row['EER_high'] and 'TAR@0.001' not in row
    tables = scores.samples[f'enet/{views}']
    for metric in ('accuracy', 'rank1', 'EER'):
      ratio = tables[metric].numerator.sum() / tables[metric].denominator.sum()
      assert ratio == pytest.approx(row[metric], abs=1e-9)
  ends = scores.files['intervals.json']['enet/clean-clean']
  assert set(ends) == {'EER', 'accuracy', 'TAR@0.01', 'rank1'}
  assert all(low <= high for low, high in ends.values())
  json.dumps(scores.files)
  assert 'EER_low' in engine.table(scores.results, {'data': 'x'})


def test_tables_vary_with_both_identities_of_a_pair():
  """The bootstrap of a table is as wide as that of identities, whose pairs go with them."""
  labels = np.repeat(np.arange(40), 5)
  pairs = pairing.draw(labels, np.full(200, -1), 800, seed=0)
  faces = identity_scores.faces_of(labels, None, pairs, None, labels)
  centers = RNG.normal(size=(40, D))
  found = {f'net/{view}': {'embedding': unit(centers[labels] + RNG.normal(0, 0.8, (200, D)))}
           for view in ('clean', 'occluded')}
  scores = identity_scores.score(faces, found)
  for row, tables in scores.samples.items():
    assert tables['EER'].group.tolist() == list(range(40))
    for metric in ('EER', 'accuracy'):
      low, high = np.percentile(bootstrap([tables[metric]]), (2.5, 97.5))
      ends = scores.files['intervals.json'][row][metric]
      assert high - low == pytest.approx(np.ptp(ends), rel=0.15)


def test_two_identities_have_no_table_of_pairs():
  rows = LABELS < 2
  pairs = np.array([[0, 3, 1], [2, 5, 0], [5, 8, 1], [3, 9, 0]])
  faces = identity_scores.faces_of(LABELS[rows], None, pairs, [0, 0, 1, 1], LABELS[rows])
  found = {name: {'embedding': fields['embedding'][rows]} for name, fields in outputs().items()
           if fields}
  assert set(identity_scores.score(faces, found).samples['gnet/clean-clean']) == {'rank1'}


def test_the_mixture_is_the_mean_of_the_similarities():
  found = outputs()
  mixed = identity_scores._embeddings(found, (('gnet', 'enet'),))['mean', 'clean']
  own = [verification.pair_scores(found[f'{n}/clean']['embedding'], FACES.pairs)[0]
         for n in ('gnet', 'enet')]
  np.testing.assert_allclose(verification.pair_scores(mixed, FACES.pairs)[0], sum(own) / 2)


def test_far_needs_impostors_and_frames_of_one_video_are_not_found():
  few = FACES._replace(pairs=FACES.pairs[::3], folds=FACES.folds[::3])
  assert (~few.same).sum() < 1000 <= (~FACES.same).sum()
  row = identity_scores.score(few, outputs()).results['gnet/clean-clean']
  assert not any(name.startswith('TAR') for name in row)
  # Two pictures of each, of one video: nobody can be found.
  rows = np.arange(C * EACH) % EACH < 2
  pairs = np.array([[0, 2, 1], [1, 3, 1], [0, 3, 0], [1, 2, 0]])
  faces = identity_scores.faces_of(LABELS[rows], LABELS[rows], pairs, [0, 1, 0, 1], LABELS[rows])
  found = {name: {'embedding': fields['embedding'][rows]} for name, fields in outputs().items()
           if fields}
  row = identity_scores.score(faces, found).results['gnet/clean-occluded']
  assert 'rank1' not in row and row['accuracy'] >= 0


def test_views_that_were_not_predicted_have_no_rows():
  found = outputs(networks=('net',))
  del found['net/occluded']
  assert set(identity_scores.score(FACES, found).results) == {'net/clean-clean'}
  part = identity_scores.score(FACES, outputs(networks=('net',)), full=False)
  assert set(part.results) == {'net/clean-occluded', 'net/occluded-occluded'} and not part.files
  assert next(iter(part.results['net/clean-occluded'])) == 'EER'


def test_the_hardest_pairs_come_first():
  found = outputs(networks=('net',))
  hidden = found['net/occluded']['embedding']
  a, b = next((a, b) for a, b, same in FACES.pairs if same)
  hidden[b] = -hidden[a]
  scores = identity_scores.score(FACES, found)
  assert set(scores.worst[:2]) == {a, b} and len(set(scores.worst)) == len(scores.worst)
  near = identity_scores.nearest(FACES, found, [3, 4])['net']
  clean = found['net/clean']['embedding']
  for row, place in zip((3, 4), near, strict=True):
    similar = clean @ hidden[row]
    assert place == max((i for i in range(len(clean)) if FACES.group[i] != FACES.group[row]),
                        key=lambda i: similar[i])


def test_pairs_of_one_kind_are_refused():
  fails(lambda: identity_scores.faces_of(LABELS, None, [[0, 1, 1], [2, 3, 1]], None, LABELS),
        '2 genuine and 0 impostor pairs')


def test_stress_curves_keep_the_views_and_have_intervals(tmp_path):
  """Two rows of one network are two curves; those of a network with one row have its name."""
  class Stressed(engine.Engine):
    def __init__(self, results):
      class Entry:
        variants = {'severity0': {}, 'severity1': {}}
        rows, batches = 0, staticmethod(lambda: ())
        score = staticmethod(lambda *_, **__: identity_scores.Scores(results))
      self.entry = Entry

    def predict(self, *_):
      return {}

  of = lambda results: Stressed(results)._stress(None, None)
  curves = of({'net/clean-occluded': {'EER': 4.0, 'EER_low': 3.0, 'EER_high': 5.0},
               'net/occluded-occluded': {'EER': 8.0}})
  assert set(curves) == {'net/clean-occluded', 'net/occluded-occluded'}
  assert curves['net/clean-occluded']['interval'] == [[0, 3.0, 5.0], [1, 3.0, 5.0]]
  assert curves['net/occluded-occluded'] == {
    'metric': 'EER', 'severity': [[0, 8.0], [1, 8.0]], 'others': {}, 'area': 8.0}
  assert set(of({'net/occluded': {'AP': 1.0}, 'other/occluded': {'AP': 2.0}})) == {'net', 'other'}
