"""predict.py called as it is typed."""
import json

import pytest

import predict


def caller(out, file, capsys, before=()):
  """call(*arguments, code=0): runs predict.py with `before`, --out and the arguments.

  It gives (what is in `file` of the folder out, printed), or for an error code the line printed.
  """
  def call(*arguments, code=0):
    given = [*map(str, before), '--out', str(out), *map(str, arguments)]
    if code:
      with pytest.raises(SystemExit) as raised:
        predict.main(given)
      assert raised.value.code == code
      printed = capsys.readouterr().err
      assert printed.count('error: ') == 1 and 'Traceback' not in printed
      return printed
    predict.main(given)
    return json.loads((out / file).read_text()), capsys.readouterr().out

  call.out = out
  return call
