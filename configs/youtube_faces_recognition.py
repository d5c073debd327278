"""D-Slope on who is seen in videos: a small IResNet on crops of 48x48, for a CPU.

Command: python train.py --config configs/youtube_faces_recognition.py --config.data.root=FOLDER
  arguments after a colon: those of faces_recognition.py but 'r50' and 'r100'
Files: as for youtube_faces_hrnet.py; annotations have an identity, and a video.
A small open set, not the official protocol of YouTube Faces.
Expected and time: see docs/faces_results.md.
"""
from configs import faces_recognition


def get_config(argument=''):
  config = faces_recognition.get_config(argument)
  config.duration, config.batch_size = '2000 steps', 32
  config.system.update(dict(scale=16.0, margin=0.2))
  config.system.model.update(dict(depth=10, width=24, dim=128))
  for spec in config.optim.values():
    spec.update(dict(lr=2e-3, warmup='100 steps'))
  config.data.update(dict(name='coco', root='data/youtube_faces', size=(48, 48), num_workers=0,
                          recipe='none:1,face_severity2:1,face_severity4:1'))
  config.data.loader.update(dict(annotations='{split}.json', images='{split}', skeleton='300w'))
  config.data.bank.num_people = 300
  config.data.augmentation.update(dict(shift=0.05, scale=0.1, rotation=10.0))
  config.log_every, config.save_every, config.eval_every = '50 steps', '500 steps', '1000 steps'
  return config
