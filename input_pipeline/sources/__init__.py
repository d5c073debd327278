"""Data sets by name, `load("coco", "train2017", root=...)`.

A name is that of a file here with a function `load`, or one of the table in coco_sets.py.
"""
from input_pipeline import options as given_options
from input_pipeline.sources import findings


def load(name: str, split: str, **options):
  """The source of a split of this set, with its findings. A root may begin with '~'.

  Raises UserError for a name or an option that there is not, and for a set with errors.
  """
  read = loader(name)
  options = given_options.checked(name, read, options)
  return findings.checked(read(split, **options))


def loader(name: str):
  """The function load of this set; UserError for a name that there is not."""
  from input_pipeline.sources import coco_sets
  if name in coco_sets.SETS:
    return coco_sets.SETS[name]
  return given_options.loader('sources', name, coco_sets.SETS)
