"""What a machine that comes with packages of its own is told to install."""
from tools.install import to_install

NEEDS = ['jax>=0.10', 'numpy>=2.0', 'flax>=0.12', 'array_record>=0.5', 'pillow']
COLAB = {'jax': '0.7.2', 'numpy': '2.0.2', 'flax': '0.11.2', 'array-record': '0.8.1',
         'pillow': '11.3.0', 'tensorflow': '2.19.0'}


def test_what_is_new_enough_keeps_its_version():
  assert to_install(NEEDS, COLAB) == [
    'jax>=0.10', 'flax>=0.12', 'numpy==2.0.2', 'array_record==0.8.1', 'pillow==11.3.0']
  assert to_install(NEEDS, COLAB | {'jax': '0.11.0'})[:2] == ['flax>=0.12', 'jax==0.11.0']


def test_jax_stays_with_its_plugin():
  gpu = COLAB | {'jax-cuda12-plugin': '0.7.2'}
  assert to_install(NEEDS, gpu)[0] == 'jax[cuda12]>=0.10'
  assert 'jax[cuda12]==0.10.2' in to_install(NEEDS, gpu | {'jax': '0.10.2'})
  assert to_install(NEEDS, COLAB | {'libtpu': '0.0.17'})[0] == 'jax[tpu]>=0.10'


def test_nothing_is_lacking():
  assert to_install(NEEDS, COLAB | {'jax': '0.12.0', 'flax': '0.13.0.dev1'}) == []
