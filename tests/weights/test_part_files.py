"""Weight files of SMAP and HUPOR: a detector, a reasoning network and a refinement network."""
import json

import pytest

from dslope_jax import models
from dslope_jax.predictor import Predictor
from dslope_jax.weights import architecture, pytorch
from tests.golden_data import published_weights
from tests.part_golden import GOLDEN
from tests.refusals import fails
from tests.weights import listings

_STAGES = dict(num_keypoints=15, limbs=14, stages=3, blocks=(3, 4, 6, 3), decoder_width=256)
_SMAP = _STAGES | dict(widths=(64, 128, 256, 512))
LISTINGS = {
  'keys_detection': ('smap', _SMAP | dict(anchors=7), 91484800),
  'keys_smap': ('smap', _SMAP | dict(anchors=1), 91318696),
  'keys_reasoning': ('dsed', _STAGES | dict(widths=(128, 256, 512)), 160619278),
  'keys_refinenet': ('refine_net', dict(num_keypoints=15, widths=(160, 256, 256, 128)), 159469)}
TINY = dict(num_keypoints=3, widths=(5, 6))


@pytest.mark.parametrize('listing', LISTINGS)
def test_every_published_key_is_taken_and_given_back(listing):
  name, arguments, count = LISTINGS[listing]
  entries = json.loads((GOLDEN / f'{listing}.json').read_text())['entries']
  given = listings.taken_and_given_back(entries, name, arguments, count)
  if name == 'smap':
    assert architecture.crop_size(name, given) == (832, 512)


def test_a_file_of_another_form(tmp_path):
  module = models.build('refine_net', **TINY)
  tensors = published_weights(module, module.example(), 3)
  pytorch.save_tensors(tmp_path, tensors)
  file = str(tmp_path / 'model.safetensors')
  converted, certificate = pytorch.load_file(file, '', {}, None)
  assert certificate['model'] == 'refine_net' and certificate['arguments'] == TINY
  assert certificate['keys_used'] == len(tensors)
  fails(lambda: pytorch.load_file(file, 'refine_net', TINY | dict(widths=(6, 6)), None),
        'misshapen block.layer1.0.weight')
  fails(lambda: Predictor(file), file, 'refine_net', 'several people')
