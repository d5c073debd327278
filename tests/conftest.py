"""Settings of all tests: grain's flags, the compile cache, collection of garbage, curves."""
import atexit
import os
import pathlib
import shutil
import tempfile

import jax
import pytest
from absl import flags

from dslope_jax import commands

# grain reads absl flags in its workers' start; in a test nobody has parsed them.
flags.FLAGS.mark_as_parsed()
# Networks that several tests compile are compiled once, by whichever worker or process is first; a
# fresh folder for every run of the suite, so no test sees old code. Workers inherit its name.
cache = os.environ.get('DSLOPE_TESTS_CACHE')
if not cache:
  cache = os.environ['DSLOPE_TESTS_CACHE'] = tempfile.mkdtemp(prefix='dslope_jax_cache_')
  atexit.register(shutil.rmtree, cache, ignore_errors=True)
os.environ['JAX_COMPILATION_CACHE_DIR'] = cache  # of processes that tests start
jax.config.update('jax_compilation_cache_dir', cache)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)

# Tests compile much and compute little: without LLVM's optimisations a program is ready in half the
# time, and without MLIR's emitters, which JAX 0.12 always uses, in a quarter. Compiled in one piece
# it costs a sixth less; the other core has a worker of its own. Processes that tests start inherit
# the flags.
QUICK = '--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1'
if jax.__version_info__ < (0, 12):
  QUICK += ' --xla_cpu_use_fusion_emitters=false'
os.environ.setdefault('XLA_FLAGS', QUICK)

commands.collect_rarely()

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope='module', autouse=True)
def no_curve(request):
  """Runs draw no learning curve, which takes a fifth of a small run, but in modules marked so."""
  from dslope_jax.training import metric_writer
  with pytest.MonkeyPatch.context() as patch:
    if not request.node.get_closest_marker('curve'):
      patch.setattr(metric_writer, 'draw_curve', lambda path, out: None)
    yield


@pytest.fixture(scope='module')
def small_dag():
  """DAG's pose network stands for one that compiles in a second; its graph network stays."""
  from dslope_jax import models
  from tests.tiny import SmallDag
  build = models.build
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(models, 'build', lambda name, **options: (
      SmallDag(options['num_keypoints'], options['dtype']) if name == 'dag'
      else build(name, **options)))
    yield
