"""People drawn without any file: an embedded world with exact keypoints, visibility and masks.

A body is a tree of segments posed by joint angles; its surface is a list of tapered capsules, each
the hull of two balls. Capsules are painted from far to near, and a joint is visible where the
front-most capsule over it is one of the joint's own: no drawing is needed to know it.

Body frame: x to the person's left, y up, z forward, millimetres; the camera looks against z.
"""
import dataclasses
import zlib

import cv2
import numpy as np

from dslope_jax.skeletons import COCO
from input_pipeline.source import Source
from input_pipeline.top_down import box_to_center_scale


def _both_sides(rows, x=None):
  """Rows that begin with '?' twice: '?' read as left_ and, with column x negated, as right_."""
  out = []
  for row in rows:
    for side, sign in (('left_', 1), ('right_', -1)) if row[0][0] == '?' else (('', 1),):
      row_of_side = [v.replace('?', side) if isinstance(v, str) else v for v in row]
      if x is not None:
        row_of_side[x] *= sign
      out.append(row_of_side)
  return out


# Segment, parent, its origin in the parent's frame. Parents come first.
_SEGMENTS = _both_sides([
  ('view', '', 0, 0, 0), ('pelvis', 'view', 0, 0, 0), ('chest', 'pelvis', 0, 100, 0),
  ('head', 'chest', 0, 425, 5), ('?arm', 'chest', 165, 385, 0), ('?forearm', '?arm', 0, -285, 0),
  ('?thigh', 'pelvis', 92, 0, 0), ('?shin', '?thigh', 0, -430, 0), ('?foot', '?shin', 0, -415, 0),
], x=2)
# Ball, its segment, centre in the segment's frame, radius. COCO's joints are balls.
_BALLS = _both_sides([
  ('pelvis', 'pelvis', 0, 10, 0, 85), ('waist', 'pelvis', 0, 120, 0, 100),
  ('?waist', 'pelvis', 62, 70, 0, 80), ('?chest', 'chest', 88, 315, 0, 82),
  ('thorax', 'chest', 0, 320, 0, 105), ('collar', 'chest', 0, 395, 0, 60),
  ('throat', 'chest', 0, 395, 55, 44), ('button', 'chest', 0, 250, 86, 12),
  ('belly', 'pelvis', 0, 60, 78, 12), ('nape', 'head', 0, 0, 0, 52), ('neck', 'head', 0, 95, 0, 52),
  ('skull', 'head', 0, 165, 15, 82), ('chin', 'head', 0, 90, 30, 52),
  ('hair', 'head', 0, 190, -12, 88), ('hair_end', 'head', 0, 150, -32, 82),
  ('nose_top', 'head', 0, 165, 92, 11), ('nose', 'head', 0, 140, 108, 17),
  ('?eye', 'head', 34, 172, 92, 14), ('?ear', 'head', 92, 155, 5, 21),
  ('?mouth', 'head', 20, 100, 84, 10), ('?shoulder', '?arm', 0, 0, 0, 56),
  ('?elbow', '?forearm', 0, 0, 0, 43), ('?wrist', '?forearm', 0, -255, 0, 31),
  ('?palm', '?forearm', 0, -280, 5, 41), ('?hand', '?forearm', 0, -345, 8, 30),
  ('?hip', '?thigh', 0, 0, 0, 82), ('?knee', '?shin', 0, 0, 0, 58),
  ('?ankle', '?foot', 0, 0, 0, 40), ('?heel', '?foot', 0, -35, -35, 45),
  ('?toe', '?foot', 0, -45, 165, 36),
], x=2)
_OF_TORSO = 'left_shoulder right_shoulder left_hip right_hip'
# Part, its two balls, kind of surface, the joints it belongs to, mm by which it is painted nearer.
_PARTS = _both_sides([
  ('?thigh', '?hip', '?knee', 'trousers', '?hip ?knee', 0),
  ('?shin', '?knee', '?ankle', 'hose', '?knee ?ankle', 0),
  ('?foot', '?heel', '?toe', 'shoe', '?ankle', 0),
  ('?pelvis', 'pelvis', '?hip', 'trousers', '?hip', 0),
  ('seat', 'waist', 'pelvis', 'trousers', 'left_hip right_hip', 0),
  ('?flank', '?chest', '?waist', 'shirt', '?shoulder ?hip', 10),
  ('trunk', 'thorax', 'waist', 'shirt', _OF_TORSO, 12),
  ('?yoke', 'collar', '?shoulder', 'shirt', '?shoulder', 10),
  ('throat', 'throat', 'throat', 'skin', _OF_TORSO, 10),
  ('buttons', 'button', 'belly', 'trim', _OF_TORSO, 10),
  ('neck', 'nape', 'neck', 'skin', '', 0), ('skull', 'skull', 'chin', 'skin', '', 0),
  ('hair', 'hair', 'hair_end', 'hair', '', 12),
  ('?ear', '?ear', '?ear', 'ear', '?ear', 0), ('?eye', '?eye', '?eye', 'eye', '?eye', 0),
  ('mouth', 'left_mouth', 'right_mouth', 'lip', 'nose', 0),
  ('nose', 'nose_top', 'nose', 'nose', 'nose', 0),
  ('?arm', '?shoulder', '?elbow', 'shirt', '?shoulder ?elbow', 30),
  ('?forearm', '?elbow', '?wrist', 'sleeve', '?elbow ?wrist', 30),
  ('?hand', '?palm', '?hand', 'skin', '?wrist', 30),
])
# Degrees, lowest and highest. Of the camera, of the chest on the pelvis, of the head on the chest,
# each about x, y, z.
_TRUNK = np.array([(-6, 18), (0, 360), (-4, 4), (-6, 16), (-15, 15), (-8, 8), (-20, 20), (-45, 45),
                   (-10, 10)], np.float64)
