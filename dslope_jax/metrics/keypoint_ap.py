"""COCO keypoint evaluation: rescoring, OKS suppression of double poses, AP and AR.

NumPy in double precision throughout: sums in float32 differ in the seventh digit, which is enough
to change the order of poses with nearly equal scores.
"""
import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dslope_jax.errors import UserError
from dslope_jax.visibility import OUTSIDE

STATISTICS = ('AP', 'AP50', 'AP75', 'AP(M)', 'AP(L)', 'AR', 'AR50', 'AR75', 'AR(M)', 'AR(L)')

# CrowdPose has no person areas; its official evaluator takes this share of the box for them.
_AREA_OF_BOX = 0.53


def rescore(scores, box_scores, threshold=0.2):
  """Pose score: mean of the joint scores above `threshold`, times the box score.

  scores: (N,K) joint scores; box_scores: (N,). Returns (N,) float64, 0 where no joint score is
  above the threshold. Formula: published validation loop of HRNet.
  """
  scores = np.asarray(scores, np.float64)
  confident = scores > threshold
  total = np.where(confident, scores, 0).sum(1)
  return total / np.maximum(confident.sum(1), 1) * np.asarray(box_scores, np.float64)


def oks(keypoints, others, areas, other_areas, sigmas):
  """Object keypoint similarity of every pose with every other pose.

  keypoints: (N,K,2 or more) and others: (M,K,2 or more), x and y in pixels of one picture, further
  columns unused. areas: (N,) and other_areas: (M,), square pixels. sigmas: (K,).
  Returns (N,M) float64 in 0..1. All K joints count, seen or not, and the mean of the two areas
  sets the tolerance: the form used between predictions, not the one against annotations.
  Formula: OKS of COCO (https://cocodataset.org/#keypoints-eval). Memory is N*M*K numbers.
  """
  a = np.asarray(keypoints, np.float64)[..., :2]
  b = np.asarray(others, np.float64)[..., :2]
  squared = np.square(a[:, None] - b[None]).sum(-1)
  area = np.add.outer(np.asarray(areas, np.float64), np.asarray(other_areas, np.float64)) / 2
  # The smallest step above 1 keeps two empty boxes from dividing by zero.
  tolerance = 2 * np.square(2 * np.asarray(sigmas, np.float64)) * (area + np.spacing(1))[..., None]
  return np.exp(-squared / tolerance).mean(-1)


def oks_nms(keypoints, scores, areas, sigmas, threshold=0.9):
  """Keeps the best pose, drops those too like it, and so on with what is left.

  keypoints: (N,K,2 or more) pixels of one picture; scores: (N,); areas: (N,) square pixels, of
  the padded box: product(scale * 200); sigmas: (K,). A pose goes if its OKS with a better one is
  above `threshold`. Returns the kept indices, best first; equal scores keep their order.
  Raises UserError if shapes disagree or a number is not finite.
  """
  keypoints, scores, areas = _poses(keypoints, scores, areas, sigmas)
  order = np.argsort(-scores, kind='stable')
  kept = []
  while order.size:
    best, rest = order[0], order[1:]
    kept.append(best)
    order = rest[_likeness(keypoints, areas, best, rest, sigmas) <= threshold]
  return np.array(kept, np.int64)


def select(image_ids, keypoints, scores, areas, sigmas, threshold=0.9):
  """Suppression of double poses in every picture of a set.

  image_ids: (N,); the rest as for `oks_nms`. Returns the kept indices into the N poses: pictures in
  order of their first pose, within a picture in the order kept.
  Raises UserError if shapes disagree or a number is not finite.
  """
  keypoints, scores, areas = _poses(keypoints, scores, areas, sigmas)
  image_ids = np.asarray(image_ids)
  if image_ids.shape != scores.shape:
    raise UserError(f'{len(scores)} poses, but image_ids has shape {image_ids.shape}')
  _, first, counts = np.unique(image_ids, return_index=True, return_counts=True)
  groups = np.split(np.argsort(image_ids, kind='stable'), np.cumsum(counts)[:-1])
  kept = [np.zeros(0, np.int64)]
  for i in np.argsort(first):
    rows = groups[i]
    kept.append(rows[oks_nms(keypoints[rows], scores[rows], areas[rows], sigmas, threshold)])
  return np.concatenate(kept)


