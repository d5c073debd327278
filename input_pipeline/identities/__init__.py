"""Sets of faces with known identity by name, `load("face_folders", "train", root=...)`; one set a
file here."""
from input_pipeline import options as given_options
from input_pipeline.identities import identity_set


def load(name: str, split: str, **options):
  """The `identity_set.Identities` of a split of this set. A root may begin with '~'.

  Raises UserError for a name or an option that there is not, and for a set with errors.
  """
  read = loader(name)
  options = given_options.checked(name, read, options)
  identity_set.refuse_pickle(options.get('root', ''))
  return identity_set.checked(read(split, **options))


def loader(name: str):
  """The function load of this set; UserError for a name that there is not."""
  return given_options.loader('identities', name)
