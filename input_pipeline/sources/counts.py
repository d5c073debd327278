"""How many pictures and people the official files of a set hold: a wrong split is told at once."""
from dslope_jax.errors import UserError

# (pictures, people) of the official file of each split; None where it is not published or the
# file has no such list. People are those that the file lists, labelled or not.
# crowdpose, ochuman, aic, mpii: their papers and the files; faces: the papers' numbers of faces.
_COUNTS = {
  'crowdpose': {'train': (10000, None), 'val': (2000, 8527), 'test': (8000, None),
                'trainval': (12000, None)},
  'ochuman': {'val': (2500, 4291), 'test': (2231, 3819), 'all': (4731, 8110)},
  'aic': {'train': (210000, None), 'val': (30000, None)},
  'mpii': {'train': (None, 22246), 'valid': (None, 2958), 'trainval': (None, 25204)},
  'lsp': {'train': (None, 1000), 'test': (None, 1000)},
  'lspet': {'train': (None, 10000)},
  '300w': {'train': (None, 3148), 'valid': (None, 689), 'valid_common': (None, 554),
           'valid_challenge': (None, 135), 'test': (None, 600)},
  'cofw': {'train': (None, 1345), 'test': (None, 507)},
  'wflw': {'train': (None, 7500), 'test': (None, 2500), 'test_largepose': (None, 326),
           'test_expression': (None, 314), 'test_illumination': (None, 698),
           'test_makeup': (None, 206), 'test_occlusion': (None, 736), 'test_blur': (None, 773)},
  'aflw': {'train': (None, 20000), 'test': (None, 4386), 'test_frontal': (None, 1314)},
}


def check_counts(name, split, path, pictures=None, people=None):
  """Compares a file with the official counts of its split; other counts are only printed.

  name: of the set; a set or split without official counts is not checked. pictures, people: how
  many entries the file at `path` lists, None where it does not list them apart.
  Raises UserError if the counts are those of another split.
  """
  table, counts = _COUNTS.get(name, {}), (pictures, people)
  if split not in table or _agrees(counts, table[split]):
    return
  other = next((s for s in table if _agrees(counts, table[s])), None)
  if other:
    raise UserError(f'{path}: this is {other} ({_text(table[other])}) of {name}, not {split} '
                    f"({_text(table[split])}); give the path of the {split} file, or name the "
                    f'split {other}')
  print(f'{path}: {_text(counts)}; the official {split} of {name} has {_text(table[split])}, so '
        'numbers from here are not those of papers')


def _agrees(counts, official):
  pairs = [(c, o) for c, o in zip(counts, official, strict=True) if None not in (c, o)]
  return bool(pairs) and all(c == o for c, o in pairs)


def _text(counts):
  return ', '.join(f'{n} {what}' for n, what in zip(counts, ('pictures', 'people'), strict=True)
                   if n is not None)
