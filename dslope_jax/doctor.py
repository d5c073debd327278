"""All checks, fast and slow, of the sets that a config names; their report and contact sheet."""
import os
from typing import NamedTuple

import cv2
import numpy as np

from dslope_jax import own_files, plausibility, tasks
from dslope_jax.errors import UserError, one_line
from dslope_jax.evaluation import drawing
from dslope_jax.plausibility import Finding
from dslope_jax.tasks import people, recognition
from input_pipeline import face_crops, geometry, identities, sources
from input_pipeline.doctor import identities as identities_of_pictures
from input_pipeline.doctor import looks, poses, splits
from input_pipeline.doctor.suspects import Suspects
from input_pipeline.sources.checks import without_pictures
from input_pipeline.sources.source import Source

_CELL, _COLUMNS = 128, 8  # of the contact sheet


class Diagnosis(NamedTuple):
  """What was found in a set; source: None if it cannot be loaded."""
  source: Source | None
  suspects: list[Suspects]


def examine(config, pictures=True, num_workers=0) -> dict[str, Diagnosis]:
  """{'NAME SPLIT': what was found} of the training set and all validation sets of a config.

  pictures: whether they are decoded; without them a set needs its annotations only. Raises
  UserError for a task whose sets are of another kind.
  """
  if getattr(tasks.module(config.task), 'SETS', sources) not in (sources, identities):
    raise UserError(f"the doctor looks at sets of people in crops and of faces; those of the task "
                    f"'{config.task}' are checked whenever they are loaded, as by tools/browse.py")
  found, of, trained = {}, {}, None
  wanted = [(config.data.train_split, None)] * bool(config.data.train_split) + [
    (entry.split, entry.data) for entry in config.evals.values()]
  for i, (split, data) in enumerate(wanted):
    name = f'{(data and data.name) or config.data.name} {split}'
    if name in found and not (data and (data.name or data.root or data.loader)):
      continue
    while name in found:
      name += ' (other)'
    found[name] = _examine(config, split, data, pictures)
    source = found[name].source
    if source is None:
      continue
    of[name] = looks.look(source, num_workers) if pictures else None
    if pictures:
      found[name].suspects.extend(looks.check(source, of[name]))
      if config.task == 'recognition':
        found[name].suspects.extend(identities_of_pictures.check(source, of[name]))
    if trained is None and i == 0 and data is None:
      trained = name
    elif trained:
      train = found[trained].source
      found[name].suspects.extend(splits.check(train, source) + (
        looks.check_pair(train, of[trained], source, of[name]) if pictures else []))
  return found


def _examine(config, split, data, pictures):
  try:
    if config.task == 'recognition':
      return _examine_faces(config, split, data, pictures)
    if pictures:
      source = people.read_source(config, split, data)
      source.need_pictures('the doctor')
    else:
      with without_pictures():
        source = people.read_source(config, split, data)
  except plausibility.ImplausibleError as error:
    return Diagnosis(None, _without_rows(error.findings))
  except (OSError, UserError) as error:
    return Diagnosis(None, _without_rows([Finding(
      'set-unreadable', 'error', one_line(error), 1, (), 'the set was not examined')]))
  return Diagnosis(source, _without_rows(source.findings) + poses.check(source))


def _examine_faces(config, split, data, pictures):
  """Landmarks are checked when a set is loaded; many have none."""
  if not pictures:
    raise UserError('sets of faces with identity are looked at in their pictures; leave '
                    '--no_pictures away')
  found = recognition.load(config, split, data)
  return Diagnosis(face_crops.as_source(found, np.arange(len(found))), [])


def _without_rows(findings):
  return [Suspects(found, np.zeros(0, np.int64)) for found in findings]


def line(found: Finding) -> str:
  """One line of the report."""
  what = 'picture' if found.kind.startswith('pictures') else 'annotation'
  return one_line(f'{found.severity}: {found.kind}: {plausibility.line(found, what)}')


def write(found: dict[str, Diagnosis], folder):
  """findings.json and, where there is something to look at, contact_sheet.jpg."""
  os.makedirs(folder, exist_ok=True)
  own_files.write_json(os.path.join(folder, 'findings.json'), {
    name: [s.finding._asdict() for s in of.suspects] for name, of in found.items()})
  strips = [strip for name, of in found.items() for s in of.suspects if len(s.rows)
            for strip in _strip(f'{name}: {s.finding.kind}', of.source, s.rows)]
  if strips:
    drawing.save(os.path.join(folder, 'contact_sheet.jpg'), np.vstack(strips))


def _strip(title, source, rows):
  """A line of text, and the first people of a finding, with their joints and boxes."""
  head = np.full((18, _CELL * _COLUMNS, 3), 60, np.uint8)
  cv2.putText(head, f'{title} ({len(rows)})', (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255,) * 3,
              1, cv2.LINE_AA)
  cells = [_cell(source, int(row)) for row in rows[:_COLUMNS]]
  cells += [np.full((_CELL, _CELL, 3), 255, np.uint8)] * (_COLUMNS - len(cells))
  return head, np.hstack(cells)


def _cell(source, row):
  labelled = source.labelled[row]
  try:
    image = source.read(row)
  except OSError:
    image = np.full((8, 8, 3), 128, np.uint8)
  size = (_CELL, _CELL)
  side = max(source.scale[row].max(), 0.05)
  matrix = geometry.crop_affine(source.center[row], np.full(2, 1.2 * side), 0, size, False)
  crop = geometry.warp(image, matrix, size)
  crop = drawing.draw_pose(crop, geometry.transform(source.keypoints[row], matrix), labelled,
                           source.skeleton)
  cv2.putText(crop, str(source.annotation_id[row]), (2, 124), cv2.FONT_HERSHEY_PLAIN, 0.8,
              (255, 255, 0), 1)
  return crop
