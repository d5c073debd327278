"""Sets of whole pictures by name, `load("synthetic", "train", count=500)`; one set a file here."""
from input_pipeline import options as given_options


def load(name: str, split: str, **options):
  """The `picture.Pictures` of a split of this set. A root may begin with '~'.

  Raises UserError for a name or an option that there is not, and for people that cannot be.
  """
  read = loader(name)
  return read(split, **given_options.checked(name, read, options))


def loader(name: str):
  """The function load of this set; UserError for a name that there is not."""
  return given_options.loader('pictures', name)
