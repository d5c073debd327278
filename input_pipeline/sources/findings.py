"""What looks wrong with a set of annotated people: one line for each kind of fault."""
import collections
import dataclasses

import numpy as np

from dslope_jax import plausibility, skeletons
from dslope_jax.errors import quoted
from dslope_jax.plausibility import Finding, findings
from input_pipeline.sources import checks, masks
from input_pipeline.sources.source import Source

__all__ = ['Finding', 'checked', 'of_source', 'without_keypoints']
_TOO_LARGE = 1.5  # times the box: no person covers more


def checked(source: Source, where='', more=()) -> Source:
  """The source with what looks wrong as `findings`; it is checked once.

  more: findings of its file. Raises plausibility.Implausible, a UserError that begins with `where`,
  if there are errors.
  """
  if source.findings is not None:
    return source
  found = [*more, *of_source(source)]
  plausibility.refuse(found, where or f'{source.name} {source.split}')
  return dataclasses.replace(source, findings=tuple(found))


def of_source(source: Source) -> list[Finding]:
  """All findings of a set: those it was loaded with, else of its annotations or columns."""
  if source.findings is not None:
    return list(source.findings)
  found, truth = _of_names(source.skeleton), source.ground_truth
  if not len(source):
    return found
  table = _of_columns(source) if truth is None else _of_truth(truth, source)
  found += plausibility.check(table)
  if not any(f.severity == 'error' for f in found):
    found += _of_joints(source)
  return found if truth is None else found + _of_fields(truth, table, source)


def without_keypoints(truth, categories) -> list[Finding]:
  """Of people, crowds apart, whose annotations have no list of keypoints."""
  of = {category['id'] for category in categories}
  ids = np.array([a.get('id') for a in truth['annotations'] if not a.get('keypoints')
                  and not a.get('iscrowd') and checks.has_category(a, of)])
  return findings(
    'without-keypoints', 'warning', '{} annotation has no keypoints and is left out'
    if len(ids) == 1 else '{} annotations have no keypoints and are left out', np.arange(len(ids)),
    ids, 'annotate them, or write zeros for people who are not labelled')


def _of_columns(source):
  """Boxes of such sets are made from the joints, or not tight; they say nothing."""
  return plausibility.Table(
    source.annotation_id, np.zeros((len(source), 2), int), np.full((len(source), 4), np.nan),
    source.keypoints, source.labelled)


def _of_truth(truth, source):
  """The people of the source as the file has them: their boxes are not cut at the border."""
  people = {a['id']: a for a in truth['annotations']}
  people = [people[number] for number in source.annotation_id.tolist()]
  sizes = {picture['id']: picture for picture in truth['images']}
  return plausibility.Table(
    source.annotation_id, checks.stated_sizes([sizes[p['image_id']] for p in people]),
    checks.numbers([p['bbox'] for p in people], 4), source.keypoints, source.labelled)


def _of_names(skeleton):
  if skeleton.flip_pairs is not None:
    return []
  return [Finding(
    'no-mirror-pairs', 'warning', f'none of the {skeleton.num_keypoints} keypoint names, such as '
    f'{quoted(skeleton.names[0])}, says left or right: pictures are not mirrored in training, and '
    'there is no flip test', skeleton.num_keypoints, (),
    "give the category 'flip_pairs': pairs of joint numbers from 0, or [] if there are none; or "
    'name a known set by --config.data.loader.skeleton=NAME')]


