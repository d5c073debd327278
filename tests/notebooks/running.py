"""Runs the cells of a notebook in order, in this process, with its lines of shell as processes.

Jupyter's own runner would bring thirty packages to the tests; what the notebooks use beside Python
are lines with `!` and `%cd`.
"""
import json
import os
import re
import subprocess

_SHELL = re.compile(r'^( *)!((?:.*\\\n)*.+)$', re.M)  # a backslash goes on with the next line
_FOLDER = re.compile(r'^( *)%cd (.+)$', re.M)


def cells(path) -> list[tuple[str, str]]:
  """(id, source) of the cells with code."""
  book = json.loads(path.read_text(encoding='utf-8'))
  return [(cell['id'], ''.join(cell['source'])) for cell in book['cells']
          if cell['cell_type'] == 'code']


def run(path) -> dict:
  """Returns what the cells define; a cell or a command that fails raises, naming the cell."""
  names = {'_shell': _shell, '_cd': os.chdir}
  for name, source in cells(path):
    source = _SHELL.sub(r"\1_shell(rf'''\2''')", source)
    source = _FOLDER.sub(r"\1_cd(rf'''\2''')", source)
    try:
      exec(compile(source, f'{path.name}:{name}', 'exec'), names)
    except subprocess.CalledProcessError as error:
      raise AssertionError(f'{path.name}, cell {name}: {error.cmd}\n{error.output}') from None
  return names


def _shell(command):
  print(subprocess.run(command, shell=True, check=True, text=True, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT).stdout)