# Odds; lean, hips apart; then of the leading and of the trailing leg the thigh's angle to the
# vertical and the bend of the knee.
_LEG_ODDS, _LEGS = zip(
  (4, [(-4, 6), (0, 9), (-4, 8), (0, 8), (-4, 8), (0, 8)]),  # stand
  (3, [(-4, 6), (0, 12), (8, 28), (15, 45), (-6, 2), (0, 5)]),  # one leg at ease
  (4, [(0, 8), (0, 5), (15, 32), (2, 15), (-25, -8), (8, 45)]),  # walk
  (3, [(4, 18), (0, 5), (40, 75), (60, 110), (-35, -10), (20, 90)]),  # run
  (3, [(-8, 20), (3, 22), (75, 95), (65, 105), (75, 95), (65, 105)]),  # sit
  (2, [(15, 40), (8, 28), (80, 105), (115, 140), (80, 105), (115, 140)]),  # crouch
  (2, [(0, 15), (0, 8), (55, 85), (60, 95), (-35, -15), (15, 60)]),  # lunge
  (2, [(-5, 5), (14, 35), (-5, 12), (0, 15), (-5, 12), (0, 15)]),  # legs apart
  (2, [(-12, 5), (0, 8), (40, 90), (0, 90), (-5, 8), (0, 15)]),  # kick
  (1, [(35, 80), (0, 12), (-10, 8), (0, 20), (-10, 8), (0, 20)]), strict=True)  # bend over
# Odds; flexion, abduction and inward turn of the shoulder; bend of the elbow.
_ARM_ODDS, _ARMS = zip(
  (5, [(-12, 15), (4, 16), (-5, 40), (4, 35)]),  # hang; this and the next swing against the legs
  (4, [(-25, 25), (4, 18), (0, 40), (30, 100)]),  # bent
  (3, [(50, 105), (-8, 30), (-20, 30), (0, 50)]),  # reach
  (2, [(145, 178), (-15, 15), (0, 80), (0, 70)]),  # raise
  (2, [(-10, 12), (50, 108), (-30, 30), (0, 60)]),  # spread
  (2, [(-28, -10), (34, 55), (65, 90), (80, 110)]),  # hand on the hip
  (2, [(25, 60), (8, 30), (15, 50), (120, 142)]),  # hand at the face
  (2, [(10, 35), (4, 16), (50, 80), (70, 110)]),  # across the belly
  (2, [(-10, 12), (65, 100), (-90, -65), (50, 115)]), strict=True)  # wave
