"""Colours of people: skin, hair, faces, and clothes with patterns fixed to the body."""
import numpy as np

from input_pipeline.world import bodies
from input_pipeline.world.surroundings import muted

_SKIN = np.array([(240, 200, 172), (88, 56, 40)], np.float64)  # lightest, darkest
_HAIR = np.array([(28, 22, 20), (70, 45, 28), (120, 80, 45), (205, 170, 105), (150, 70, 35),
                  (150, 148, 145)], np.float64)
# What a pixel can show; the first are the surfaces of the capsules, then details painted on them.
_COLORS = bodies.SURFACES + ('second_shirt', 'second_trousers', 'brow', 'white', 'trim')
_C = {name: i for i, name in enumerate(_COLORS)}
_PATTERNS = 7
_CAPSULE = {name: i for i, name in enumerate(bodies.CAPSULE_NAMES)}
# How far down the limb a capsule is: 0 to 1 above the elbow or knee, 1 to 2 below it.
_DOWN = np.array([1.0 if 'forearm' in name or 'shin' in name or 'calf' in name else 0.0
                  for name in bodies.CAPSULE_NAMES], np.float32)
_DOWN_SCALE = np.array([0.3 if 'calf' in name else 1.0 for name in bodies.CAPSULE_NAMES],
                       np.float32)
_SKULL_RADIUS = 84
_IS_LIMB = np.array([part != 'torso' for part in bodies.PARTS])[bodies.PART]
_IS_CHEST = np.isin(bodies.CAPSULE_NAMES, ['trunk', 'left_yoke', 'right_yoke', 'left_flank',
                                           'right_flank'])
_IS_TRUNK = np.isin(bodies.CAPSULE_NAMES, ['trunk', 'left_flank', 'right_flank'])
_OVAL = 160, 100  # mm, half axes of a trunk's cross-section
_FOLDS = np.array([0.031, 0.047, 0.025], np.float32)  # radians per mm


def _palettes(rng, count):
  """(P,colours,3) of P people, 0 to 255."""
  u = rng.random((count, 8, 1))
  skin = _SKIN[0] + (_SKIN[1] - _SKIN[0]) * u[:, 0] ** 1.3 + rng.uniform(-9, 9, (count, 3))
  cloth = muted(rng, (count, 5), 1.0)
  hair = np.where(u[:, 1] < 0.07, skin * 0.97,
                  _HAIR[rng.integers(len(_HAIR), size=count)] + rng.uniform(-12, 12, (count, 3)))
  shirt = cloth[:, 0]
  trousers = np.where(u[:, 2] < 0.5, cloth[:, 1] * 0.45, cloth[:, 1])
  trousers = np.where(u[:, 3] < 0.1, shirt, trousers)
  of = {'skin': skin, 'face': skin, 'ear': skin * 0.88, 'nose': skin * (0.93, 0.82, 0.78),
        'eye': np.full((count, 3), 24.0), 'white': np.full((count, 3), 225.0),
        'lip': skin * (0.8, 0.45, 0.46), 'hair': hair, 'brow': hair * 0.6,
        'shirt': shirt, 'sleeve': np.where(u[:, 4] < 0.85, shirt, cloth[:, 2]),
        'trousers': trousers, 'shoe': np.where(u[:, 5] < 0.6, cloth[:, 3] * 0.3, cloth[:, 3]),
        'second_shirt': cloth[:, 2], 'trim': shirt * 0.55,
        'second_trousers': trousers * 0.7 + cloth[:, 4] * 0.3}
  return np.stack([of[name] for name in _COLORS], 1).clip(0, 255).astype(np.float32)


def palette(rng):
  """{what: (3,) colour, 0 to 255} of one person."""
  return dict(zip(_COLORS, _palettes(rng, 1)[0].astype(np.float64), strict=True))


def color(rng, hits, scene):
  """(3,N) float32 colours of the hits: people's, then the things'."""
  people = len(scene.radii)
  palettes, styles = _palettes(rng, people), _styles(rng, people)
  first_thing = people * len(bodies.ENDS)
  out = np.empty((3, len(hits.ids)), np.float32)
  on_thing = np.flatnonzero(hits.ids >= first_thing)
  which = hits.ids[on_thing] - first_thing
  wave = scene.things.wave.T.astype(np.float32)[:, which]
  dark = np.sin((hits.point[:, on_thing] * wave).sum(0)) > 0.2
  out[:, on_thing] = scene.things.color.T[:, which] * np.where(dark, 0.72, 1)
  on_body = np.flatnonzero(hits.ids < first_thing)
  person, capsule = np.divmod(hits.ids[on_body], len(bodies.ENDS))
  local = _local(scene, person, capsule, hits.point[:, on_body])
  shown = bodies.SURFACE[capsule]
  _dress(shown, styles, person, capsule, local, hits.share[on_body])
  _draw_face(shown, styles, person, local, scene)
  folds = np.sin(_FOLDS @ local + 5 * person)
  flat = palettes.reshape(-1, 3).T[:, person * len(_COLORS) + shown]
  out[:, on_body] = flat * (1 + 0.05 * folds)
  return out


