"""What the training data costs: pairs, the stream of batches, memory and start-up.

  python benchmarks/input_pipeline.py [--quick] [--samples 100000]

A drawn-up set in COCO's form is written to a temporary folder: JPEG pictures of 640x480, boxes of
the sizes of COCO's people. Crops are 256x192. A pair is the clean crop, the occluded one and the
flags; its floor is what nobody can save, decoding the JPEG and warping it twice. Pairs are timed by
CPU time of one thread, medians over rounds in which all take turns; the rest by the clock, so that
other jobs on the machine show: run it on an idle one.
"""
import os
import pathlib
import statistics
import sys
import tempfile
import time

import cv2
import msgspec
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import shared
from input_pipeline import geometry, sources, stream
from input_pipeline.occlusion import bank as patches
from input_pipeline.pairs import PairMaker
from input_pipeline.prepared import area as crop_area
from input_pipeline.prepared import reading as prepared
from input_pipeline.prepared import writing as preparing

SIZE = (192, 256)
RECIPES = ('published', 'none', 'mask_joints', 'instance_paste',
           *(f'severity{level}' for level in range(1, 6)))
COCO = {'people': 262_000, 'labelled': 150_000, 'pictures': 118_000}  # of train2017, about
_MB = 1e6


def rows(quick=False, samples=100_000):
  """(what, value, unit, reference, target) of all that is measured here."""
  cv2.setNumThreads(1)
  with tempfile.TemporaryDirectory() as folder:
    world = sources.load('synthetic', 'train', num_people=20 if quick else 60,
                                size=(160, 120))
    bank = patches.load_or_build(f'{folder}/bank', world, num_people=60, seed=0)
    photos = _source(f'{folder}/photos', world, (640, 480), people=60, labelled=60, pictures=60)
    yield from _pairs(photos, bank, 1 if quick else 7)
    yield from _streams(photos, bank, 6 if quick else 40)
    small = _source(f'{folder}/small', world, (64, 48), **_share(0.01 if quick else 1))
    yield from _memory(small, bank, 2_000 if quick else samples)
    del small
    yield from _start_up(f'{folder}/small')


def _share(part):
  return {name: int(count * part) for name, count in COCO.items()}


def _source(folder, world, size, **counts):
  write_coco(folder, world, size, **counts)
  return sources.load('coco', 'train2017', root=folder)


