"""The stack machine of pickles, without the instructions to import and to call."""
import math
import pickletools
import re

import numpy as np


class Placeholder:
  """A class, function or object of a pickle that is not made; `name` says of what."""

  def __init__(self, name: str):
    self.name = name

  def __repr__(self):
    return f'<{self.name}>'


class Refused(Exception):  # noqa: N818 - a signal to `loads`
  """Holds the name of what a pickle asks for."""


class Dtype(Placeholder):
  """A NumPy dtype, whose byte order comes later."""

  def __init__(self, code, *_):
    super().__init__('numpy.dtype')
    code = _text(code)
    if not re.fullmatch(r'[<>=|]?[biufcSUO?][0-9]{0,9}', code):
      raise Refused(f'numpy.dtype {code}')
    self.value = np.dtype(code)

  def build(self, state):
    _, order, part, names, *_ = state
    if part is not None or names is not None:
      raise Refused('numpy.dtype with fields')
    self.value = self.value.newbyteorder(order)


class Machine:
  """Runs one pickle.

  file: has read and readline, which give no more than is there. size: of the file, in bytes.
  strict, calls, persistent: see `plain_pickle.loads`.
  """

  def __init__(self, file, size, strict, calls, persistent):
    self.file, self.strict, self.calls, self.persistent = file, strict, calls, persistent
    self.stack, self.below, self.memo = [], [], {}
    self.unfilled = {}  # {id: array} of those whose content comes later
    # Copies of what is in the memo cost a file nothing; nobody's data need more than this.
    self.budget = 32 * size + 2**20

  def run(self):
    while True:
      code = self.file.read(1)
      if code not in _OPCODES:
        raise ValueError(f'no instruction {code}' if code else 'it is cut short')
      name, read = _OPCODES[code]
      argument = read(self.file) if read else None
      if name == 'STOP':
        return self.stack.pop()
      _STEPS[name](self, argument)

  def spend(self, count):
    self.budget -= count
    if self.budget < 0:
      raise ValueError('it asks for far more memory than it has content')

  def push(self, value):
    self.stack.append(value)

  def mark(self):
    self.below.append(self.stack)
    self.stack = []

  def since_mark(self):
    items, self.stack = self.stack, self.below.pop()
    return items

  def drop(self):
    if self.stack:
      self.stack.pop()
    else:
      self.since_mark()

  def put(self, key):
    self.memo[key] = self.stack[-1]

  def persist(self, key):
    if self.persistent is None:
      raise Refused('a persistent id')
    self.push(self.persistent(key))

  def named(self, module, name):
    """Pushes a class or function."""
    name = f'{_text(module)}.{_text(name)}'
    for old, new in _RENAMED.items():
      if name.startswith(old):
        name = new + name.removeprefix(old)
    if self.strict and name not in self.calls and name not in _CLASSES:
      raise Refused(name)
    self.push(Placeholder(name))

  def call(self, function, arguments):
    """Pushes what a call makes."""
    if not isinstance(function, Placeholder) or not isinstance(arguments, (tuple, list)):
      raise TypeError('a call of what is no function')
    self.push(self._called(function.name, arguments))

  def _called(self, name, arguments):
    if name == 'numpy.core.multiarray._reconstruct':
      array = np.empty(0, np.int8)
      self.unfilled[id(array)] = array
      return array
    if name in self.calls:
      self.spend(sum(len(a) for a in arguments if isinstance(a, (str, bytes, list, tuple))))
      return self.calls[name](*arguments)
    if self.strict:
      raise Refused(name)
    return Placeholder(name)

  def build(self, state):
    """Gives its state to the object on top of the stack; attributes of others are left out."""
    top = self.stack[-1]
    if isinstance(top, Dtype):
      top.build(state)
    elif isinstance(top, np.ndarray):
      self._fill(top, state)

  def _fill(self, array, state):
    *_, shape, dtype, fortran, data = state
    if self.unfilled.pop(id(array), None) is None:
      raise ValueError('an array with two contents')
    if not isinstance(shape, tuple) or len(shape) > 32:
      raise TypeError('an array without a shape')
    dtype, count = dtype_of(dtype), math.prod(map(_count, shape))
    if dtype.hasobject:
      if type(data) is not list or len(data) != count:
        raise ValueError('an array of another size than its content')
      # Arrays within arrays to any depth would overflow the stack when they are freed.
      if any(isinstance(x, np.ndarray) and (x.dtype.hasobject or id(x) in self.unfilled)
             for x in data):
        raise ValueError('arrays of objects in arrays of objects')
    else:
      data = bytes_of(data)
      if not dtype.itemsize or len(data) != count * dtype.itemsize:
        raise ValueError('an array of another size than its content')
    self.spend(len(data))
    array.__setstate__((1, shape, dtype, bool(fortran), data))

  def set_items(self, items):
    """items: key, value, key, value ... for the dict on top of the stack."""
    target = self.stack[-1]
    if isinstance(target, dict):
      target.update(_dict(zip(items[::2], items[1::2], strict=True)))
    elif not isinstance(target, Placeholder):
      raise TypeError('items of what is no dict')

  def extend(self, items):
    """items: for the list or set on top of the stack."""
    target = self.stack[-1]
    if isinstance(target, list):
      target.extend(items)
    elif isinstance(target, set):
      target.update(map(_key, items))
    elif not isinstance(target, Placeholder):
      raise TypeError('items of what is no list')


