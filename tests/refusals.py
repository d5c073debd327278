"""What every refusal must be: one line that names the place and the mend."""
import pytest


def fails(action, *parts, kind=ValueError):
  """Asserts that the action raises one line with these parts."""
  with pytest.raises(kind) as raised:
    action()
  text = str(raised.value)
  assert '\n' not in text
  for part in parts:
    assert str(part) in text, text
