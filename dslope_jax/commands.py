"""How every command begins, and how SIGTERM and Ctrl-C end it: in one line.

A script calls `begin` before it imports what takes seconds, and `imported` after it.
"""
import contextlib
import gc
import os
import signal
import sys
import threading
import time

from dslope_jax.errors import guard_output

STOPPED = 75  # exit code of a run that a signal stopped: it is not finished (EX_TEMPFAIL)
_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
_GRACE = 2.0  # seconds for Python to hear a signal, which it does not while C++ code runs


class Stopped(KeyboardInterrupt):
  """A signal ends the command; its text is for the user. code: of the exit."""

  def __init__(self, text, code):
    super().__init__(text)
    self.code = code


def saved(step: int) -> str:
  """What a stopped run says."""
  return f'stopped by a signal; step {step} is saved, the same command resumes from there'


def begin(terminated: int = _TERMINATED):
  """To be called first: output never stops the command, and signals end it in one line.

  terminated: exit code after SIGTERM.
  """
  guard_output()
  sys.excepthook, sys.unraisablehook = _last_words, _not_lost
  if not os.environ.get('DSLOPE_TRACEBACK'):
    # JAX tells what goes wrong by exceptions; its C++ code prints pages about the same, too.
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
  policy = _AtOnce(terminated)
  for number in (signal.SIGTERM, signal.SIGINT):  # an exception could be lost in an import
    signal.signal(number, lambda number, frame: _end(policy.verdict(number)))
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  threading.Thread(target=_listen, args=(reader,), name='signals', daemon=True).start()
  _begun.append(policy)


def collect_rarely():
  """Lets Python look for garbage less often: tracing makes millions of small objects that live on,
  and looking through them takes a fifth of a short run. To be called when all is imported."""
  gc.freeze()
  gc.set_threshold(50_000, 20, 100)


def imported():
  """From here on a signal raises Stopped, so that what is half done is cleaned up."""
  collect_rarely()
  for policy in _begun:
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, policy.on_signal)


def _last_words(kind, error, trace):
  if issubclass(kind, KeyboardInterrupt):
    _end(error if isinstance(error, Stopped) else Stopped('interrupted', _INTERRUPTED))
  sys.__excepthook__(kind, error, trace)


def _not_lost(found):
  """A signal that came while Python could not raise, as in a callback."""
  if not isinstance(found.exc_value, Stopped):
    sys.__unraisablehook__(found)
  elif not isinstance(getattr(signal.getsignal(signal.SIGINT), '__self__', None), StopSignal):
    _end(found.exc_value)


def _end(stopped):
  """Says why, and leaves at once: threads that compile or read from a hanging disk would be waited
  for otherwise."""
  print(stopped, file=sys.stderr, flush=True)
  end_now(stopped.code)


def end_now(code):
  """Ends the process without the interpreter's own end, which waits for threads."""
  for stream in filter(None, (sys.stdout, sys.stderr)):
    stream.flush()
  os._exit(code)


_begun = []  # what signals do outside of `StopSignal`; empty in a process that is no command
_heard = threading.Event()  # the last signal, by the handler in the main thread


def _listen(reader):
  """Ends the process where the main thread does not come to do it, as C++ code keeps it."""
  while True:
    for number in os.read(reader, 64):
      policy = getattr(signal.getsignal(number), '__self__', None)
      if isinstance(policy, _AtOnce):
        stopped = None if _heard.wait(_GRACE) else policy.verdict(number)
        if stopped:
          _end(stopped)
        _heard.wait()
        _heard.clear()


class _AtOnce:
  """What signals do where nothing is to be saved: the main thread raises Stopped."""

  def __init__(self, terminated):
    self.terminated = terminated

  def verdict(self, number):
    """The Stopped that this signal means, or None to go on."""
    if number == signal.SIGINT:
      return Stopped('interrupted', _INTERRUPTED)
    return Stopped('stopped by SIGTERM', self.terminated)

  def on_signal(self, number, frame):
    _heard.set()
    stopped = self.verdict(number)
    if stopped:
      raise stopped


class StopSignal(_AtOnce):
  """Within it SIGTERM and Ctrl-C only raise a flag, but for stretches of `at_once`.

  A second Ctrl-C, not of the same key stroke, stops at once. several: of several processes, which
  must stop at the same step: JAX's own handler of SIGTERM stays, and Ctrl-C does the same.
  """

  def __init__(self, several: bool = False):
    super().__init__(STOPPED)
    self.raised, self._several, self._since, self._leave = False, several, None, ''

  def __enter__(self):
    caught = (signal.SIGINT,) if self._several else (signal.SIGTERM, signal.SIGINT)
    self._before = {s: signal.signal(s, self.on_signal) for s in caught}
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  @contextlib.contextmanager
  def at_once(self, text):
    """Within it a signal raises Stopped with this text; of several processes it only waits."""
    self._leave = text
    try:
      if self.raised:
        raise Stopped(text, STOPPED)
      yield
    finally:
      self._leave = ''

  def verdict(self, number):
    if self._since and number == signal.SIGINT and time.monotonic() - self._since > 1:
      return Stopped('interrupted; what was not saved is lost', _INTERRUPTED)
    return Stopped(self._leave, STOPPED) if self._leave and not self._several else None

  def on_signal(self, number, frame):
    try:
      super().on_signal(number, frame)
    finally:
      self._since = self._since or time.monotonic()
      if self._several:
        os.kill(os.getpid(), signal.SIGTERM)
      self.raised = not self._several