_SWINGING = 2  # arm styles before this one
_SKIN = np.array([(244, 206, 178), (92, 58, 40)], np.float64)  # lightest, darkest
_HAIR = np.array([(28, 22, 20), (70, 45, 28), (120, 80, 45), (205, 170, 105), (150, 70, 35),
                  (150, 148, 145)], np.float64)
_COATS = ((1, 0, 0.76), (0.84, 0.12, 1), (0.42, 0.34, 1.1))  # share of radius, shift, brightness
_PEN = 0.5  # pixels: cv2 draws a filled polygon's border too, this much too far out
_MIN_LABELLED, _MIN_VISIBLE = 6, 3  # joints a person needs to be a row; others are only drawn

_SEGMENT = {row[0]: i for i, row in enumerate(_SEGMENTS)}
_BALL = {row[0]: i for i, row in enumerate(_BALLS)}
_BALL_SEGMENT = np.array([_SEGMENT[row[1]] for row in _BALLS])
_BALL_CENTER, _BALL_RADIUS = np.split(np.array([row[2:] for row in _BALLS], np.float64), [3], 1)
_LENGTH_OF = np.unique([row[0].split('_')[-1] for row in _SEGMENTS], return_inverse=True)[1]
_JOINT = np.array([_BALL[name] for name in COCO.names])
_PART_NAME, _SURFACE, _NEARER = (np.array([row[i] for row in _PARTS]) for i in (0, 3, 5))
_ENDS = np.array([[_BALL[a], _BALL[b]] for _, a, b, *_ in _PARTS])
_OWNS = np.array([[name in row[4].split() for name in COCO.names] for row in _PARTS])
_IS_FLAT = np.isin(_PART_NAME, ['trunk', 'seat', 'throat', 'buttons', 'mouth', 'nose', 'left_eye',
                                'right_eye', 'left_yoke', 'right_yoke'])
_COMPASS = np.stack([f(np.arange(24) * np.pi / 12) for f in (np.cos, np.sin)], -1)


@dataclasses.dataclass
class _Scene:
  """P people of one picture, far to near, and their C capsules in the order of painting.

  points (P,K,2), box (P,4) x, y, w, h, ends (C,2,2), radii (C,2): pixels. part, person (C,): which
  row of _PARTS, of which of the people. rng: goes on to draw the looks.
  """
  points: np.ndarray
  box: np.ndarray
  ends: np.ndarray
  radii: np.ndarray
  part: np.ndarray
  person: np.ndarray
  rng: np.random.Generator


def _scene(seed, split, picture, size, people) -> _Scene:
  """The people of one picture; the same for the same arguments."""
  rng = np.random.default_rng([seed, zlib.crc32(split.encode()), picture])
  count = int(rng.integers(people[0], people[1] + 1))
  points, radii, depth = _place(rng, *_bodies(rng, count), size)
  part = np.argsort(_NEARER - depth[:, _ENDS].mean(-1), axis=1, kind='stable').ravel()
  person = np.repeat(np.arange(count), len(_PARTS))
  which = person[:, None], _ENDS[part]
  edge = np.array(size) - 1
  low = np.clip((points - radii[..., None]).min(1), 0, edge)
  high = np.clip((points + radii[..., None]).max(1), 0, edge)
  return _Scene(points[:, _JOINT], np.concatenate([low, high - low], 1), points[which],
                radii[which], part, person, rng)


def _bodies(rng, count):
  """Balls of P posed bodies as the camera sees them: centres (P,B,3), radii (P,B), millimetres."""
  turn = _rotations(_angles(rng, count))
  length = rng.uniform(0.92, 1.08, (count, _LENGTH_OF.max() + 1))[:, _LENGTH_OF]
  head = _SEGMENT['head']
  length[:, head] *= 1.15  # a little large, for faces of a few pixels
  origin = np.zeros((count, len(_SEGMENTS), 3))
  for s, (_, parent, *offset) in enumerate(_SEGMENTS[1:], 1):
    p = _SEGMENT[parent]
    origin[:, s] = origin[:, p] + length[:, p, None] * (turn[:, p] @ np.array(offset, np.float64))
    turn[:, s] = turn[:, p] @ turn[:, s]
  local = _BALL_CENTER * length[:, _BALL_SEGMENT, None]
  local[rng.random(count) < 0.4, _BALL['hair_end']] += (0, -95, -28)  # long hair
  centers = origin[:, _BALL_SEGMENT] + (turn[:, _BALL_SEGMENT] @ local[..., None])[..., 0]
  girth = np.where(head == _BALL_SEGMENT, length[:, [head]], rng.uniform(0.88, 1.2, (count, 1)))
  return centers, _BALL_RADIUS[:, 0] * girth


