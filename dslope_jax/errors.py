"""Errors that the user can mend, and how text from files enters their messages."""


class UserError(ValueError):
  """Something is wrong with the user's files, settings or machine, and the message says what.

  The commands print it as one line and exit with code 1. Every other exception is a mistake of
  this code and keeps its traceback, but for OSError and FloatingPointError.
  """


def quoted(text, limit: int = 120) -> str:
  """`repr` of a text from a file, cut in the middle: no escape sequence, line break or megabyte of
  it reaches a terminal."""
  shown = ascii(text) if isinstance(text, str) and not text.isprintable() else repr(text)
  return shown if len(shown) <= limit else f'{shown[:limit - 30]}...{shown[-20:]}'
