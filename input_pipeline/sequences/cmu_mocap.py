"""Motion of the CMU database as 17 joints in Human3.6M's order, seen by cameras drawn by seed.

Files: FOLDER/index.json with `sequences` (name, file, cmu_id, description, skeleton_family,
glitch_frames, partner of scenes with two people) and one npz each with xyz_q (F,17,3) int16,
scale_mm and fps; Y up. The data was obtained from mocap.cs.cmu.edu, which was created with funding
from NSF EIA-0196217.
"""
import collections
import os
import zlib
from typing import TypedDict

import numpy as np

from dslope_jax import own_files
from dslope_jax.errors import UserError, counted, quoted
from dslope_jax.skeletons import H36M
from input_pipeline.sequences import camera_pool
from input_pipeline.sequences.sequence import Sequence, Sequences

_FORM = {'xyz_q': own_files.Column('i', ('F', 17, 3)),
         'scale_mm': own_files.Column('f', (), values=lambda scale: (scale > 0) & (scale < 1000)),
         'fps': own_files.Column('iu', ())}
_VAL = 0.2  # share of the sequences, whole subjects, unless a file says which


def load(split: str, root: str, split_file: str = '', cameras: int = 64, seed: int = 0):
  """The sequences of 'train', 'val' or 'all'.

  split_file: json {"train": [names], "val": [names]}; without it about a fifth of each kind of
  skeleton, subjects drawn by seed, is for val: all takes of a subject, and of their partners, are
  on one side. cameras: of the pool of each sequence. seed: of cameras and split; the cameras of
  val are others than those of training.
  """
  if cameras < 1:
    raise UserError(f'data.loader: cameras of cmu_mocap is {cameras}, must be 1 or more')
  index = os.path.join(root, 'index.json')
  entries = _entries(index)
  names = _names(entries, split, split_file, seed, index)
  found = [_read(root, entries[name], cameras, seed, split) for name in names]
  kept = {sequence.name for sequence in found}
  glitches = sum(int((~s.valid).sum()) for s in found)
  notes = (f'{glitches} frames are not valid (marker swaps in the recording)',) * bool(glitches)
  alone = [s.name for s in found if not set(s.partners) <= kept]
  if alone:
    raise UserError(f"'{split_file}' parts '{alone[0]}' from '{entries[alone[0]]['partner']}', who "
                    'is in the same scene; put both on one side')
  return Sequences('cmu_mocap', split, H36M, tuple(found), notes)


class _Needed(TypedDict):
  name: str
  file: str
  cmu_id: str
  description: str
  skeleton_family: str


class _Entry(_Needed, total=False):
  glitch_frames: list[int]
  partner: str | None


class _Index(TypedDict):
  sequences: list[_Entry]


def _entries(index):
  """{name: entry} of index.json."""
  content = own_files.read_json(
    index, _Index, 'give the folder that holds index.json and npz/ (--config.data.root)')
  entries = {}
  for entry in content['sequences']:
    if entry['name'] in entries:
      raise UserError(f"'{index}' has two sequences {quoted(entry['name'])}; name them apart")
    entries[entry['name']] = entry
  for name, entry in entries.items():
    partner = entry.get('partner')
    if partner and partner not in set(entries) - {name}:
      raise UserError(f"'{index}': the partner of {quoted(name)} is {quoted(partner)}, which is no "
                      'other sequence of this file; mend the entry')
  return entries


def _names(entries, split, split_file, seed, index):
  if split == 'all':
    return sorted(entries)
  if split not in ('train', 'val'):
    raise UserError(f"a split of cmu_mocap is train, val or all, not '{split}'")
  if not split_file:
    sides = _sides(entries, seed)
    return sorted(name for name in entries if sides[name] == split)
  given = own_files.read_json(split_file, dict[str, list[str]], 'write {"train": [names], "val": '
                              '[names]}')
  for side in ('train', 'val'):
    unknown = [name for name in given.get(side, ()) if name not in entries]
    if side not in given or unknown:
      raise UserError(f"'{split_file}' has " + (
        f"a name that '{index}' lacks: {quoted(unknown[0])}; give another data.loader.split_file, "
        "or take the split 'all'" if unknown else f"no list '{side}'"))
  both = sorted(set(given['train']) & set(given['val']))
  if both:
    raise UserError(f"'{split_file}' has {quoted(both[0])} in train and in val; leave it on one "
                    'side')
  people = [{entries[name]['cmu_id'].split('_')[0] for name in given[side]}
            for side in ('train', 'val')]
  if shared := sorted(people[0] & people[1]):
    print(f"warning: '{split_file}' has takes of {counted(len(shared), 'person')} in train and in "
          f'val, such as {quoted(shared[0])}', flush=True)
  if not given[split]:
    raise UserError(f"'{split_file}' names no sequence under '{split}'")
  return sorted(given[split])


def _sides(entries, seed):
  """{name: 'train' or 'val'}, by subject; subjects who share a scene are one."""
  of = {name: entry['cmu_id'].split('_')[0] for name, entry in entries.items()}
  group = {subject: subject for subject in of.values()}
  for name, entry in entries.items():
    if entry.get('partner'):
      one, other = group[of[name]], group[of[entry['partner']]]
      group = {k: min(one, other) if v in (one, other) else v for k, v in group.items()}
  members, family = collections.defaultdict(lambda: collections.defaultdict(list)), {}
  for name, entry in sorted(entries.items()):
    key = group[of[name]]
    members[family.setdefault(key, entry['skeleton_family'])][key].append(name)
  val = set()
  for groups in members.values():  # each kind of skeleton has its share of val
    count, taken = sum(map(len, groups.values())), 0
    for key in sorted(groups, key=lambda g: zlib.crc32(f'{seed} {g}'.encode())):
      if taken < _VAL * count and taken + len(groups[key]) <= 2 * _VAL * count:
        val, taken = val | set(groups[key]), taken + len(groups[key])
  return {name: 'val' if name in val else 'train' for name in entries}


def _read(root, entry, count, seed, split):
  path, name = own_files.inside(root, entry['file']), entry['name']
  columns = own_files.read_npz(path, _FORM, 'get the file again')
  points = columns['xyz_q'] * np.float32(columns['scale_mm'])
  if not len(points):
    raise UserError(f"'{path}' has no frames; leave it out of index.json")
  valid = np.ones(len(points), bool)
  for frame in entry.get('glitch_frames', ()):
    if not 0 <= frame < len(points):
      raise UserError(f"{os.path.join(root, 'index.json')!r}: glitch_frames of {quoted(name)} has "
                      f"{frame}, and '{path}' the frames 0 to {len(points) - 1}; get both again")
    valid[frame:frame + 2] = False
  key = zlib.crc32(f'{name} {"val" if split == "val" else "train"}'.encode())
  rng = np.random.default_rng([seed, key])
  words = entry['description'].split()
  return Sequence(
    name, points, camera_pool.draw(rng, points, count), float(columns['fps']),
    subject=entry['cmu_id'].split('_')[0], action=words[0].strip(',;:()').lower() if words else '',
    family=entry['skeleton_family'], take=entry['cmu_id'].rpartition('_')[2] + '-'.join(
      sorted([name, entry.get('partner') or name])), valid=valid,
    partners=(entry['partner'],) if entry.get('partner') else ())
