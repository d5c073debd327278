"""sub-JHMDB (Jhuang et al., ICCV 2013): frames of whole bodies, 15 joints, three divisions."""
from dslope_jax import skeletons
from input_pipeline.sources import coco
from input_pipeline.sources.checks import edit_joints, is_box
from input_pipeline.sources.source import Source

_HOW_TO_GET = (
  'sub-JHMDB is the frames Rename_Images of jhmdb.is.tue.mpg.de and, in annotations/, the files '
  'Sub1_train.json to Sub3_test.json in COCO form; then pass --config.data.root=FOLDER')


def load(split, *, root, sub=1, annotations='', images='.', aspect=0.75, padding=1.25,
         skip_invalid=False) -> Source:
  """The people of 'train' or 'test' of one division.

  sub: 1, 2 or 3; papers report the mean of the three. annotations: json file below root, by
  default annotations/Sub{sub}_{split}.json. Boxes and joints of the file are counted from 1 and
  made 0-based. The other options and errors as for `coco.load`.
  """
  if sub not in (1, 2, 3):
    raise ValueError(f'data.loader.sub is {sub!r}, but sub-JHMDB has the divisions 1, 2 and 3')
  path, folder = coco.find_set(root, (annotations or f'annotations/Sub{sub}_{{split}}.json',),
                               images, split, _HOW_TO_GET)
  truth = coco.read_json(path, coco.COCO_LISTS)
  edit_joints(truth, skeletons.JHMDB, _from_zero)
  for annotation in truth['annotations']:
    if is_box(annotation.get('bbox')):
      x, y, w, h = annotation['bbox']
      annotation['bbox'] = [x - 1, y - 1, w, h]
  return coco.labelled_people(truth, split, path, folder, aspect, padding, skip_invalid,
                              skeletons.JHMDB, _HOW_TO_GET)


def _from_zero(joints):
  joints[:, :2] -= 1
  return joints
