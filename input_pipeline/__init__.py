"""Data: annotated sources -> pairs of crops -> batches. NumPy, OpenCV and grain; never jax.

The training stream is a pure function of (seed, step): equal batches with any number of workers,
equal global batches on any number of hosts, and `start_step` resumes it exactly.
"""
import contextlib
import dataclasses
import gc
import importlib
import inspect
import multiprocessing
import os
import threading
import zlib

import cv2
import grain
import numpy as np
from absl import flags

from input_pipeline import occlusion, top_down
from input_pipeline.source import Source

# The occluded partner of a validation picture depends on this, the recipe, the bank and the
# annotation id.
BENCHMARK = 'c2'


def load(name: str, split: str, **options) -> Source:
  """The source that `input_pipeline/<name>.py` loads.

  Raises ValueError for a name or an option that there is not.
  """
  try:
    loader = importlib.import_module(f'{__name__}.{name}').load
  except (AttributeError, ImportError) as error:
    raise ValueError(f"data.name '{name}': no input_pipeline/{name}.py with a function load "
                     f'({error})') from None
  known = inspect.signature(loader).parameters
  for option in options:
    if option not in known:
      raise ValueError(f"data.loader: '{name}' takes {', '.join(list(known)[1:])}, not '{option}'")
  for option, parameter in known.items():
    default = parameter.default
    if default is parameter.empty and option not in ('split', *options):
      raise ValueError(f"data.loader: '{name}' needs {option}=...; it takes "
                       f"{', '.join(list(known)[1:])}")
    if isinstance(default, (int, float)) and isinstance(options.get(option), str):
      raise ValueError(f"data.loader: {option} of '{name}' is '{options[option]}', not a number")
  with _no_search_for_cycles():
    return loader(split, **options)


@contextlib.contextmanager
def _no_search_for_cycles():
  """A loader makes millions of objects; looking again and again which of them could go takes
  longer than all else."""
  was = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if was:
      gc.freeze()  # and back: what was made counts as old, and is not searched at once
      gc.unfreeze()
      gc.enable()


@dataclasses.dataclass(frozen=True)
class PairMaker:
  """Makes the sample of one person: crop, occluded partner, keypoints. Pure and picklable.

  size: (W, H) of the crops. recipe: see `occlusion.recipe`. augmentation: None for evaluation.
  unbiased: crops are cut by `top_down.udp_affine`.
  A sample holds image, occluded_image (H,W,3) uint8; keypoints (K,2) float32 crop pixels;
  visibility (K,) uint8; covered (K,) bool; row.
  """
  source: Source
  size: tuple[int, int]
  bank: object  # a PatchBank, or None where the recipe needs none
  recipe: str
  seed: int
  augmentation: top_down.Augmentation | None = None
  unbiased: bool = False

  def train(self, index: int, row: int):
    """Sample number `index` of the endless stream. An unreadable picture becomes a black one
    without labels, marked `unreadable`: the stream goes on and the loop counts and names it."""
    s = self.source
    epoch = index // len(s)
    key = [self.seed, int(s.annotation_id[row]), epoch]
    try:
      image = s.read(row)
    except OSError:
      w, h = self.size
      black = np.zeros((h, w, 3), np.uint8)
      k = s.skeleton.num_keypoints
      return {'image': black, 'occluded_image': black, 'keypoints': np.zeros((k, 2), np.float32),
              'visibility': np.zeros(k, np.uint8), 'covered': np.zeros(k, bool),
              'row': np.int32(row), 'unreadable': True}
    matrix, mirror = top_down.draw_crop(
      np.random.default_rng([*key, 0]), self.augmentation, s.center[row], s.scale[row],
      s.keypoints[row], s.visibility[row], s.skeleton.lower_body, s.picture_width(row, image),
      self.size, self.unbiased)
    sample = self._pair(image, row, matrix, mirror, np.random.default_rng([*key, 1]))
    return sample | {'unreadable': False}

  def evaluate(self, item: tuple[int, bool]):
    """The fixed sample of a row, with a mask that is False for padding.

    Raises OSError for an unreadable picture: a score over the others would be another score.
    """
    row, real = item
    s = self.source
    sample = self._pair(s.read(row), row, self.upright(row), False, benchmark_rng(s, row))
    return sample | {'mask': real}

  def upright(self, row):
    """(2,3) map from the picture of a row to its crop for evaluation."""
    cut = top_down.udp_affine if self.unbiased else top_down.affine
    return cut(self.source.center[row], self.source.scale[row], 0, self.size)

  def person(self, row, matrix, visibility) -> occlusion.Person:
    """The person of a row as recipes see it."""
    s = self.source
    return occlusion.Person(s.keypoints[row].astype(np.float64), visibility, s.box[row],
                            s.scale[row], s.skeleton, matrix, self.size)

  def _pair(self, image, row, matrix, mirror, rng):
    s = self.source
    crop = top_down.warp(image, s.crop_map(row, matrix), self.size)
    keypoints = top_down.transform(s.keypoints[row], matrix).astype(np.float32)
    visibility = s.visibility[row]
    seen = visibility
    if self.augmentation:  # hide what is left of the person, not what the crop cut off
      inside = ((keypoints >= 0) & (keypoints < self.size)).all(1)
      seen = np.where(inside, visibility, 0)
    occluded = occlusion.occlude(crop, self.person(row, matrix, seen), self.bank, rng, self.recipe)
    covered = occluded.covered
    if mirror:
      order = s.skeleton.flip_order
      keypoints, visibility, covered = keypoints[order], visibility[order], covered[order]
    return {'image': crop, 'occluded_image': occluded.image, 'keypoints': keypoints,
            'visibility': visibility, 'covered': covered, 'row': np.int32(row)}