def _angles(rng, count):
  """(P,S,3) radians about x, y, z of each segment, within the limits of a healthy body."""
  lean, apart, *bend = _between(rng, np.array(_LEGS)[_choose(rng, _LEG_ODDS, count)]).T
  lead_is_left = rng.random(count) < 0.5
  thigh, knee = (np.where(lead_is_left, (lead, trail), (trail, lead))
                 for lead, trail in (bend[0::2], bend[1::2]))
  style = _choose(rng, _ARM_ODDS, (2, count))
  style[1] = np.where(rng.random(count) < 0.45, style[0], style[1])
  flexion, abduction, inward, elbow = np.moveaxis(_between(rng, np.array(_ARMS)[style]), -1, 0)
  flexion = np.maximum(flexion - 0.5 * (style < _SWINGING) * (thigh - thigh[::-1]), -60)
  out = np.zeros((count, len(_SEGMENTS), 3))
  trunk = _between(rng, np.tile(_TRUNK, (count, 1, 1))).reshape(count, 3, 3)
  out[:, [_SEGMENT[name] for name in ('view', 'chest', 'head')]] = trunk
  out[:, _SEGMENT['pelvis'], 0] = lean
  out[:, _SEGMENT['head'], 0] -= 0.5 * lean  # one looks ahead
  for i, (side, sign) in enumerate((('left_', 1), ('right_', -1))):
    hip = np.minimum(thigh[i] + lean, 130)
    out[:, _SEGMENT[side + 'arm']] = np.stack(
      [-flexion[i], -sign * inward[i], sign * abduction[i]], -1)
    out[:, _SEGMENT[side + 'forearm'], 0] = -elbow[i]
    out[:, _SEGMENT[side + 'thigh']] = np.stack([-hip, sign * apart, sign * apart], -1)
    out[:, _SEGMENT[side + 'shin'], 0] = knee[i]
    out[:, _SEGMENT[side + 'foot'], 0] = np.clip(thigh[i] - knee[i], -30, 50)  # level sole
  return np.radians(out)


def _choose(rng, odds, shape):
  return rng.choice(len(odds), shape, p=np.array(odds) / sum(odds))


def _between(rng, limits):
  """(...) numbers drawn evenly within (...,2) limits."""
  return rng.uniform(limits[..., 0], limits[..., 1])


def _rotations(angles):
  """(...,3,3) matrices Rz Rx Ry of (...,3) radians about x, y, z."""
  (sx, sy, sz), (cx, cy, cz) = (np.moveaxis(f(angles), -1, 0) for f in (np.sin, np.cos))
  rows = ((cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy),
          (sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy),
          (-cx * sy, sx, cx * cy))
  return np.stack([np.stack(row, -1) for row in rows], -2)


def _place(rng, centers, radii, size):
  """Balls in the picture: (P,B,2) and (P,B) pixels, depth (P,B) in mm; people far to near."""
  count, (width, height) = len(centers), size
  depth = -centers[..., 2]
  distance = rng.uniform(3500, 9000, (count, 1))
  nearness = distance / (distance + depth)
  points = centers[..., :2] * (1, -1) * nearness[..., None]
  radii = radii * nearness
  low, high = (points - radii[..., None]).min(1), (points + radii[..., None]).max(1)
  tall = rng.uniform(0.45, 0.9, count) * height
  zoom = tall / (high - low)[:, 1]
  x = (rng.permutation(count) + rng.uniform(0.15, 0.85, count)) / count * width
  is_cut = rng.random(count) < 0.2  # by the upper or lower border
  y = rng.random(count) * (height - tall) + is_cut * rng.uniform(-0.35, 0.35, count) * tall
  move = np.stack([x - zoom * (low + high)[:, 0] / 2, y - zoom * low[:, 1]], -1)
  points = points * zoom[:, None, None] + move[:, None]
  order = np.argsort(zoom)  # who looks smaller is farther away
  return points[order], (radii * zoom[:, None])[order], depth[order]


