"""CrowdPose (Li et al., CVPR 2019): crowds with 14 joints, a crowd index for every picture."""
from dslope_jax import skeletons
from input_pipeline.sources import coco
from input_pipeline.sources.counts import check_counts
from input_pipeline.sources.source import Source

_NAMES = ('json/crowdpose_{split}.json', 'annotations/crowdpose_{split}.json',
          'annotations/mmpose_crowdpose_{split}.json', 'crowdpose_{split}.json')
_HOW_TO_GET = (
  'CrowdPose is images.zip and the json files crowdpose_{train,val,test}.json linked from '
  'github.com/Jeff-sjtu/CrowdPose, unpacked into images/ and json/ of one folder; then pass '
  '--config.data.root=FOLDER')


def load(split, *, root, annotations='', images='', aspect=0.75, padding=1.25,
         skip_invalid=False) -> Source:
  """The labelled people of 'train', 'val', 'test' or 'trainval'.

  annotations: json file below root, by default the first that exists of the usual names; the other
  options and errors as for `coco.load`. The limbs are those of the 14 joints: the file's own
  `skeleton` field is COCO's. `ground_truth` keeps each picture's crowdIndex and, as published, a
  num_keypoints that leaves out head and neck.
  Raises ValueError also if the counts are those of another split.
  """
  path, folder = coco.find_set(root, (annotations,) if annotations else _NAMES, images, split,
                               _HOW_TO_GET)
  truth = coco.read_json(path, coco.COCO_LISTS)
  check_counts('crowdpose', split, path, len(truth['images']), len(truth['annotations']))
  return coco.labelled_people(truth, split, path, folder, aspect, padding, skip_invalid,
                              skeletons.CROWDPOSE, _HOW_TO_GET)