def dtype_of(value) -> np.dtype:
  """The dtype that a pickle made."""
  if not isinstance(value, Dtype):
    raise TypeError('an array without a dtype')
  return value.value


def bytes_of(value) -> bytes:
  """Bytes; Python 2 wrote them as texts, which are read as Latin-1."""
  if isinstance(value, str):
    return value.encode('latin-1')
  if not isinstance(value, bytes):
    raise TypeError('bytes that are none')
  return value


def _text(value):
  if not isinstance(value, str):
    raise TypeError('a name that is no text')
  return value


def _count(number):
  if type(number) is not int or not 0 <= number < 2**62:
    raise ValueError('an array of a negative or enormous size')
  return number


_SCALARS = (str, bytes, int, float, complex, type(None), frozenset, np.generic, Placeholder)


def _key(value):
  """A key of a dict or set. The hash of deep tuples would overflow the stack, or take for ever."""
  parts, count = [value], 0
  while parts:
    part, count = parts.pop(), count + 1
    if isinstance(part, tuple) and len(part) + count < 100:
      parts += part
    elif not isinstance(part, _SCALARS):
      raise TypeError(f'a {type(part).__name__} as a key')
  return value


def _dict(pairs=()):
  return {_key(key): value for key, value in pairs}


def _list(items=()):
  if not isinstance(items, (list, tuple)):
    raise TypeError('a list of what is none')
  return list(items)


def _set(items=()):
  return {_key(item) for item in _list(items)}


def _scalar(dtype, data):
  dtype, data = dtype_of(dtype), bytes_of(data)
  (value,) = np.frombuffer(data, dtype) if dtype.itemsize else [dtype.type()]
  return value


def _from_buffer(data, dtype, shape, order):
  array = np.frombuffer(bytes_of(data), dtype_of(dtype)).reshape(shape, order=_text(order))
  return array.copy(order='K')


def _encode(text, encoding='latin1'):
  if encoding not in ('latin1', 'latin-1'):
    raise Refused('_codecs.encode to another encoding than Latin-1')
  return bytes_of(text)


# Names of Python 2 and of other versions of NumPy.
_RENAMED = {'__builtin__.': 'builtins.', 'copy_reg.': 'copyreg.', 'numpy._core.': 'numpy.core.'}
# What may be named beside the calls, as their arguments.
_CLASSES = {'numpy.core.multiarray._reconstruct', 'numpy.ndarray', 'copyreg._reconstructor',
            *(f'builtins.{name}' for name in ('object', 'bool', 'int', 'float', 'str'))}
CALLS = {
  'builtins.list': _list, 'builtins.tuple': lambda items=(): tuple(_list(items)),
  'builtins.set': _set, 'builtins.frozenset': lambda items=(): frozenset(_set(items)),
  'builtins.dict': _dict, 'collections.OrderedDict': _dict,
  'collections.defaultdict': lambda *_: {},
  'builtins.complex': lambda real, imaginary: complex(float(real), float(imaginary)),
  'builtins.bytes': lambda data=b'': bytes_of(data),
  'builtins.bytearray': lambda data=b'', *_: bytes_of(data),
  '_codecs.encode': _encode, 'numpy.dtype': Dtype,
  'numpy.core.multiarray.scalar': _scalar, 'numpy.core.numeric._frombuffer': _from_buffer}