def _local(scene, person, capsule, point):
  """(3,N) mm in the frame of the segment that carries the capsule."""
  segments = scene.turns.shape[1]
  place = person * segments + bodies.CAPSULE_SEGMENT[capsule]
  x, y, z = point - scene.origins.astype(np.float32).reshape(-1, 3).T[:, place]
  turns = scene.turns.astype(np.float32).reshape(-1, 9).T
  turn = np.take(turns, place, 1, mode='clip').reshape(3, 3, -1)
  return turn[0] * x + turn[1] * y + turn[2] * z


def soft_normals(hits, scene):
  """(3,N) the hits' normals, those of the trunk drawn to one oval so that its capsules merge."""
  normal = hits.normal.copy()
  on_body = np.flatnonzero(hits.ids < len(scene.radii) * len(bodies.ENDS))
  person, capsule = np.divmod(hits.ids[on_body], len(bodies.ENDS))
  chosen = np.flatnonzero(_IS_TRUNK[capsule])
  on_trunk, person = on_body[chosen], person[chosen]
  x, _, z = _local(scene, person, capsule[chosen], hits.point[:, on_trunk])
  turn = scene.turns[:, bodies.SEGMENT['chest']].astype(np.float32).transpose(1, 2, 0)[..., person]
  oval = turn[:, 0] * (x / _OVAL[0] ** 2) + turn[:, 2] * (z / _OVAL[1] ** 2)
  oval /= np.maximum(np.sqrt((oval * oval).sum(0)), 1e-6)
  mixed = 0.35 * normal[:, on_trunk] + 0.65 * oval
  normal[:, on_trunk] = mixed / np.maximum(np.sqrt((mixed * mixed).sum(0)), 1e-6)
  return normal


def _styles(rng, count):
  """Numbers (P,) that say how each person is dressed."""
  u = rng.random((count, 8))
  return {
    'sleeve': np.choose((u[:, 0] * 4).astype(int), [0.45, 0.6, 1.85, 1.9]),
    'hose': np.where(u[:, 1] < 0.3, 0.55 + 0.5 * u[:, 2], 2.0),
    'shirt': rng.integers(_PATTERNS, size=count) * (u[:, 3] < 0.65),
    'trousers': rng.integers(_PATTERNS, size=count) * (u[:, 4] < 0.25),
    'step': rng.uniform(45, 130, count).astype(np.float32), 'front': (u[:, 5] * 3).astype(int),
    'beard': u[:, 6] < 0.15, 'parting': 205 + 25 * u[:, 7]}


def _dress(shown, styles, person, capsule, local, share):
  """Patterns, sleeves and trousers that end, necklines and buttons; changes shown in place."""
  x, y, z = local
  is_seat = capsule == _CAPSULE['seat']
  shown[is_seat & (share > 0.45)] = _C['trousers']
  down = _DOWN[capsule] + _DOWN_SCALE[capsule] * share
  for cloth, bare in (('sleeve', 'sleeve'), ('trousers', 'hose')):
    shown[(shown == _C[cloth]) & _IS_LIMB[capsule] & (down > styles[bare][person])] = _C['skin']
  for cloth, second in (('shirt', 'second_shirt'), ('trousers', 'second_trousers')):
    worn = (shown == _C[cloth]) | ((shown == _C['sleeve']) & (cloth == 'shirt'))
    worn = np.flatnonzero(worn & (styles[cloth][person] > 0))
    is_second = _pattern(styles[cloth][person[worn]], local[:, worn] / styles['step'][person[worn]])
    shown[worn[is_second]] = _C[second]
  on_chest = _IS_CHEST[capsule] & (z > 0)
  front, side = styles['front'][person], np.abs(x)
  shown[on_chest & (front == 1) & (side < 11)] = _C['trim']
  shown[on_chest & (front == 2) & (side < 62) & (np.abs(y - 230) < 42)] = _C['trim']
  shown[on_chest & (y > 325 + 0.9 * side)] = _C['skin']


def _pattern(kind, q):
  """(N,) bool: where the second colour of a pattern is; q (3,N): place in pattern steps."""
  x, y, z = q
  fx, fy = x - np.floor(x), y - np.floor(y)
  return np.choose(kind, [
    np.zeros(len(x), bool), fy < 0.45, fx < 0.3, (fx < 0.5) ^ (fy < 0.5),
    (fx - 0.5) ** 2 + (fy - 0.5) ** 2 < 0.08,
    np.sin(5 * x + 2 * y) + np.sin(4 * y + 3 * z) + np.sin(5 * z - 3 * x) > 0.7,
    (fy < 0.2) & (z > 0)])


def _draw_face(shown, styles, person, local, scene):
  """Hairline, brows, beard, the whites of the eyes; changes shown in place."""
  head = np.flatnonzero((shown == _C['face']) | (shown == _C['eye']))
  who = person[head]
  size = scene.radii[who, bodies.BALL['skull']] / _SKULL_RADIUS
  x, y, z = local[:, head] / size
  side, front = np.abs(x), z > 0
  face, eye = shown[head] == _C['face'], shown[head] == _C['eye']
  shown[head[eye & ((side - 33) ** 2 + (y - 167) ** 2 > 110)]] = _C['white']
  shown[head[eye & (y > 177)]] = _C['ear']
  shown[head[face & front & (np.abs(side - 33) < 19) & (np.abs(y - 197) < 5)]] = _C['brow']
  shown[head[face & styles['beard'][who] & front & (y < 112)]] = _C['hair']
  shown[head[face & ((y > styles['parting'][who]) | ((z < 5) & (y > 120)))]] = _C['hair']
