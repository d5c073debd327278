"""Names as LEye, REye, LShoulder (COCO-WholeBody's, Halpe's, OpenPose's lists) or 1, 2, 3 (CVAT's default) give no mirror pairs: left and right are mixed up by the mirror augmentation and the flip test, and nobody is told."""
import json, os, pathlib, subprocess, sys, tempfile
import cv2, numpy as np

PROJECT = os.environ.get('PROJECT', os.getcwd())  # clone to test; run this with its python
NAMES = ['nose', 'left_eye', 'right_eye', 'left_shoulder', 'right_shoulder', 'left_hip', 'right_hip']
PLACE = np.array([(.5, .08), (.55, .06), (.45, .06), (.7, .25), (.3, .25), (.62, .6), (.38, .6)])


def people(n=4):
  """A COCO dict: n pictures of 96x128 with one person each."""
  images, annotations = [], []
  for i in range(1, n + 1):
    x, y, w, h = box = [18 + i, 14, 50, 100]
    joints = np.column_stack([PLACE * (w, h) + (x, y), np.full(7, 2)]).ravel().tolist()
    images.append(dict(id=i, file_name=f'{i:04d}.jpg', width=96, height=128))
    annotations.append(dict(id=i, image_id=i, category_id=1, iscrowd=0, bbox=box, area=3000.0,
                            num_keypoints=7, keypoints=joints))
  return dict(images=images, annotations=annotations, categories=[
    dict(id=1, name='person', keypoints=NAMES, skeleton=[[1, 2], [1, 3], [4, 6], [5, 7]])])


def write(root, truth, pictures=True):
  """As configs/clspet_hrnet.py finds it."""
  root = pathlib.Path(root)
  (root / 'images').mkdir(parents=True, exist_ok=True)
  for split in ('train', 'val'):
    (root / f'lspet_{split}.json').write_text(json.dumps(truth))
  for i, entry in enumerate(truth['images'] if pictures else ()):
    soft = np.random.default_rng(i).uniform(0, 255, (8, 6, 3)).astype(np.float32)
    cv2.imwrite(str(root / 'images' / entry['file_name']),
                cv2.resize(soft, (96, 128)).astype(np.uint8))
  return root


def results(truth, shift=0.0):
  """The annotated poses as a result file, moved by some pixels."""
  out = []
  for a in truth['annotations']:
    joints = np.array(a['keypoints'], float).reshape(-1, 3) + (shift, shift, 0)
    out.append(dict(image_id=a['image_id'], category_id=a['category_id'],
                    keypoints=joints.ravel().tolist(), score=0.9))
  return out


def score(root, poses, *arguments):
  """As `command` of eval.py --predictions, and the numbers (None if there are none)."""
  (root / 'poses.json').write_text(json.dumps(poses))
  code, text = command('eval', root, '--predictions', str(root / 'poses.json'), *arguments)
  found = list(root.glob('poses_eval/val*/results.json'))
  numbers = next(iter(json.loads(found[0].read_text())['results'].values())) if found else None
  return code, text, numbers


def verdict(ok, text, wanted):
  print(text[-1500:].strip())
  print('---\nwanted:', wanted)
  print('RIGHT' if ok else 'FAILS')
  sys.exit(not ok)


def command(script, root, *arguments, **environment):
  """(exit code, all that it printed) of train.py or eval.py on the set."""
  done = subprocess.run(
    [sys.executable, f'{PROJECT}/{script}.py', f'--config={PROJECT}/configs/clspet_hrnet.py',
     f'--config.data.root={root}', '--config.evals.val.metric=coco_ap', *arguments], cwd=root,
    capture_output=True, text=True, timeout=300,
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': PROJECT} | environment)
  return done.returncode, done.stdout + done.stderr


sys.path.insert(0, PROJECT)
import contextlib, io
from input_pipeline import sources
bad, shown = [], ''
for names in (['Nose', 'LEye', 'REye', 'LShoulder', 'RShoulder', 'LHip', 'RHip'],
              ['1', '2', '3', '4', '5', '6', '7'], ['鼻', '左眼', '右眼', '左肩', '右肩', '左髋', '右髋']):
  with tempfile.TemporaryDirectory() as folder:
    truth = people()
    truth['categories'][0]['keypoints'] = names
    root, said = write(folder, truth), io.StringIO()
    try:
      with contextlib.redirect_stdout(said):
        source = sources.load('coco', 'train', root=str(root),
                                     annotations='lspet_{split}.json', images='images')
      if not source.skeleton.flip_pairs and not any(
          word in said.getvalue() for word in ('mirror', 'flip', 'left', 'side')):
        code, text, _ = score(root, results(truth))
        if not any(word in text for word in ('mirror', 'flip_pairs', 'side')):
          bad.append(names[1])
    except ValueError as error:
      shown += str(error) + '\n'
verdict(not bad, shown + f'no pairs and no word for names such as {bad}',
        'pairs, or a line that says that there are none and how to give them (flip_pairs)')
