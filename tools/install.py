"""Installs what this Python lacks to run the project, and leaves what is new enough as it is.

  python tools/install.py [EXTRA ...]

For machines that come with JAX, such as Colab. Only packages that are missing or too old are
installed, in versions that go with the others. JAX is named with the plugin for the GPU or TPU that
is there, so that both stay of one version. EXTRA: of pyproject.toml, such as test or demo.
"""
import importlib.metadata
import os
import pathlib
import sys

try:
  import tomllib
except ModuleNotFoundError:
  sys.exit(f'error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}')

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

_PROJECT = pathlib.Path(__file__).resolve().parent.parent / 'pyproject.toml'
_PLUGINS = {'jax-cuda13-plugin': 'cuda13', 'jax-cuda12-plugin': 'cuda12', 'libtpu': 'tpu'}


def to_install(requirements, installed: dict[str, str]) -> list[str]:
  """What to tell pip, [] if {package: version} meets all requirements, such as 'jax>=0.10'.

  Those that are met keep their versions: pip looks for versions of the others that go with them.
  """
  wanted = [Requirement(text) for text in requirements]
  versions = {need.name: installed.get(_plain(need.name)) for need in wanted}
  met = {need.name for need in wanted if versions[need.name] and
         need.specifier.contains(versions[need.name], prereleases=True)}
  if met == set(versions):
    return []
  for need in wanted:
    if need.name in met:
      need.specifier = SpecifierSet(f'=={versions[need.name]}')
    if need.name == 'jax':
      need.extras |= {kind for name, kind in _PLUGINS.items() if name in installed}
  return sorted(map(str, wanted), key=lambda text: '==' in text)  # what changes comes first


def _plain(name):
  return name.lower().replace('_', '-')


def main(extras):
  project = tomllib.loads(_PROJECT.read_text(encoding='utf-8'))['project']
  requirements = list(project['dependencies'])
  for extra in extras:
    if extra not in project['optional-dependencies']:
      sys.exit(f"error: no extra '{extra}', but {', '.join(project['optional-dependencies'])}")
    requirements += project['optional-dependencies'][extra]
  installed = {_plain(d.name): d.version for d in importlib.metadata.distributions()}
  needs = to_install(requirements, installed)
  changes = [need for need in needs if '==' not in need]
  print('installing ' + ', '.join(changes) if needs else 'all packages are there', flush=True)
  if needs:
    os.execv(sys.executable, [sys.executable, '-m', 'pip', 'install', '-q', *needs])


if __name__ == '__main__':
  main(sys.argv[1:])
