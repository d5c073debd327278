"""The poses of one output, brought to the people who were annotated."""
import dataclasses
import functools

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.metrics import keypoint_ap, pose_errors
from dslope_jax.visibility import OUTSIDE, PROBABILITIES


class Answers:
  """One output on one set; every array is made when it is first asked for, and once.

  subjects: `pose_scores.Subjects`, of P people and N rows. name: of the output, with its view.
  pose: {'keypoints' (N,K,2), 'scores' (N,K)}, see `pose_scores.score`. covered: (N,K) bool or None.
  window: (N,4) x1, y1, x2, y2, what the occluded view shows of the picture, or None for all of it.
  oks_nms: threshold of the suppression of double poses, 0 for none.
  Raises UserError for a keypoint that is not finite.
  """

  def __init__(self, subjects, name, pose, covered=None, oks_nms=0,
               window=None):
    self.subjects, self.name, self.pose, self._covered = subjects, name, pose, covered
    self._oks_nms, self._of_file = oks_nms, 'detections' in pose
    self._window = window if self.view == 'occluded' else None
    if not self._of_file:
      wrong = ~np.isfinite(pose['keypoints']).all((1, 2))
      if wrong.any():
        raise UserError(f'{name}: {wrong.sum()} of {len(wrong)} poses hold NaN or infinite '
                        'numbers')

  @property
  def view(self):
    return self.name.rsplit('/', 1)[1]

  @functools.cached_property
  def kept(self):
    """Rows of the poses that suppression leaves, best first in each picture."""
    if not self._oks_nms:
      return np.arange(len(self._scores))
    s = self.subjects
    return keypoint_ap.select(s.image_id, self.pose['keypoints'], self._scores, s.crop_area,
                              s.skeleton.sigmas, self._oks_nms)

  @functools.cached_property
  def _scores(self):
    return keypoint_ap.rescore(self.pose['scores'], self.subjects.box_score)

  @functools.cached_property
  def results(self):
    """COCO result dicts: a file's as they are, else of the kept poses, rescored by their boxes.

    They have the fields of `visibility.PROBABILITIES`, K numbers or None where it is not known.
    """
    if self._of_file:
      found, kept = self.pose['detections'], slice(None)
      return _with_probabilities(found, kept, keypoint_ap.to_coco_results(
        **_renamed(found), category_id=self.subjects.category_id))
    kept = self.kept
    results = keypoint_ap.to_coco_results(
      self.subjects.image_id[kept], self.pose['keypoints'][kept], self.pose['scores'][kept],
      self._scores[kept], self.subjects.category_id)
    return _with_probabilities(self.pose, kept, results)

  @functools.cached_property
  def truth(self):
    """The annotations as a COCO dict; v is 3 for what is outside in this view."""
    s, codes = self.subjects, self.people.visibility
    moved = np.flatnonzero((codes != s.people.visibility).any(1)).tolist()
    if not moved:
      return s.truth
    annotations = list(s.truth['annotations'])
    for row in moved:
      joints = np.column_stack([np.reshape(annotations[row]['keypoints'], (-1, 3))[:, :2],
                                codes[row]])
      annotations[row] = annotations[row] | {'keypoints': joints.ravel().tolist()}
    return s.truth | {'annotations': annotations}

  @functools.cached_property
  def rows(self):
    """(P,) row of each person's pose, -1 where there is none."""
    s = self.subjects
    if s.detections:
      match = pose_errors.match(s.people, s.image_id[self.kept],
                                self.pose['keypoints'][self.kept], s.skeleton.sigmas)
      return np.append(self.kept, -1)[match]
    rows = s.by_person(np.arange(len(s.own)), -1)
    if self._of_file:
      rows[np.isnan(self.pose['keypoints']).any((1, 2))[rows]] = -1
    return rows

  def of_people(self, field):
    """A field (N, ...) of the poses by person: (P, ...), NaN where there is no pose."""
    values = np.asarray(self.pose[field], np.float64)
    return np.concatenate([values, np.full((1, *values.shape[1:]), np.nan)])[self.rows]

  @functools.cached_property
  def keypoints(self):
    return self.of_people('keypoints')

  @functools.cached_property
  def right(self):
    """(P,K) bool: the joint's own OKS, with the annotated area, is at least one half."""
    people = self.subjects.people
    return pose_errors.right_joints(self.keypoints, people.keypoints, people.areas,
                                    self.subjects.skeleton.sigmas)

  @functools.cached_property
  def people(self):
    """The people with what is covered, and with v = 3 for what is outside in this view; those of
    whom no pose is asked are ignored."""
    s, people = self.subjects, self.subjects.people
    covered, codes = people.covered, people.visibility
    if self._covered is not None:
      covered = covered | self._of_boxes(np.asarray(self._covered, bool), False)
    if self.seen is not None:
      low, high = self.seen[:, None, :2], self.seen[:, None, 2:]
      beyond = ((people.keypoints < low) | (people.keypoints > high)).any(2)
      codes = np.where(people.labelled & beyond, OUTSIDE, codes)
    return dataclasses.replace(people, covered=covered, visibility=codes,
                               ignored=~s.counted | people.ignored)

  @functools.cached_property
  def seen(self):
    """(P,4) x1, y1, x2, y2: what this view shows of each person's picture, None for all."""
    return None if self._window is None else self._of_boxes(
      np.asarray(self._window, np.float64), (-np.inf, -np.inf, np.inf, np.inf))

  def _of_boxes(self, column, otherwise):
    """What is known of the pictures of the N rows, by person: (P, ...).

    Of several boxes that show a person, the one whose pose is compared tells it. A pose whose box
    shows somebody else tells nothing of that.
    """
    s = self.subjects
    of_people = s.by_person(column, otherwise)
    compared = np.flatnonzero((self.rows >= 0) & (s.own[self.rows] == np.arange(len(s.people))))
    of_people[compared] = column[self.rows[compared]]
    return of_people

  @functools.cached_property
  def labelled(self):
    """(P,K) bool: labelled joints of the people who count."""
    return self.people.labelled & self.subjects.counted[:, None]

  @functools.cached_property
  def labelled_joints(self):
    return self.labelled.sum(1)

  @functools.cached_property
  def right_joints(self):
    return (self.labelled & self.right).sum(1)


def _with_probabilities(pose, kept, results):
  """COCO results with the probabilities that the poses of the rows `kept` have."""
  for field in PROBABILITIES:
    values = pose.get(field)
    values = [None] * len(results) if values is None else values[kept].round(4).tolist()
    for result, value in zip(results, values, strict=True):
      result[field] = value
  return results


def _renamed(detections):
  return {'image_ids': detections['image_id'], 'keypoints': detections['keypoints'],
          'keypoint_scores': detections['keypoint_scores'], 'scores': detections['score']}
