"""Pictures that a process draws are kept, as many as fit, so that later epochs cost no drawing."""
import numpy as np

_BYTES = 2 ** 28
_kept = {}


def picture(key, draw) -> np.ndarray:
  """What draw() gives, (H,W,3) uint8, from then on not to be written to. key: all it depends on."""
  if key in _kept:
    return _kept[key]
  image = draw()
  image.flags.writeable = False
  if (len(_kept) + 1) * image.nbytes <= _BYTES:
    _kept[key] = image
  return image


def forget():
  """Drops all pictures."""
  _kept.clear()