def _visibility(scene, size):
  """(P,K) uint8: 0 outside the picture, 1 hidden, 2 where the front-most capsule is the joint's."""
  bone = scene.ends[:, 1] - scene.ends[:, 0]
  length = np.maximum(np.linalg.norm(bone, axis=-1), 1e-6)
  offset = scene.points[:, :, None] - scene.ends[:, 0]
  along = (offset * (bone / length[:, None])).sum(-1)
  aside = np.sqrt(np.maximum((offset ** 2).sum(-1) - along ** 2, 0))
  # The hull is all balls between its two; the one that reaches a point best lies not at the foot
  # of the perpendicular but from there towards the thicker end.
  slope = np.clip((scene.radii[:, 1] - scene.radii[:, 0]) / length, -0.999, 0.999)
  best = np.clip(along + aside * slope / np.sqrt(1 - slope ** 2), 0, length)
  covers = np.hypot(along - best, aside) <= scene.radii[:, 0] + slope * best
  top = covers.shape[-1] - 1 - covers[..., ::-1].argmax(-1)
  people, joints = np.indices(top.shape)
  is_own = (scene.person[top] == people) & _OWNS[scene.part[top], joints]
  inside = ((scene.points >= 0) & (scene.points <= np.array(size) - 1)).all(-1)
  return np.where(inside, 1 + is_own, 0).astype(np.uint8)


def _hulls(scene, share=1.0, shift=(0.0, 0.0)):
  """(C,N,2) int32 outlines in 1/16 pixels, shrunk to a share and shifted, in radii."""
  centers = scene.ends + scene.radii[..., None] * shift
  radii = np.maximum(scene.radii * share - _PEN, 0.3)[..., None]
  farther = centers @ _COMPASS.T + radii  # how far either ball reaches in each direction
  a, b = np.moveaxis(centers[:, :, None] + radii[..., None] * _COMPASS, 1, 0)
  return np.round(np.where((farther[:, 0] > farther[:, 1])[..., None], a, b) * 16).astype(np.int32)


def _layers(scene, size):
  """(H,W) int32 number of the front-most capsule, -1 where there is only background."""
  layers = np.full(size[::-1], -1, np.int32)
  for i, hull in enumerate(_hulls(scene)):
    cv2.fillConvexPoly(layers, hull, i, shift=4)
  return layers


def _render(scene, size):
  """(H,W,3) uint8 RGB."""
  rng = scene.rng
  image = _background(rng, size)
  _paint(image, scene)
  _stripe(image, scene, size)
  if rng.random() < 0.6:
    image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.8))
  light = cv2.resize(rng.uniform(0.7, 1.2, (2, 2)).astype(np.float32), size)[..., None]
  tint = rng.uniform(0.92, 1.08, 3).astype(np.float32)
  noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, 7))
  return np.clip(image * light * tint + noise, 0, 255).astype(np.uint8)


def _muted(rng, shape, saturation):
  """shape + (3,) random colours, 0 to 255."""
  color = rng.uniform(10, 246, (*shape, 3))
  gray = color.mean(-1, keepdims=True)
  return gray + saturation * (color - gray)


