"""Settings of all tests: grain's flags, the compile cache, eight CPU devices only where asked."""
import pathlib
import tempfile

import jax
from absl import flags

# grain reads absl flags in its workers' start; in a test nobody has parsed them.
flags.FLAGS.mark_as_parsed()
# Networks that several tests compile are compiled once; a fresh folder, so no test sees old code.
jax.config.update('jax_compilation_cache_dir', tempfile.mkdtemp(prefix='dslope_jax_cache_'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)

ROOT = pathlib.Path(__file__).parent.parent