def _read_text(file):
  """The text of STRING: quoted, with escapes. pickletools knows ASCII only."""
  line = file.readline().strip()
  if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b'"', b"'"):
    raise ValueError('a text without quotes')
  return line[1:-1].decode('unicode_escape' if b'\\' in line else 'latin-1')


def _tuple_of(count):
  def step(machine, _):
    items = tuple(machine.stack[-count:])
    if len(items) < count:
      raise IndexError('too little on the stack')
    machine.stack[-count:] = [items]
  return step


def _pushes(make):
  """A step that pushes make()."""
  return lambda machine, _: machine.push(make())


def _gathers(make):
  """A step that pushes make(items since the mark)."""
  def step(machine, _):
    items = machine.since_mark()
    machine.push(make(items))
  return step


def _takes(count, step):
  """step(machine, the topmost values, which it takes, in the order in which they were pushed)."""
  def taking(machine, _):
    values = [machine.stack.pop() for _ in range(count)]
    step(machine, *values[::-1])
  return taking


def _construct(machine, function, arguments, keywords):
  if keywords:
    raise Refused('keyword arguments')
  machine.call(function, arguments)


def _class_and_arguments(machine, _):
  function, *arguments = machine.since_mark()
  machine.call(function, arguments)


def _instance(machine, name):
  arguments = machine.since_mark()
  machine.named(*name.split(' ', 1))
  machine.call(machine.stack.pop(), arguments)


_VALUES = ('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT',
           'STRING', 'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE',
           'BINUNICODE8', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8')
_STEPS = {  # {name of an instruction: function of the machine and of the argument in the file}
  **dict.fromkeys(_VALUES, Machine.push),
  **dict.fromkeys(('PUT', 'BINPUT', 'LONG_BINPUT'), Machine.put),
  **dict.fromkeys(('GET', 'BINGET', 'LONG_BINGET'), lambda m, key: m.push(m.memo[key])),
  **dict.fromkeys(('PROTO', 'FRAME'), lambda m, _: None),
  **dict.fromkeys(('APPENDS', 'ADDITEMS'), lambda m, _: m.extend(m.since_mark())),
  **dict.fromkeys(('REDUCE', 'NEWOBJ'), _takes(2, Machine.call)),
  'BYTEARRAY8': lambda m, value: m.push(bytes(value)),
  'MEMOIZE': lambda m, _: m.put(len(m.memo)),
  'NONE': _pushes(lambda: None), 'NEWTRUE': _pushes(lambda: True),
  'NEWFALSE': _pushes(lambda: False),
  'EMPTY_LIST': _pushes(list), 'EMPTY_DICT': _pushes(dict), 'EMPTY_SET': _pushes(set),
  'EMPTY_TUPLE': _pushes(tuple), 'LIST': _gathers(list), 'TUPLE': _gathers(tuple),
  'DICT': _gathers(lambda items: _dict(zip(items[::2], items[1::2], strict=True))),
  'FROZENSET': _gathers(lambda items: frozenset(_set(items))),
  'TUPLE1': _tuple_of(1), 'TUPLE2': _tuple_of(2), 'TUPLE3': _tuple_of(3),
  'APPEND': _takes(1, lambda m, value: m.extend([value])),
  'SETITEM': _takes(2, lambda m, key, value: m.set_items([key, value])),
  'SETITEMS': lambda m, _: m.set_items(m.since_mark()),
  'MARK': lambda m, _: m.mark(), 'POP': lambda m, _: m.drop(),
  'POP_MARK': lambda m, _: m.since_mark(), 'DUP': lambda m, _: m.push(m.stack[-1]),
  'GLOBAL': lambda m, name: m.named(*name.split(' ', 1)), 'STACK_GLOBAL': _takes(2, Machine.named),
  'NEWOBJ_EX': _takes(3, _construct), 'OBJ': _class_and_arguments, 'INST': _instance,
  'BUILD': _takes(1, Machine.build),
  'PERSID': Machine.persist, 'BINPERSID': _takes(1, Machine.persist)}
_OPCODES = {op.code.encode('latin-1'):
            (op.name, _read_text if op.name == 'STRING' else op.arg and op.arg.reader)
            for op in pickletools.opcodes if op.name in _STEPS or op.name == 'STOP'}
