"""Errors that the user can mend, and how text from files enters their messages."""
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


def quoted(text, limit: int = 300) -> str:
  """`repr` of a text from a file, cut in the middle: no escape sequence, line break or megabyte of
  it reaches a terminal."""
  shown = ascii(text) if isinstance(text, str) and not text.isprintable() else repr(text)
  return shown if len(shown) <= limit else f'{shown[:limit - 30]}...{shown[-20:]}'


def print_any_name():
  """Makes output escape what the terminal's encoding lacks, such as file names that are no UTF-8,
  in place of a UnicodeEncodeError."""
  for stream in (sys.stdout, sys.stderr):
    if stream is not None:
      stream.reconfigure(errors='backslashreplace')