def to_coco_results(image_ids, keypoints, keypoint_scores, scores, category_id=1):
  """Poses as a list of COCO result dicts, plain Python numbers only, ready for json.

  image_ids: (N,); keypoints: (N,K,2) pixels of the full picture, 0-based; keypoint_scores: (N,K);
  scores: (N,). Format: https://cocodataset.org/#format-results, x, y, score for every joint.
  """
  keypoints = np.asarray(keypoints, np.float64)
  joints = np.concatenate([keypoints[..., :2], np.asarray(keypoint_scores)[..., None]], -1)
  flat = joints.reshape(len(joints), 3 * joints.shape[1]).tolist()
  columns = zip(image_ids, flat, scores, strict=True)
  return [{'image_id': int(i), 'category_id': int(category_id), 'keypoints': k, 'score': float(s)}
          for i, k, s in columns]


def coco_ap(ground_truth, results, sigmas, image_ids=None):
  """AP and AR of COCO keypoint results, by pycocotools.

  ground_truth: COCO dict with images, annotations and categories; it is left as it is. Where an
  annotation lacks them, `area` becomes 0.53 * box width * height (the rule of CrowdPose's
  evaluator), `num_keypoints` the number of labelled joints and `iscrowd` 0.
  results: list of dicts as from `to_coco_results`. sigmas: (K,). image_ids: the pictures to
  evaluate, all if None; results of the others are not looked at.
  Returns a dict of floats 0..1 under `STATISTICS`: at most 20 poses per picture; M and L by area,
  32^2 and 96^2 square pixels. nan where nobody has that size.
  Raises UserError if nothing is annotated in these pictures, if a picture or category is unknown,
  the number of joints is wrong, or a result holds a number that is not finite.
  """
  truth, detections = indexed(ground_truth, results, len(sigmas), image_ids)
  return evaluate(truth, detections, sigmas)


def indexed(ground_truth, results, num_keypoints, image_ids=None):
  """Ground truth and results as two pycocotools COCO objects, checked; nothing given is changed.

  Arguments, filled-in fields and errors as for `coco_ap`.
  """
  known, categories = _known_ids(ground_truth)
  chosen = known if image_ids is None else {int(i) for i in image_ids}
  _require_known('image_ids', chosen, known, 'pictures')
  people = [a for a in ground_truth['annotations']
            if a['image_id'] in chosen and a['category_id'] in categories]
  if not people:
    raise UserError(f'nothing to evaluate: no annotation of the categories {sorted(categories)} '
                    f'in the {len(chosen)} pictures chosen')
  _require_known('results', {r['image_id'] for r in results}, known, 'pictures')
  _require_known('results', {r['category_id'] for r in results}, categories, 'categories')
  shared = {'images': [{'id': i} for i in sorted(chosen)],
            'categories': [{'id': c} for c in sorted(categories)]}
  here = [r for r in results if r['image_id'] in chosen]
  return (_index(shared | {'annotations': _annotations(people, num_keypoints)}),
          _index(shared | {'annotations': _detections(here, num_keypoints)}))


def _poses(keypoints, scores, areas, sigmas):
  """The poses in double precision, checked."""
  keypoints, scores, areas = (np.asarray(a, np.float64) for a in (keypoints, scores, areas))
  n = len(scores)
  if keypoints.ndim != 3 or keypoints.shape[:2] != (n, len(sigmas)) or areas.shape != (n,):
    raise UserError(f'{n} scores and {len(sigmas)} sigmas, but keypoints {keypoints.shape} and '
                    f'areas {areas.shape}')
  finite = np.isfinite(keypoints[..., :2]).all((1, 2)) & np.isfinite(scores) & np.isfinite(areas)
  if not finite.all():
    raise UserError(f'{n - finite.sum()} of {n} poses hold NaN or infinite numbers')
  return keypoints, scores, areas


