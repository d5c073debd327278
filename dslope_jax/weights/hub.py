"""Weights on the Hugging Face hub."""
import re

from dslope_jax.errors import UserError, quoted
from dslope_jax.files import first_line, local_path


def local_weights(text: str) -> str:
  """What names weights, on this machine: `~` is the home folder; 'hf://OWNER/NAME[@REVISION]', with
  ':NETWORK' behind it, is downloaded once from the hub. UserError where that fails."""
  if not text.startswith('hf:/'):
    return local_path(text)
  match = re.fullmatch(r'hf://?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?(:[\w/]+)?', text)
  if not match:
    raise UserError(f'{quoted(text)} is no name on the hub; they read hf://OWNER/NAME, '
                    'hf://OWNER/NAME@REVISION or hf://OWNER/NAME:enet')
  try:
    import huggingface_hub
  except ImportError:
    raise UserError(f"{quoted(text)} is on the Hugging Face hub: pip install 'dslope_jax[hub]', or "
                    'download the folder and give its path') from None
  name, revision, network = match.groups(default='')
  try:  # no pickles
    folder = huggingface_hub.snapshot_download(name, revision=revision or None,
                                               allow_patterns=['*.json', '*.safetensors'])
  except Exception as error:  # of the network, the hub or its client: they have no common class
    raise UserError(f'{quoted(text)} cannot be downloaded ({first_line(error)}); check name and '
                    'connection, or download the folder and give its path') from None
  return folder + network
