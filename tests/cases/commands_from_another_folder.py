"""tools/prepare_crops.py and tools/export_benchmark.py, run where the working directory is another than the clone."""
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


def verdict(ok, text, wanted):
  print(text[-1500:].strip())
  print('---\nwanted:', wanted)
  print('RIGHT' if ok else 'FAILS')
  sys.exit(not ok)


with tempfile.TemporaryDirectory() as folder:
  root, bad, text = write(folder, people()), [], ''
  for tool in ('prepare_crops', 'export_benchmark'):
    # The scripts find the packages beside them, wherever they are run from.
    done = subprocess.run([sys.executable, f'{PROJECT}/tools/{tool}.py', '--verify', f'{root}/none'],
                          capture_output=True, text=True, cwd=root,
                          env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
                          | {'JAX_PLATFORMS': 'cpu'})
    text += done.stderr[-300:]
    if 'Traceback' in done.stderr or 'ModuleNotFoundError' in done.stderr or not done.stderr:
      bad.append(tool)
  verdict(not bad, text, f"the command's own answer (here: nothing to verify); broken: {bad}")
