"""The grouping one step after the other, in NumPy, as the specification of SMAP's code has it."""
import math

import numpy as np

LIMBS = ((0, 1), (0, 2), (0, 9), (9, 10), (10, 11), (0, 3), (3, 4), (4, 5), (2, 12), (12, 13),
         (13, 14), (2, 6), (6, 7), (7, 8))
BONES = (26.422, 48.370, 14.883, 31.280, 23.916, 14.977, 31.280, 23.916, 12.464, 48.266, 39.036,
         12.464, 48.191, 39.036)
ANCHORS = (0, 1, 2, 3, 9, 6, 12)
ORDER = (1, 0, *range(2, 14))


def associate(maps, relative, anchors, t, focal=None, jitter=0.0):
  """People (P,15,4) and root depths (P,) of one picture; `jitter` moves the peaks at random."""
  maps, relative, anchors = (np.asarray(a, np.float64) for a in (maps, relative, anchors))
  rng = np.random.default_rng(0)
  peaks = [[(x + jitter * rng.normal(), y + jitter * rng.normal(), s)
            for x, y, s in find_peaks(maps[..., j], t)] for j in range(15)]
  at = lambda peak: pixel(*peak[:2], maps.shape, t.offset)
  people = [{2: peak} for peak in sorted(peaks[2], key=lambda peak: anchors[*at(peak), 2])]
  used = set()
  for k in ORDER:
    source, goal = LIMBS[k] if k != 1 else (2, 0)
    for person in people:
      if source not in person:
        continue
      depth, best, chosen = anchors[*at(person[2]), 2], 0, None
      for q, peak in enumerate(peaks[goal]):
        a, b = person[source], peak
        score = limb_score(maps[..., 15 + 2 * k:17 + 2 * k], *((b, a) if k == 1 else (a, b)), t)
        if score > 0 and (goal, q) not in used:
          length = math.hypot(a[0] - b[0], a[1] - b[1]) * 4
          score += t.penalty * min(1.2 * BONES[k] / depth / length - 1, 0)
          if score > best:
            best, chosen = score, q
      if chosen is not None:
        used.add((goal, chosen))
        person[goal] = peaks[goal][chosen]
  out, roots = np.zeros((len(people), 15, 4)), np.zeros(len(people))
  for row, person in enumerate(people):
    z = integrate(person, relative, t)
    for j, (x, y, score) in person.items():
      out[row, j] = x, y, z[j], score
    usable = {j: a for a, j in enumerate(ANCHORS)
              if j in person and person[j][2] > t.usable_anchor}
    roots[row] = anchors[*at(person[2]), 2]
    if person[2][2] <= t.sure_pelvis and usable:
      behind = {j: z[j] / focal if focal else 0 for j in usable}
      roots[row] = np.average([anchors[*at(person[j]), a] - behind[j] for j, a in usable.items()],
                              weights=[person[j][2] for j in usable])
  return out, roots


def pixel(x, y, shape, offset):
  return (min(math.floor(y - offset + 0.5), shape[0] - 1),
          min(math.floor(x - offset + 0.5), shape[1] - 1))


def find_peaks(image, t):
  h, w = image.shape
  for y in range(1, h - 1):
    for x in range(1, w - 1):
      if image[y, x] <= t.peak:
        continue
      around = image[y - 1:y + 2, x - 1:x + 2].ravel()
      before, after = around[:4].max(), around[5:].max()
      if image[y, x] > before and (image[y, x] > after or not t.strict and image[y, x] == after):
        rows, columns = np.mgrid[max(y - 3, 0):min(y + 4, h), max(x - 3, 0):min(x + 4, w)]
        mass = image[rows, columns].clip(0)
        yield ((mass * columns).sum() / mass.sum() + t.offset,
               (mass * rows).sum() / mass.sum() + t.offset, image[y, x])


def limb_score(field, a, b, t):
  h, w, _ = field.shape
  dx, dy = b[0] - a[0], b[1] - a[1]
  length = math.hypot(dx, dy)
  if length <= 1e-6:
    return -1
  n = min(max(math.floor(math.sqrt(5 * max(abs(dx), abs(dy))) + 0.5), 5), 25)
  hits = []
  for i in range(n):
    x, y = math.floor(a[0] + i * dx / n + 0.5), math.floor(a[1] + i * dy / n + 0.5)
    u, v = field[min(y, h - 1), min(x, w - 1)]
    value = (u * dx + v * dy) / length
    if value > t.point:
      hits.append(value)
  if len(hits) / n > t.support:
    return np.mean(hits)
  return t.short_limb + 1e-6 if length < max(math.sqrt(h * w) / 150, t.shortest) else -1


def integrate(person, relative, t):
  z = {2: 0.0}
  for k in ORDER:
    a, b = LIMBS[k]
    known, new, sign = (b, a, -1) if k == 1 else (a, b, 1)
    if new in person:
      ends = (np.array(person[j][:2]) - t.offset + 0.5 for j in (a, b))
      x, y = np.linspace(*(4 * end for end in ends), 10).T
      x, y = ((v.round() if t.whole_pixels else v).astype(int) // 4 for v in (x, y))
      values = relative[y.clip(0, len(relative) - 1), x.clip(0, relative.shape[1] - 1), k]
      z[new] = z[known] + sign * values.clip(*np.percentile(values, (10, 90))).mean()
  return z