def _likeness(keypoints, areas, best, rest, sigmas):
  """(len(rest),) OKS of pose `best` with the poses `rest`."""
  one = slice(best, best + 1)
  return oks(keypoints[one], keypoints[rest], areas[one], areas[rest], sigmas)[0]


def _known_ids(ground_truth):
  """Picture ids and category ids of a COCO dict."""
  missing = {'images', 'annotations', 'categories'} - set(ground_truth)
  if missing:
    raise UserError(f'the ground truth has no {sorted(missing)}')
  return tuple({entry['id'] for entry in ground_truth[k]} for k in ('images', 'categories'))


def _require_known(what, ids, known, of):
  unknown = sorted(ids - known)
  if unknown:
    raise UserError(f'{what}: {len(unknown)} {of} that the ground truth does not have, '
                    f'such as {unknown[0]}')


def _annotations(people, num_keypoints):
  """What the evaluator reads of the annotations, in dicts of their own that it may write to."""
  out = []
  # Numbered anew: pycocotools takes an annotation whose id is 0 for unmatched.
  for number, person in enumerate(people, 1):
    joints, box = person.get('keypoints', ()), person.get('bbox', ())
    if len(joints) != 3 * num_keypoints or len(box) != 4:
      raise UserError(f'annotation {person.get("id")} has {len(joints)} numbers as keypoints and '
                      f'{len(box)} as bbox; {num_keypoints} sigmas need {3 * num_keypoints} and 4')
    counted, codes = person.get('num_keypoints'), joints[2::3]
    if OUTSIDE in codes:  # for COCO such joints are not labelled, whatever was counted
      codes = [0 if v == OUTSIDE else v for v in codes]
      counted = counted and None  # a stated 0 excuses the person
      joints = [n for xyv in zip(joints[::3], joints[1::3], codes, strict=True) for n in xyv]
    out.append({
      'id': number, 'image_id': person['image_id'], 'category_id': person['category_id'],
      'bbox': box, 'keypoints': joints, 'iscrowd': person.get('iscrowd', 0),
      'num_keypoints': sum(v > 0 for v in codes) if counted is None else counted,
      'area': person.get('area', _AREA_OF_BOX * box[2] * box[3])})
  return out


def _detections(results, num_keypoints):
  """Results with the extent of their joints as area; COCO's own loader fails on an empty list."""
  wrong = [len(r['keypoints']) for r in results if len(r['keypoints']) != 3 * num_keypoints]
  if wrong:
    raise UserError(f'{len(wrong)} results have not 3 * {num_keypoints} numbers as keypoints, '
                    f'but for example {wrong[0]}')
  joints = np.array([r['keypoints'] for r in results], np.float64).reshape(-1, num_keypoints, 3)
  scores = np.array([r['score'] for r in results], np.float64)
  bad = ~(np.isfinite(joints).all((1, 2)) & np.isfinite(scores))
  if bad.any():
    raise UserError(f'{bad.sum()} of {len(results)} results hold NaN or infinite numbers')
  areas = np.ptp(joints[..., :2], axis=1).prod(-1)
  return [{'id': number, 'image_id': r['image_id'], 'category_id': r['category_id'],
           'keypoints': r['keypoints'], 'score': r['score'], 'area': float(area)}
          for number, (r, area) in enumerate(zip(results, areas, strict=True), 1)]


def evaluate(truth, detections, sigmas, evaluator=COCOeval):
  """`STATISTICS` of what `indexed` gives; pycocotools speaks on standard output and marks nan by
  -1. evaluator: COCOeval, or a class made of it."""
  with contextlib.redirect_stdout(io.StringIO()):
    evaluation = evaluator(truth, detections, 'keypoints')
    evaluation.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
  return {name: float('nan') if value == -1 else float(value)
          for name, value in zip(STATISTICS, evaluation.stats, strict=True)}


def _index(dataset):
  coco = COCO()
  coco.dataset = dataset
  with contextlib.redirect_stdout(io.StringIO()):
    coco.createIndex()
  return coco
