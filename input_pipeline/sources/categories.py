"""Which categories of a file in COCO's form are the people, and which keypoints they have."""
import collections

from dslope_jax import skeletons
from dslope_jax.errors import UserError, quoted
from dslope_jax.plausibility import Finding

_OPTION = 'name it by the option category (--config.data.loader.category=NAME)'


def choose(truth, path, skeleton=None, chosen=''):
  """(categories of the people, all with the same keypoints, findings about them).

  skeleton: of a set that is known; its category may list no keypoints. chosen: name or id of the
  one to take, '' for all. Raises UserError if there is none, or several whose keypoints differ.
  """
  listed = [c for c in truth['categories'] if isinstance(c.get('id'), int)
            and (c.get('keypoints') or skeleton)]
  if not listed:
    raise UserError(f"{path}: no category has an id and lists its 'keypoints' names; this is not "
                    'a keypoint set')
  if skeleton:
    _check_names(listed[0], skeleton, path)
    return listed[:1], _strangers(truth)
  counts = collections.Counter(a['category_id'] for a in truth['annotations'] if a.get('keypoints')
                               and isinstance(a.get('category_id'), int))
  names = [f"{quoted(c.get('name'))} (id {c['id']}, {counts[c['id']]} annotations)" for c in listed]
  some = ', '.join(names[:5]) + ' ...' * (len(names) > 5)
  if chosen:
    listed = [c for c in listed if str(chosen) in (str(c['id']), c.get('name'))]
    if not listed:
      raise UserError(f'{path}: no category {quoted(chosen)} with keypoints, but {some}; {_OPTION}')
  listed = [c for c in listed if counts[c['id']]] or listed[:1]
  if any(c['keypoints'] != listed[0]['keypoints'] for c in listed):
    raise UserError(f'{path}: its categories have different keypoints: {some}; {_OPTION}')
  said = [Finding('several-categories', 'warning', f'{len(listed)} categories with the same '
                  f'keypoints are read as one: {some}', len(listed),
                  tuple(c['id'] for c in listed[:3]), 'to read one alone, ' + _OPTION)] * (
                    len(listed) > 1)
  return listed, said + _strangers(truth)


def skeleton_of(category, path):
  """The keypoints of a category; UserError naming the file if they are not valid."""
  try:
    return skeletons.from_category(category)
  except (TypeError, ValueError) as error:
    raise UserError(f"{path}: category {category['id']}: {error}; mend the category") from None


def as_known(category, name, path):
  """The category with the keypoints of the known skeleton `name` in place of its own.

  Raises UserError if there is no such skeleton, or it has another number of keypoints.
  """
  known = skeletons.by_name(name)
  given = category['keypoints']
  if not isinstance(given, list) or len(given) != known.num_keypoints:
    count = len(given) if isinstance(given, list) else 1
    raise UserError(f"{path}: category {category['id']} has {count} keypoints, but skeleton "
                    f"'{name}' has {known.num_keypoints}; name a skeleton of as many, or leave "
                    'data.loader.skeleton empty')
  return category | {'keypoints': list(known.names)}


def _check_names(category, skeleton, path):
  """UserError if a category lists other keypoints than those of the set."""
  given = category.get('keypoints')
  if not isinstance(given, list):
    given = [given] if given else []
  if given and [str(n).lower().replace(' ', '_') for n in given] != list(skeleton.names):
    raise UserError(f'{path}: its category lists {len(given)} keypoints, first {quoted(given[0])}, '
                    f'which are not the {skeleton.num_keypoints} of {skeleton.name}, first '
                    f"'{skeleton.names[0]}'; is it the file of another set? data.name 'coco' "
                    'reads any')


def _strangers(truth):
  """Annotations of no category of the file, such as of '1', a text."""
  known = [c.get('id') for c in truth['categories']]
  known = {number for number in known if isinstance(number, int)}
  rows = [a for a in truth['annotations'] if not isinstance(a.get('category_id'), int)
          or a['category_id'] not in known]
  return [Finding('unknown-categories', 'warning', f'{len(rows)} annotations are left out: their '
                  f"category_id, such as {quoted(rows[0].get('category_id'))}, is not that of a "
                  'category of the file', len(rows), tuple(a.get('id') for a in rows[:3]),
                  'write the id of a category, a whole number')] if rows else []
