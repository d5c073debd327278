"""Errors that the user can mend, and how text from files enters their messages."""
import os
import sys

_LONGEST = 4000  # characters of a message


class UserError(ValueError):
  """Something is wrong with the user's files, settings or machine, and the message says what.

  The commands print it as one line and exit with code 1. Every other exception is a mistake of
  this code and keeps its traceback, but for OSError and FloatingPointError.
  """

  def __init__(self, text=''):
    super().__init__(one_line(text))


def one_line(text) -> str:
  """A message as it may go to a terminal, whatever names are in it: what is not printable, such as
  escape sequences and line breaks, is written as in Python; a megabyte is cut in the middle."""
  text = str(text)
  if len(text) > _LONGEST:
    text = f'{text[:_LONGEST // 2]} ... {text[-_LONGEST // 2:]}'
  if text.isprintable():
    return text
  return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def quoted(text, limit: int = 120) -> str:
  """`repr` of a text from a file, cut in the middle: no escape sequence, line break or megabyte of
  it reaches a terminal."""
  shown = ascii(text) if isinstance(text, str) and not text.isprintable() else repr(text)
  return shown if len(shown) <= limit else f'{shown[:limit - 30]}...{shown[-20:]}'


def counted(number, word):
  """A number of something, as in '1 person' or '2 people'."""
  many = 'people' if word == 'person' else f'{word}s'
  return f'{number} {word if number == 1 else many}'


class _Output:
  """A text stream that takes everything: what cannot be written any more is dropped."""

  def __init__(self, stream):
    self._stream = stream

  def write(self, text):
    self._spared(self._stream.write, text)
    return len(text)

  def flush(self):
    self._spared(self._stream.flush)

  def __getattr__(self, name):
    return getattr(self._stream, name)

  def _spared(self, action, *arguments):
    try:
      action(*arguments)
    except OSError:  # the reader of a pipe is gone, or the disk of a log file is full
      os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def guard_output():
  """Makes sure that no message stops a run: a closed or broken output is dropped, and what the
  terminal's encoding lacks, such as file names that are no UTF-8, is escaped."""
  for number, name in ((1, 'stdout'), (2, 'stderr')):
    stream = getattr(sys, name)
    if stream is None:  # closed by the shell; another file may have its number
      stream = open(os.devnull, 'w')  # noqa: SIM115
    elif hasattr(stream, 'reconfigure') and stream.fileno() == number:
      stream.reconfigure(errors='backslashreplace')
      stream = _Output(stream)
    setattr(sys, name, stream)