def benchmark_rng(source: Source, row: int):
  """The generator that draws the occluded partner of a validation picture."""
  return np.random.default_rng([zlib.crc32(BENCHMARK.encode()), int(source.annotation_id[row])])


def train_dataset(maker: PairMaker, *, batch_size: int, start_step: int = 0, num_workers: int = 0,
                  process: int = 0, processes: int = 1):
  """Endless iterator over this process's part of the global batches, from `start_step`.

  batch_size: of this process. num_workers: data processes; 0 works in threads of this one.
  """
  cv2.setNumThreads(0)  # the samples of a batch run side by side; a sample is one thread's work
  dataset = (
    grain.MapDataset.source(maker.source).seed(maker.seed).shuffle().repeat()
    .map_with_index(maker.train)[process::processes]
    .batch(batch_size, drop_remainder=True)[start_step:])
  return _iterate(dataset, num_workers)


def eval_dataset(maker: PairMaker, *, batch_size: int, num_workers: int = 0, process: int = 0,
                 processes: int = 1):
  """Iterator over this process's part of the rows, every batch full, the last ones padded.

  Every process gets the same number of batches.
  """
  cv2.setNumThreads(0)
  count = len(maker.source)
  padded = -(-count // (batch_size * processes)) * batch_size * processes
  items = [(min(i, count - 1), i < count) for i in range(padded)]
  dataset = (grain.MapDataset.source(items)[process::processes].map(maker.evaluate)
             .batch(batch_size, drop_remainder=True))
  return _iterate(dataset, num_workers)


def in_order(count, work, num_workers=0):
  """Iterator over work(0), work(1), ... work(count - 1), done by so many processes; 0: here."""
  return _iterate(grain.MapDataset.range(count).map(work), num_workers)


def _iterate(dataset, num_workers):
  """Reads ahead: by worker processes, or by a few threads of this process."""
  threads = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
  iterable = dataset.to_iter_dataset(threads)
  if num_workers:
    if not flags.FLAGS.is_parsed():  # grain asks for its flags, also where no script parsed any
      flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
    iterable = iterable.mp_prefetch(options, worker_init_fn=_start_worker)
  return iter(iterable)


def _start_worker(*_):
  """A worker never touches an accelerator, should a library in it import jax, and does not outlive
  a process that was killed."""
  os.environ['JAX_PLATFORMS'] = 'cpu'
  os.environ['CUDA_VISIBLE_DEVICES'] = ''
  cv2.setNumThreads(0)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  multiprocessing.parent_process().join()
  os._exit(1)
