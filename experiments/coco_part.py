"""People of COCO with the keypoints of LSPET, to score networks that were trained on LSPET."""
import os
import pathlib

from dslope_jax import own_files
from dslope_jax.skeletons import COCO, LSP
from experiments import cells
from input_pipeline.sources import coco

SPLIT = 'coco'
FILES = 'person_keypoints_train.json', 'person_keypoints_val.json'
CATEGORY = {'id': 1, 'name': 'person', 'keypoints': list(LSP.names),
            'skeleton': [[a + 1, b + 1] for a, b in LSP.limbs]}
# Neck and top of the head are not labelled in COCO.
_SHARED = [COCO.names.index(name) if name in COCO.names else None for name in LSP.names]


def write(data, out):
  """OUT/coco_as_lsp, a data set of LSPET's form whose split SPLIT has the people of a folder of
  COCO's form: all of FILES with a labelled limb, none of them a crowd. Returns its path."""
  folder = pathlib.Path(out) / 'coco_as_lsp'
  if not cells.linked(folder, data):
    truths = [coco.read_json(os.path.join(data, 'annotations', name), coco.COCO_LISTS)
              for name in FILES]
    people = [person | {'keypoints': converted(person['keypoints'])}
              for truth in truths for person in truth['annotations'] if not person.get('iscrowd')]
    people = [person | {'num_keypoints': sum(v > 0 for v in person['keypoints'][2::3])}
              for person in people]
    folder.mkdir(parents=True, exist_ok=True)
    own_files.write_json(str(folder / f'lspet_{SPLIT}.json'), {
      'images': [picture for truth in truths for picture in truth['images']],
      'annotations': [person for person in people if person['num_keypoints']],
      'categories': [CATEGORY]})
    cells.link(folder, data)
  return folder


def converted(keypoints):
  """Flat x, y, v of LSP's joints from those of COCO's."""
  return [value for joint in _SHARED for value in (
    (0, 0, 0) if joint is None else keypoints[3 * joint:3 * joint + 3])]
