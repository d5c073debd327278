"""Drawn patches that hide faces: glasses, masks, hands, hair and cloth.

Face sets show little of these, and nothing says where; so a bank of faces gets drawings, which
`severity.worn` and the face severities place by the landmarks. Lengths below are in distances
between the eyes.
"""
from collections.abc import Iterator

import numpy as np

from input_pipeline.occlusion.cutting import Patch, capsules_alpha

# {part: how many drawings of it}
COUNTS = {'glasses': 24, 'mask': 16, 'drawn_hand': 24, 'hair': 24, 'cloth': 12}
CHIN = 1.75  # the chin below the middle of the eyes, in adults
FACE = 2.2  # the side of the box around a face's landmarks
_EYES = 40  # pixels between the eyes of a drawing
_NONE = np.full((2, 2), np.nan)


def drawings(rng) -> Iterator[Patch]:
  """All drawings of a bank. The bone of glasses and masks are the eyes, the person's right one
  first, that of a hand wrist and fingertips, that of hair root and tips."""
  for part, count in COUNTS.items():
    for _ in range(count):
      yield _DRAW[part](rng)


def _canvas(x1, y1, x2, y2):
  """x, y of the pixels of a box around the middle of the eyes, and the box in pixels."""
  box = [round(v * _EYES) for v in (x1, y1, x2, y2)]
  return (np.arange(box[0], box[2]) / _EYES, np.arange(box[1], box[3])[:, None] / _EYES, box)


def _strokes(strokes, box):
  """(h,w) opacity of lines (a, b, radius at a, radius at b)."""
  scaled = [(np.array(a) * _EYES, np.array(b) * _EYES, ra * _EYES, rb * _EYES)
            for a, b, ra, rb in strokes]
  return capsules_alpha(scaled, box)


def _line(points, radius):
  return [(a, b, radius, radius) for a, b in zip(points[:-1], points[1:], strict=True)]


def _edge(inside):
  """Opacity of where a function of place is above 0; it changes by 1 in a distance of 1."""
  return np.clip(inside * _EYES + 0.5, 0, 1)


def _patch(part, layers, bone, box):
  """layers: (opacity (h,w), colour (3,) or (h,w,3), 0 to 255), the lowest first."""
  shape = box[3] - box[1], box[2] - box[0]
  alpha, colour = np.zeros(shape), np.zeros((*shape, 3))
  for opaque, paint in layers:
    through = 1 - opaque
    alpha = opaque + alpha * through
    colour = opaque[..., None] * paint + colour * through[..., None]
  pixels = np.dstack([np.clip(colour, 0, 255 * alpha[..., None]), 255 * alpha])
  bone = np.array(bone) * _EYES - box[:2]
  return Patch(part, np.round(pixels).astype(np.uint8), bone, float(FACE * _EYES), 1, True)


def _glasses(rng):
  """A frame with clear lenses, which hide nothing, or with dark ones."""
  x, y, box = _canvas(-1.3, -0.6, 1.3, 0.7)
  wide, high, power = rng.uniform(0.3, 0.42), rng.uniform(0.2, 0.32), rng.uniform(2, 5)
  rim, colour = rng.uniform(0.025, 0.06), rng.uniform(0, 90, 3)
  turn = np.linspace(0, 2 * np.pi, 25)
  bow = lambda v: np.sign(v) * np.abs(v) ** (2 / power)
  outline = np.stack([wide * bow(np.cos(turn)), high * bow(np.sin(turn))], 1)
  lens = np.maximum(*(1 - np.abs((x - middle) / wide) ** power - np.abs(y / high) ** power
                      for middle in (-0.5, 0.5))) * min(wide, high) / 2
  shade = rng.uniform(0.9, 1) if rng.random() < 0.6 else 0.12
  strokes = [((wide - 0.5, -0.05), (0.5 - wide, -0.05), rim, rim)]
  for side in (-1, 1):
    strokes += _line(outline + (0.5 * side, 0), rim)
    strokes.append(((side * (0.5 + wide), -0.08), (side * 1.2, -0.12), rim, rim))
  glow = (1 + 0.5 * (y < -0.4 * high))[..., None] * rng.uniform(5, 60, 3)
  return _patch('glasses', [(shade * _edge(lens), glow), (_strokes(strokes, box), colour)],
                [(-0.5, 0), (0.5, 0)], box)