def _of_joints(source):
  labelled, ids = source.labelled, source.annotation_id
  poses = np.where(labelled[..., None], source.keypoints, 0)
  again = np.setdiff1d(np.flatnonzero(labelled.sum(1) > 2),
                       plausibility.first_of_equals(source.image_id, poses))
  hidden = labelled.any(1) & ~(source.visibility == 2).any()
  return findings(
    'joints-at-origin', 'warning', '{} people have a labelled joint at (0, 0)',
    (labelled & (source.keypoints == 0).all(2)).any(1), ids, 'mark what is not labelled by v = 0'
  ) + findings(
    'people-twice', 'warning', '{} people have the very joints of another person of their picture',
    again, ids, 'remove the copies'
  ) + findings(
    'nothing-visible', 'warning', '{} people have hidden joints (v = 1) alone, and nobody has '
    'others, so no body part can be cut out for occlusion', hidden, ids,
    'write v = 2, unless you know that the joint is hidden')


def _of_fields(truth, table, source):
  """Findings of the fields besides boxes and joints, and of the pictures."""
  of = {a['id']: a for a in truth['annotations']}
  people = [of[number] for number in source.annotation_id.tolist()]
  return (_of_counts(people, source) + _of_areas(people, table) + _of_files(truth['images'])
          + _of_outlines(truth['annotations']) + _of_limbs(truth['categories'][0], source))


def _of_counts(people, source):
  stated = np.array([p.get('num_keypoints', -1) for p in people])
  labelled, mend = source.labelled, 'leave num_keypoints out, it is counted'
  # Programs differ in whether they count what is outside of the picture.
  differ = (stated >= 0) & (stated != labelled.sum(1)) & (stated != (source.visibility > 0).sum(1))
  if source.skeleton is skeletons.CROWDPOSE:  # as published, without head and neck
    differ &= stated != labelled[:, :12].sum(1)
  if differ.any() and not stated.any():
    return findings(
      'num_keypoints-all-0', 'error', 'num_keypoints of all {} people is 0, which a metric takes '
      'for nobody to be found, though joints are labelled', differ, source.annotation_id, mend)
  zeros = (differ & (stated == 0)).sum()
  return findings(
    'num_keypoints-differ', 'warning', 'num_keypoints of {} people is not the number of their '
    f'labelled joints ({zeros} have 0, which metrics ignore)', differ, source.annotation_id, mend)


def _of_areas(people, table):
  areas = np.array([p.get('area', np.nan) for p in people], np.float64)
  boxes = table.box[:, 2:].prod(1)
  told = np.isfinite(areas) & (boxes > 16)
  small = told & (areas <= 1)
  return findings(
    'areas-are-shares', 'error' if 2 * small.sum() > told.sum() else 'warning',
    f'{{}} of {told.sum()} areas are at most 1, as shares of the picture are: every pose would be '
    'wrong', small, table.ids, 'write square pixels, or leave the area out if it is unknown'
  ) + findings(
    'areas-beyond-boxes', 'warning', f'{{}} of {told.sum()} areas are more than {_TOO_LARGE} times '
    'their box, so poses count as right too easily', told & (areas > _TOO_LARGE * boxes),
    table.ids, 'write square pixels of the person, or leave the area out if it is unknown')


def _of_files(pictures):
  counts = collections.Counter(picture['file_name'] for picture in pictures)
  ids = np.array([p['id'] for p in pictures if counts[p['file_name']] > 1])
  return findings(
    'pictures-twice', 'warning', '{} pictures share their file_name with another, so people of one '
    'picture look like people of two', np.arange(len(ids)), ids,
    'give every picture one entry (the ids here are of pictures)')


def _of_outlines(annotations):
  ids = np.array([a.get('id') for a in annotations if masks.is_bare(a.get('segmentation'))])
  return findings(
    'outlines-of-points', 'warning', '{} outlines have fewer than three points; these people count '
    'as without outline', np.arange(len(ids)), ids, 'leave the segmentation of such people out')


def _of_limbs(category, source):
  if source.skeleton.name != category.get('name') or not skeletons.limbs_from_zero(category):
    return []
  return [Finding('limbs-from-0', 'warning', "the category's skeleton counts joints from 0, COCO's "
                  'from 1; it is read as from 0', len(category['skeleton']), (),
                  'add 1 to its numbers')]