def write_coco(folder, world, size, people, labelled, pictures, seed=0):
  """A set in COCO's form of the poses of a source, in boxes of the sizes of COCO's people.

  people: annotations, the first `labelled` of which have joints. pictures: files, links to those of
  the source's people, enlarged to `size` and made noisy as photos are.
  """
  rng, scale = np.random.default_rng(seed), size[0] / 640
  height = np.exp(rng.normal(5.16, 0.69, people))  # log-normal, as on pictures 640 wide
  width = height * np.exp(rng.normal(-0.53, 0.5, people))
  side = (np.stack([width.clip(8, 600), height.clip(8, 450)], 1) * scale).clip(3)
  corner = rng.random((people, 2)) * (np.array(size) - side)
  pose = rng.integers(len(world), size=people)
  unit = (world.keypoints - world.box[:, None, :2]) / world.box[:, None, 2:]
  seen = np.where(np.arange(people)[:, None] < labelled, np.maximum(world.visibility[pose], 1), 0)
  joints = np.round(corner[:, None] + unit[pose] * side[:, None]).clip(0)
  joints = np.concatenate([joints, seen[..., None]], -1) * (seen > 0)[..., None]
  ends = np.exp(rng.normal(3.2, 0.62, people)).clip(6, 200).astype(int).cumsum().tolist()
  turn = 2 * np.pi * rng.random(ends[-1])
  whose = np.repeat(np.arange(people), np.diff(ends, prepend=0))
  outline = corner[whose] + side[whose] * (0.5 + 0.5 * np.stack([np.cos(turn), np.sin(turn)], 1))
  outline = outline.round(2).ravel().tolist()
  box, joints = np.concatenate([corner, side], 1).round(2).tolist(), joints.astype(int)
  picture = (rng.permutation(people) % pictures + 1).tolist()
  annotations = [
    {'segmentation': [outline[2 * start:2 * end]], 'area': round(0.53 * b[2] * b[3], 4),
     'iscrowd': 0, 'keypoints': k.ravel().tolist(), 'num_keypoints': int((k[:, 2] > 0).sum()),
     'image_id': image, 'bbox': b, 'category_id': 1, 'id': number}
    for number, (start, end, b, k, image) in enumerate(
      zip([0, *ends], ends, box, joints, picture, strict=False), 1)]
  images = [{'license': 3, 'file_name': f'{i:012d}.jpg', 'width': size[0], 'height': size[1],
             'coco_url': f'http://images.cocodataset.org/train2017/{i:012d}.jpg',
             'flickr_url': f'http://farm9.staticflickr.com/8186/{i}_4e622c8349_z.jpg',
             'date_captured': '2013-11-14 11:18:45', 'id': i} for i in range(1, pictures + 1)]
  category = {'id': 1, 'name': 'person', 'keypoints': list(world.skeleton.names),
              'skeleton': [[a + 1, b + 1] for a, b in world.skeleton.limbs]}
  for name in ('annotations', 'train2017', 'jpeg'):
    os.makedirs(f'{folder}/{name}')
  pathlib.Path(folder, 'annotations/person_keypoints_train2017.json').write_bytes(
    msgspec.json.encode({'images': images, 'annotations': annotations, 'categories': [category]}))
  for row in range(len(world)):
    photo = cv2.resize(world.read(row), size, interpolation=cv2.INTER_CUBIC)
    noisy = photo + np.random.default_rng(row).normal(0, 6, photo.shape)
    cv2.imwrite(f'{folder}/jpeg/{row}.jpg', np.clip(noisy, 0, 255).astype(np.uint8))
  for i, image in enumerate(images):
    os.symlink(f'../jpeg/{i % len(world)}.jpg', f'{folder}/train2017/{image["file_name"]}')


def _pairs(source, bank, rounds):
  def floor(row):
    image = cv2.imdecode(np.fromfile(source.file[row], np.uint8), cv2.IMREAD_COLOR)
    matrix = geometry.affine(source.center[row], source.scale[row], 0, SIZE)
    return geometry.warp(image, matrix, SIZE), geometry.warp(image, matrix, SIZE)

  makers = {name: _maker(source, bank, name) for name in RECIPES}
  makers['prepared'] = _maker(_prepare(source), bank)
  work = {'floor': floor} | {name: lambda row, maker=maker: maker.train(row, row)
                             for name, maker in makers.items()}
  work['reading prepared'] = makers['prepared'].source.read
  seconds = {name: [] for name in work}
  for _ in range(rounds):
    for name, function in work.items():
      before = time.process_time()
      for row in range(len(source)):
        function(row)
      seconds[name].append((time.process_time() - before) / len(source))
  cost = {name: statistics.median(values) for name, values in seconds.items()}
  yield 'floor: decode, two warps', 1e3 * cost['floor'], 'ms', '', ''
  yield ('pairs, published', 1 / cost['published'], '/s/core', f'floor {1 / cost["floor"]:.0f}',
         '>= 300')
  reading = f'of it reading {1e3 * cost["reading prepared"]:.2f} ms'
  yield 'pairs from prepared crops', 1 / cost['prepared'], '/s/core', reading, '>= 700'
  for name in RECIPES:
    share = statistics.median(np.divide(seconds[name], seconds['floor']))
    yield (f'pair, {name}', share, 'x floor', f'{1e3 * cost[name]:.2f} ms',
           '<= 1.3' if name == 'published' else '')


def _prepare(source):
  """The source as prepared crops, in a folder beside its pictures."""
  folder = os.path.join(os.path.dirname(source.folder), 'crops')
  preparing.write(source, folder, crop_area.Settings(SIZE, geometry.Augmentation()))
  return prepared.load(source.split, root=folder)