def _mask(rng):
  """From the bridge of the nose to below the chin, with loops to the ears."""
  x, y, box = _canvas(-1.5, 0.1, 1.5, 2.3)
  top, wide, low = rng.uniform(0.35, 0.6), rng.uniform(0.95, 1.1), rng.uniform(1.8, 2.1)
  above = y - top - rng.uniform(0.1, 0.3) * x * x
  around = 1 - np.hypot(x / wide, (y - 0.6) / (low - 0.6))
  base = np.array([rng.uniform(150, 255, 3), rng.uniform(10, 70, 3), (120, 170, 210)])[
    rng.integers(3)]
  folds = np.sin(2 * np.pi * (y - 0.15 * x * x) * rng.uniform(2, 4))
  paint = base * (1 + 0.08 * folds * (np.abs(x) < 0.9 * wide) - 0.25 * np.abs(x / wide))[..., None]
  loops = [stroke for side in (-1, 1) for start in (0.6, 1.2) for stroke in _line(
    np.array([(side * 0.85 * wide, start), (side * 1.35, 0.2)]), 0.025)]
  return _patch('mask', [(_strokes(loops, box), base), (_edge(np.minimum(above, around)), paint)],
                [(-0.5, 0), (0.5, 0)], box)


def _skin(rng):
  return np.array((232, 190, 160)) * rng.uniform(0.3, 1.05) * rng.uniform(0.95, 1.05, 3)


def _hand(rng):
  """A palm, four fingers and a thumb; as long as a face, upright."""
  _, _, box = _canvas(-1.1, -1.3, 1.1, 1.3)
  side, spread, skin = rng.choice((-1, 1)), rng.uniform(0.02, 0.2), _skin(rng)
  palm = [((-0.2, 0.2), (-0.12, 0.95), 0.3, 0.26), ((0.2, 0.2), (0.12, 0.95), 0.3, 0.26)]
  layers = [(_strokes(palm, box), skin)]
  for i, length in enumerate((0.75, 0.95, 1.0, 0.9)):
    angle = (i - 1.5) * spread + rng.normal(0, 0.04)
    root = np.array((side * (i - 1.5) * 0.26, 0.05))
    tip = root + length * rng.uniform(0.9, 1) * np.array((side * np.sin(angle), -np.cos(angle)))
    layers.append((_strokes([(root, tip, 0.15, 0.11)], box), skin * rng.uniform(0.85, 1.05)))
  thumb = [((-side * 0.3, 0.5), (-side * rng.uniform(0.6, 0.85), rng.uniform(-0.1, 0.3)), 0.16,
            0.12)]
  layers.insert(1, (_strokes(thumb, box), skin * 0.92))
  return _patch('drawn_hand', layers, [(0, 1), (0, -1)], box)


def _hair(rng):
  """A lock of wavy strands that hangs down."""
  _, _, box = _canvas(-0.9, -1.3, 0.9, 1.4)
  wide, long, wave = rng.uniform(0.2, 0.6), rng.uniform(1.4, 2.3), rng.uniform(0, 0.12)
  base = rng.uniform(10, 70) * np.array((1, rng.uniform(0.6, 1), rng.uniform(0.3, 1)))
  base, turn, layers = base * rng.choice((1, 1, 2.5)), rng.uniform(0, 6), []
  down = np.linspace(0, 1, 7)
  for _ in range(24):
    x = rng.uniform(-wide, wide)
    reach = long * rng.uniform(0.75, 1)
    places = np.stack([x * (1 - 0.5 * down) + wave * np.sin(turn + 5 * down), reach * down - 1.1],
                      1)
    layers.append((_strokes(_line(places, rng.uniform(0.05, 0.1)), box),
                   base * rng.uniform(0.6, 1.3)))
  return _patch('hair', layers, [(0, -1.1), (0, long - 1.1)], box)


def _cloth(rng):
  """A rounded piece of woven, striped or plain cloth with folds."""
  x, y, box = _canvas(-1.2, -1, 1.2, 1)
  power, wide, high = rng.uniform(2.5, 6), rng.uniform(0.8, 1.1), rng.uniform(0.45, 0.9)
  inside = (1 - (np.abs(x / wide) ** power + np.abs(y / high) ** power)) * high / 3
  one, other = rng.uniform(20, 235, (2, 3))
  along = np.cos(angle := rng.uniform(0, np.pi)) * x + np.sin(angle) * y
  stripes = np.sin(along * rng.uniform(8, 30) + 0.3 * np.sin(9 * (x - y))) > rng.uniform(-1, 1)
  light = 1 + 0.2 * np.sin(3 * (x + y) + rng.uniform(0, 6)) + 0.04 * np.sin(80 * x) * np.sin(80 * y)
  paint = np.where(stripes[..., None], one, other) * light[..., None]
  return _patch('cloth', [(_edge(inside), paint)], _NONE, box)


_DRAW = {'glasses': _glasses, 'mask': _mask, 'drawn_hand': _hand, 'hair': _hair, 'cloth': _cloth}
