"""Ex-OKS: OKS that also asks whether a joint is in the picture; AP by it, whole and by visibility.

Purkrabek and Matas, ProbPose, CVPR 2025, from the definition alone. A place counts within an
activation window: the annotated box, enlarged by 1.25 as crops are, cut to the picture. The box is
the annotated one, so that the window does not depend on the network; it ends where the picture
does, so that "inside" is what `present` tells and v = 3 denies. Where truth and answer are both
inside, the distance is the usual one; where one of them is, that of the one inside to the edge of
the window, as if the other stood there; where none is, 0.
"""
import numpy as np
from pycocotools.cocoeval import COCOeval

from dslope_jax.metrics import keypoint_ap
from dslope_jax.visibility import OUTSIDE, is_labelled

STATISTICS = ('ExAP', 'ExAP50', 'ExAP75', 'ExAR', 'ExAP(visible)', 'ExAP(hidden)', 'ExAP(outside)')
_PADDING = 1.25
_PRESENT = 0.5  # a joint with this probability or more is said to be inside


def windows(boxes, image_size=None, seen=None):
  """(N,4) activation windows x1, y1, x2, y2.

  boxes: (N,4) x, y, width, height. image_size: (N,2) width and height, None or 0 where unknown.
  seen: (N,4) x1, y1, x2, y2 of the part of the picture that is shown, None for all. All in pixels.
  """
  middle, half = boxes[:, :2] + boxes[:, 2:] / 2, _PADDING * boxes[:, 2:] / 2
  low, high = middle - half, middle + half
  if image_size is not None:  # pixel centres are whole numbers
    low, high = np.maximum(low, -0.5), np.minimum(
      high, np.where(image_size > 0, image_size - 0.5, np.inf))
  if seen is not None:
    low, high = np.maximum(low, seen[:, :2]), np.minimum(high, seen[:, 2:])
  return np.concatenate([low, high], 1)


def distances(truth, inside, places, present, window):
  """(...,K) pixels between annotated and predicted joints, by the rule above.

  truth, places: (...,K,2). inside: (...,K) bool, annotated in the picture (v = 1 or 2). present:
  (...,K), probability of being there. window: (...,4). Leading axes broadcast.
  """
  window = window[..., None, :]
  inside = inside & _within(window, truth)
  said = (np.asarray(present) >= _PRESENT) & _within(window, places)
  apart = np.linalg.norm(truth - places, axis=-1)
  return np.select([inside & said, inside, said],
                   [apart, _to_edge(window, truth), _to_edge(window, places)], 0.0)


def ex_oks(truth, visibility, places, present, window, area, sigmas):
  """(...) Ex-OKS of poses, mean over joints with v = 1, 2 or 3; NaN where there is none.

  visibility: (...,K). area: (...) square pixels of the person. sigmas: (K,). The rest is as for
  `distances`.
  """
  squared = np.square(distances(truth, is_labelled(visibility), places, present, window))
  tolerance = 2 * np.square(2 * np.asarray(sigmas)) * (
    np.asarray(area, np.float64)[..., None] + np.spacing(1))
  counted = visibility > 0
  total = np.where(counted, np.exp(-squared / tolerance), 0).sum(-1)
  count = np.broadcast_to(counted.sum(-1), total.shape)
  return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def ex_ap(ground_truth, results, people, sigmas, seen=None):
  """AP and AR by Ex-OKS, with the matching of COCO's evaluation; and AP by kinds of joints.

  ground_truth, results: as for `keypoint_ap.coco_ap`; a result may have `present`, K probabilities,
  and is else taken to be sure of all its joints. people: the same annotations as `People`; what it
  says is covered counts as hidden. seen: as for `windows`.
  Returns a dict of floats 0..1 under `STATISTICS`: AP of 'visible', 'hidden' and 'outside' (v = 3)
  joints compares these joints alone, and asks for nobody without them; nan where nobody has any. A
  pose then stands for the person whom all its joints fit best: what is outside of one person's
  window is outside of most others', too.
  """
  truth, poses = keypoint_ap.indexed(ground_truth, results, len(sigmas))
  for pose, result in zip(poses.dataset['annotations'], results, strict=True):
    given = result.get('present')
    pose['present'] = np.ones(len(sigmas)) if given is None else np.array(given, np.float64)
  visibility, covered = people.visibility, people.covered
  groups = {'': visibility > 0, '(visible)': (visibility == 2) & ~covered,
            '(hidden)': is_labelled(visibility) & ((visibility == 1) | covered),
            '(outside)': visibility == OUTSIDE}
  ends, found = windows(people.boxes, people.image_size, seen), {}
  for name, counted in groups.items():
    counted = counted & ~people.ignored[:, None]
    for row, person in enumerate(truth.dataset['annotations']):
      person |= {'num_keypoints': int(counted[row].sum()), 'window': ends[row],
                 'places': people.keypoints[row], 'area': people.areas[row],
                 'codes': visibility[row], 'counted': np.where(counted[row], visibility[row], 0)}
    table = keypoint_ap.evaluate(truth, poses, sigmas, _OfPart if name else _Evaluation)
    found |= {f'Ex{key}{name}': table[key] for key in (('AP',) if name else (
      'AP', 'AP50', 'AP75', 'AR'))}
  return found


class _Evaluation(COCOeval):
  """COCO's evaluation of keypoints with Ex-OKS in place of OKS."""
  part = False  # whether some joints only are compared

  def computeOks(self, image, category):  # noqa: N802 - the name of pycocotools
    found = super().computeOks(image, category)  # for people who are not asked for, too
    people = self._gts[image, category]
    poses = sorted(self._dts[image, category], key=lambda pose: -pose['score'])
    poses = poses[:self.params.maxDets[-1]]
    if not len(found):
      return found
    places = np.array([pose['keypoints'] for pose in poses]).reshape(len(poses), -1, 3)[..., :2]
    present = np.array([pose['present'] for pose in poses])
    whole = found.copy()
    for codes, out in (('codes', whole), ('counted', found)):
      for column, person in enumerate(people):
        if person[codes].any():
          out[:, column] = ex_oks(person['places'], person[codes], places, present,
                                  person['window'], person['area'], self.params.kpt_oks_sigmas)
    return np.where(whole == whole.max(1, keepdims=True), found, 0) if self.part else found


class _OfPart(_Evaluation):
  part = True


def _within(window, points):
  return ((points >= window[..., :2]) & (points <= window[..., 2:])).all(-1)


def _to_edge(window, points):
  """Distance of points within a window to its nearest edge."""
  return np.minimum(points - window[..., :2], window[..., 2:] - points).min(-1)
