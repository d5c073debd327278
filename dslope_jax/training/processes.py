"""The processes of a run on several hosts: how they join, and how one's end ends the others."""
import contextlib
import ctypes
import functools
import os
import re
import socket
import sys
import threading

import jax

from dslope_jax.errors import UserError, one_line

JOINING = 300  # seconds that processes wait for each other at the start
SILENCE = 30  # seconds without a sign of life after which a process counts as ended
_LOST = re.compile('Gloo|NCCL|[Cc]oordination|Barrier|heartbeat|Socket closed|DISTRIBUTED')


def join(coordinator: str = '', processes: int = 0, process: int = 0, trains: bool = True):
  """Joins this process to the others of a run; a run on one host needs nothing.

  Called before any other use of JAX. With a coordinator address the three values are taken as
  given; JAX itself detects Cloud TPU pods, Slurm and Open MPI. trains: SIGTERM waits for a step
  that all of them have reached, see `multihost_utils.reached_preemption_sync_point`.
  Raises UserError where they do not find each other within `JOINING` seconds. If one of them ends
  later, the others end with one line: at once where a sum over all of them fails or process 0 has
  ended, else after `SILENCE` seconds.
  """
  if not coordinator and (processes or process):
    raise UserError('--processes and --process are of a run with --coordinator HOST:PORT, which is '
                    'missing')
  if not coordinator and not _on_cluster():
    return
  if coordinator and not re.fullmatch(r'.+:[1-9]\d*', coordinator):
    raise UserError(f"--coordinator '{coordinator}' is not HOST:PORT")
  if coordinator and not 0 <= process < processes:
    raise UserError(f'--process {process} of --processes {processes}: processes count from 0')
  if coordinator and process == 0:
    _check_port(int(coordinator.rpartition(':')[2]))
  jax.config.update('jax_enable_preemption_service', trains)
  _watch_others()
  where = coordinator or 'the address that JAX detected'
  slow = threading.Timer(20, lambda: print(f'waiting for the other processes at {where}',
                                           file=sys.stderr, flush=True))
  slow.daemon = True
  slow.start()
  try:
    given = (coordinator, processes, process) if coordinator else ()
    jax.distributed.initialize(*given, initialization_timeout=JOINING,
                               heartbeat_timeout_seconds=SILENCE)
  except (RuntimeError, ValueError) as error:
    if isinstance(error, ValueError):
      raise UserError(f'the processes of the run cannot be joined ({error}); give --coordinator, '
                      '--processes and --process') from None
    raise UserError(f'the processes of the run did not find each other at {where} within '
                    f'{JOINING} s: start them all, with the same --coordinator HOST:PORT, where '
                    'HOST is that of process 0 and reached from all') from None
  finally:
    slow.cancel()


def _check_port(port):
  """JAX may crash where it cannot listen."""
  both = socket.has_dualstack_ipv6()
  try:
    socket.create_server(('', port), family=socket.AF_INET6 if both else socket.AF_INET,
                         dualstack_ipv6=both).close()
  except (OSError, OverflowError) as error:
    raise UserError(f'process 0 cannot listen at port {port} '
                    f'({getattr(error, "strerror", None) or error}); choose another for '
                    '--coordinator') from None


def _on_cluster():
  """Whether more than one process was started, and JAX can detect the others."""
  workers = os.environ.get('TPU_WORKER_HOSTNAMES', '').count(',') + 1
  # Not SLURM_NTASKS, which salloc sets although nobody starts so many processes; srun does.
  step, mpi, reserved = (int(os.environ.get(name, 1)) for name in (
    'SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE', 'SLURM_NTASKS'))
  started = max(workers, step, mpi)
  if reserved > started == 1:
    print(f'warning: Slurm has reserved {reserved} tasks, and this is the only one: to train on '
          'all of them start the command with srun', file=sys.stderr, flush=True)
  return started > 1


def lost(error) -> bool:
  """Whether an exception is of the end of another process."""
  return jax.distributed.is_initialized() and isinstance(error, (RuntimeError, ValueError)) and (
    bool(_LOST.search(str(error))))


ENDED = ('another process of this run has ended or does not answer; its own output says why. Start '
         'all of them again: a training resumes from its newest checkpoint')


def _end(*_):
  print(f'error: {one_line(ENDED)}', file=sys.stderr, flush=True)
  os._exit(1)


_on_terminate = ctypes.CFUNCTYPE(None)(_end)


def _watch_others():
  """Ends this process in one line when JAX's thread learns that another one has ended.

  By itself JAX aborts then, with pages. It takes a function to call instead, but fails to convert
  its argument: C++ terminates, and that is where the function must be hung up, too.
  """
  if os.environ.get('DSLOPE_TRACEBACK'):
    return
  with contextlib.suppress(ImportError, AttributeError, OSError):  # of other versions and systems
    from jax._src.lib import _jax
    _jax.get_distributed_runtime_client = functools.partial(
      _jax.get_distributed_runtime_client, missed_heartbeat_callback=_end)
    ctypes.CDLL('libstdc++.so.6')._ZSt13set_terminatePFvvE(_on_terminate)