def _background(rng, size):
  """(H,W,3) uint8: a smooth colour field, grain, and things that are not people."""
  image = cv2.resize(_muted(rng, (3, 4), 0.5).astype(np.float32), size)
  grain = sum(cv2.resize(rng.standard_normal((size[1] // n + 1, size[0] // n + 1), np.float32),
                         size) for n in (3, 12))
  image = np.clip(image + rng.uniform(0, 12) * grain[..., None], 0, 255).astype(np.uint8)
  count = int(rng.integers(6, 26))
  reach = rng.uniform(0.02, 0.25, (count, 2)) * min(size)
  for kind, color, (x, y), (a, b), angle in zip(
      rng.integers(4, size=count), _muted(rng, (count,), 0.6).tolist(),
      rng.uniform(0, size, (count, 2)), reach, rng.uniform(0, 180, count), strict=True):
    if kind == 0:
      cv2.ellipse(image, ((x, y), (2 * a, 2 * b), angle), color, -1, cv2.LINE_AA)
    elif kind == 1:
      corners = cv2.boxPoints(((x, y), (2 * a, 3 * b), angle if angle < 60 else 0))
      cv2.fillConvexPoly(image, np.round(corners * 16).astype(np.int32), color, cv2.LINE_AA, 4)
    else:  # a stroke: thick ones are as long and round as limbs
      end = x + 2 * a * np.cos(angle), y + 2 * a * np.sin(angle)
      thickness = 1 + int(b / 4) * int(kind == 2)
      cv2.line(image, (int(x), int(y)), (int(end[0]), int(end[1])), color, thickness, cv2.LINE_AA)
  return image


def _palette(rng):
  """Colour (3,) of each kind of surface of one person, 0 to 255."""
  skin = _SKIN[0] + (_SKIN[1] - _SKIN[0]) * rng.random() + rng.uniform(-10, 10, 3)
  shirt, trousers, trim, shoe = _muted(rng, (4,), 0.75)
  bare_arms, bare_legs, plain, dark_shoes = rng.random(4) < (0.5, 0.3, 0.4, 0.6)
  return {
    'skin': skin, 'ear': skin * 0.88, 'nose': skin * (0.86, 0.7, 0.66), 'eye': np.full(3, 22.0),
    'lip': skin * (0.75, 0.4, 0.42), 'hair': rng.choice(_HAIR) + rng.uniform(-12, 12, 3),
    'shirt': shirt, 'sleeve': skin if bare_arms else shirt, 'trim': shirt * 0.8 if plain else trim,
    'trousers': trousers, 'hose': skin if bare_legs else trousers,
    'shoe': shoe * 0.3 if dark_shoes else shoe}


def _paint(image, scene):
  """Draws the people: each capsule a dark rim, its colour, and a gleam on the side of the light."""
  palettes = [_palette(scene.rng) for _ in scene.box]
  colors = np.array([palettes[person][_PARTS[part][3]] for person, part in
                     zip(scene.person, scene.part, strict=True)])
  angle = scene.rng.uniform(-2.6, -0.5)  # light falls from above
  light = np.array([np.cos(angle), np.sin(angle)])
  coats = [(_hulls(scene, share, light * shift), np.clip(colors * gain, 0, 255).tolist())
           for share, shift, gain in _COATS]
  plain = coats[0][0], coats[1][1]
  is_flat = _IS_FLAT[scene.part] | (scene.radii.max(1) < 1.7)  # too small for a rim
  for i, flat in enumerate(is_flat):
    for hulls, tones in [plain] if flat else coats:
      cv2.fillConvexPoly(image, hulls[i], tones[i], cv2.LINE_AA, 4)


def _stripe(image, scene, size):
  """Stripes across some people's shirts, in place."""
  striped = np.flatnonzero(scene.rng.random(len(scene.box)) < 0.35)
  layers = _layers(scene, size) if len(striped) else None
  x, y = np.arange(size[0]), np.arange(size[1])[:, None]
  for person in striped:
    is_cloth = (_SURFACE[scene.part] == 'shirt') & (scene.person == person)
    top, bottom = scene.ends[is_cloth & (_PART_NAME[scene.part] == 'trunk')][0]
    spine = bottom - top
    dx, dy = spine * scene.rng.uniform(2, 4) / max(spine @ spine, 1)
    is_dark = ((x - top[0]) * dx + (y - top[1]) * dy) % 1 < 0.4
    image[np.append(is_cloth, False)[layers] & is_dark] //= 2


@dataclasses.dataclass(frozen=True)
class _World:
  """Draws the picture and the mask of a row; small, so that it travels to data workers."""
  seed: int
  split: str
  size: tuple[int, int]
  people: tuple[int, int]
  rows: np.ndarray  # (N,2) picture number, person

  def scene(self, picture) -> _Scene:
    return _scene(self.seed, self.split, int(picture), self.size, self.people)

  def read(self, row) -> np.ndarray:
    return _render(self.scene(self.rows[row, 0]), self.size)

  def mask(self, row) -> np.ndarray:
    picture, person = self.rows[row]
    scene = self.scene(picture)
    return np.append(scene.person == person, False)[_layers(scene, self.size)]


def load(split, *, num_people=2000, size=(160, 192), seed=0, people=(1, 3), aspect=0.75) -> Source:
  """People of an endless drawn world; splits differ in all pictures.

  num_people: rows. size: (W, H) of each picture in pixels. people: fewest and most persons in a
  picture. aspect: width / height of the crops. A picture is a function of seed, split and its
  number; only geometry is computed here, pictures are drawn when read.

  Raises ValueError, one line naming the option and what it must be.
  """
  size, people = tuple(map(int, size)), tuple(map(int, people))
  if num_people < 1:
    raise ValueError(f'synthetic: num_people is {num_people}, must be at least 1')
  if len(people) != 2 or not 1 <= people[0] <= people[1]:
    raise ValueError(f'synthetic: people is {people}, must be (fewest, most), 1 <= fewest <= most')
  if len(size) != 2 or min(size) < 32:
    raise ValueError(f'synthetic: size is {size}, must be (width, height), 32 pixels or more')
  world = _World(int(seed), split, size, people, np.zeros((0, 2), np.int64))
  rows, found, picture = [], [], 0
  while len(rows) < num_people:
    scene = world.scene(picture)
    visibility = _visibility(scene, size)
    enough = ((visibility > 0).sum(1) >= _MIN_LABELLED) & ((visibility == 2).sum(1) >= _MIN_VISIBLE)
    rows += [(picture, person) for person in np.flatnonzero(enough)]
    found += [(scene.points[p], visibility[p], scene.box[p]) for p in np.flatnonzero(enough)]
    picture += 1
  world = dataclasses.replace(world, rows=np.array(rows[:num_people], np.int64))
  return _source(world, aspect, *(np.array(x) for x in zip(*found[:num_people], strict=True)))


def _source(world, aspect, points, visibility, box):
  count, pictures = len(box), world.rows[:, 0]
  points = np.where(visibility[..., None] > 0, points, 0).astype(np.float32)
  center, scale = zip(*(box_to_center_scale(b, aspect) for b in box), strict=True)
  source = Source(
    name='synthetic', split=world.split, skeleton=COCO, image_id=pictures + 1,
    annotation_id=np.arange(1, count + 1, dtype=np.int64),
    file=np.array([f'synthetic/{world.split}/{picture:06d}' for picture in pictures]),
    box=box.astype(np.float32), center=np.array(center), scale=np.array(scale),
    keypoints=points, visibility=visibility, box_score=np.ones(count, np.float32),
    read=world.read, mask=world.mask)
  return dataclasses.replace(source, ground_truth=_ground_truth(source, world.size))


def _ground_truth(source, size):
  """The rows as the dict of a COCO keypoint file."""
  names = dict(zip(source.image_id.tolist(), source.file.tolist(), strict=True))
  flat = np.concatenate([source.keypoints, source.visibility[..., None]], -1)
  annotations = [
    {'id': number, 'image_id': image, 'category_id': 1, 'keypoints': k.ravel().tolist(),
     'num_keypoints': int((k[:, 2] > 0).sum()), 'bbox': box, 'area': 0.53 * box[2] * box[3],
     'iscrowd': 0}
    for number, image, k, box in zip(source.annotation_id.tolist(), source.image_id.tolist(), flat,
                                     source.box.tolist(), strict=True)]
  category = {'id': 1, 'name': 'person', 'keypoints': list(COCO.names),
              'skeleton': [[a + 1, b + 1] for a, b in COCO.limbs]}
  images = [{'id': image, 'width': size[0], 'height': size[1], 'file_name': name}
            for image, name in names.items()]
  return {'images': images, 'annotations': annotations, 'categories': [category]}
