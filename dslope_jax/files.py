"""Files of others: are they there, are they files, and what are they really."""
import mmap
import os
import re
import stat

from dslope_jax.errors import UserError, quoted

MAX_BYTES = 32 * 2**30


def local_path(text: str) -> str:
  """A path as a user writes it, with `~` for a home folder. UserError for an address."""
  if re.match(r'[a-zA-Z][\w+.-]+://|(gs|s3|hdfs):/', text):  # some shells and libraries join //
    raise UserError(f'{quoted(text)} is an address, and only folders and files of this machine are '
                    'read and written: mount the bucket, or copy what is needed')
  return os.path.expanduser(text)


def leads_out(name: str) -> bool:
  """Whether a file name that stands in a file leads out of the folder that it belongs to."""
  return os.path.isabs(name) or '..' in re.split(r'[/\\]', name)


def check_file(path) -> int:
  """Size of an ordinary file in bytes. Raises FileNotFoundError, OSError or UserError."""
  try:
    status = os.stat(path)
  except FileNotFoundError:
    if not os.path.islink(path):
      raise FileNotFoundError(f"no file '{path}'; check the path") from None
    target = os.readlink(path)
    mend = "run 'git annex get'" if 'annex/objects' in target else 'get the file that it names'
    raise FileNotFoundError(f"'{path}' is a link to {quoted(target)}, which is not there; "
                            f'{mend}') from None
  except ValueError:
    raise UserError(f'{quoted(path)} is no path') from None
  if not stat.S_ISREG(status.st_mode):
    raise UserError(f"'{path}' is no ordinary file, but a folder, a pipe or a device")
  if not status.st_size:
    raise UserError(f"'{path}' is empty; get it again")
  if status.st_size > MAX_BYTES:
    raise UserError(f"'{path}' has {status.st_size / 2**30:.1f} GiB, more than {MAX_BYTES >> 30}; "
                    'it is refused')
  return status.st_size


def mapped(path) -> mmap.mmap:
  """An ordinary file as a map of memory, to be closed; raises as `check_file`."""
  check_file(path)
  with open(path, 'rb') as f:
    return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)


# What a file begins with that is not what was meant, and the mend.
_BEGINNINGS = [
  (rb'(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml)', 'a web page, as sites send in place of '
   'a file that asks for a login or a confirmation; download it in a browser'),
  (rb'version https://git-lfs', "a pointer of Git LFS; run 'git lfs pull'"),
  (rb'/?(\.git/)?annex/objects/', "a pointer of git-annex; run 'git annex get'"),
  (rb'\s*[{\[]\s*["{\[]', 'a JSON text'),
  (rb'\x1f\x8b', 'packed by gzip; unpack it'), (rb'BZh\d', 'packed by bzip2; unpack it'),
  (rb'\xfd7zXZ', 'packed by xz; unpack it'), (rb'\x28\xb5\x2f\xfd', 'packed by zstd; unpack it'),
  (rb'7z\xbc\xaf', 'an archive of 7-Zip; unpack it'), (rb'Rar!', 'an archive of RAR; unpack it'),
  (rb'(?s:.{257})ustar', 'an archive of tar; unpack it'),
  (rb'\x89HDF', 'an HDF5 file, as of Keras'), (rb'\x93NUMPY', 'a NumPy array'),
  (rb'PK\x03\x04', 'a zip archive'), (rb'\x80[\x00-\x05]', 'a pickle'),
  (rb'\0{64}', 'full of zeros, as of a download that was cut'),
  (rb'[\t\n\r\x20-\x7e]{16}', 'a text')]


def likely_kind(beginning: bytes) -> str:
  """What a file with this beginning (600 bytes) is, and the mend; '' where nothing is known."""
  return next((kind for pattern, kind in _BEGINNINGS if re.match(pattern, beginning, re.I)), '')


def first_line(error, limit: int = 160) -> str:
  """The first line of an error's text, at most `limit` characters, all of which print."""
  text = (str(error).strip() or type(error).__name__).splitlines()[0][:limit]
  return text if text.isprintable() else ascii(text)