def _maker(source, bank, recipe='published', size=SIZE):
  return PairMaker(source, size, bank, recipe, 0, geometry.Augmentation())


def _streams(source, bank, count):
  """By the clock, and by the CPU time of all processes: that says what free cores would do."""
  speed, cost = {}, {}
  for workers in (0, 1, 2):
    batches = stream.train_stream(_maker(source, bank), batch_size=32, num_workers=workers)
    for _ in range(4 * max(workers, 1)):  # start-up, and what was read ahead
      next(batches)
    before, worked = time.perf_counter(), _seconds_worked()
    for _ in range(count):
      next(batches)
    passed, worked = time.perf_counter() - before, _seconds_worked() - worked
    batches.close()
    speed[workers], cost[workers] = 32 * count / passed, 1e3 * worked / (32 * count)
    yield (f'stream, {workers} workers', speed[workers], 'pairs/s',
           f'{cost[workers]:.2f} ms of CPU, {worked / passed:.2f} cores', '')
  yield 'stream, 2 workers', speed[2] / speed[1], 'x 1 worker', '', '>= 1.8 on 2 free cores'
  yield 'stream, 2 workers, by CPU time', 2 * cost[1] / cost[2], 'x 1 worker', '', '>= 1.8'


def _memory(source, bank, samples):
  """Of this process and its workers, while small pictures stream through them."""
  batches = stream.train_stream(_maker(source, bank, size=(24, 32)), batch_size=50,
                                        num_workers=2)
  for _ in range(20):
    next(batches)
  seen, used = [], []
  for step in range(samples // 50 + 1):
    if step % (samples // 500) == 0:
      own, *workers = _proportional()
      seen.append(50 * step / 1000)
      used.append(own + sum(workers))
      if not step:
        yield (f'memory at the start, {len(source)} people', used[0], 'MB',
               f'process {own:.0f}, workers {[round(w) for w in workers]}', '')
    next(batches)
  batches.close()
  yield f'memory after {samples} samples', used[-1], 'MB', f'{used[0]:.0f} at the start', ''
  yield 'memory, slope', np.polyfit(seen, used, 1)[0], 'MB / 1,000 samples', '', '0'


def _processes():
  """Folders in /proc of this process and of its data workers."""
  me = pathlib.Path('/proc', str(os.getpid()))
  yield me
  for children in (me / 'task').glob('*/children'):
    for number in children.read_text().split():
      if 'spawn_main' in pathlib.Path('/proc', number, 'cmdline').read_text():
        yield pathlib.Path('/proc', number)


def _seconds_worked():
  ticks = [(folder / 'stat').read_text().rpartition(')')[2].split()[11:13]
           for folder in _processes()]
  return sum(int(t) for pair in ticks for t in pair) / os.sysconf('SC_CLK_TCK')


def _proportional():
  """Megabytes of each of the processes, shared pages divided among those who share them."""
  texts = [(folder / 'smaps_rollup').read_text() for folder in _processes()]
  return [int(text.partition('\nPss:')[2].split()[0]) * 1024 / _MB for text in texts]


def _start_up(root):
  marks = [time.perf_counter()]
  source = sources.load('coco', 'train2017', root=root)
  marks.append(time.perf_counter())
  batches = stream.train_stream(_maker(source, None, 'none'), batch_size=32, num_workers=2)
  next(batches)
  marks.append(time.perf_counter())
  batches.close()
  path = f'{root}/annotations/person_keypoints_train2017.json'
  yield (f'annotations of {len(source)} people', marks[1] - marks[0], 's',
         f'{os.path.getsize(path) / _MB:.0f} MB', '')
  yield 'first batch, 2 workers', marks[2] - marks[1], 's', '', ''
  yield 'start-up', marks[2] - marks[0], 's', '', '< 3'


def main():
  parser = shared.parser(__doc__)
  parser.add_argument('--samples', type=int, default=100_000, help='of the memory measurement')
  given = parser.parse_args()
  shared.show(rows(given.quick, given.samples))


if __name__ == '__main__':
  main()
