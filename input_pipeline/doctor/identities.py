"""What is wrong with who pictures of faces are of, by their content."""
import numpy as np

from input_pipeline.doctor.suspects import suspects


def check(source, looks):
  """Pictures that are filed under two people."""
  identity = source.identity[looks.row]
  kinds = np.unique(np.column_stack([looks.content, identity.astype(np.uint64)]), axis=0)
  contents, counts = np.unique(kinds[:, 0], return_counts=True)
  torn = (looks.reason == b'') & np.isin(looks.content, contents[counts > 1])
  return suspects(
    'pictures-of-two-identities', '{} pictures are also filed under another person',
    looks.row[torn], source, 'remove the wrong one; two names may also be of one person',
    ids=source.image_id)
