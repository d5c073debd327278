"""One HTML page of everything that an evaluation left in its folder."""
import json
import os

from dslope_jax.evaluation import html_report


def write(folder, evaluator=None, count=50) -> str:
  """Writes report.html to a folder EVAL_STEP/ENTRY; returns its path.

  evaluator: where given, the worst cases are shown with their pictures.
  """
  data = {}
  for name in ('stress', 'report', 'results'):  # the last one's stamp says most
    path = os.path.join(folder, f'{name}.json')
    if os.path.exists(path):
      with open(path, encoding='utf-8') as f:
        data |= json.load(f)
  stamp = data['stamp']
  page = {'title': f"{stamp['data']} {stamp['split']}: {stamp.get('recipe', '')}", 'stamp': stamp,
          'results': data['results'], 'report': {k: v for k, v in data['report'].items() if v},
          'stress': data.get('stress', {}), 'reliability': _reliability(data.get('reliability')),
          'per_joint': evaluator.per_joint() if evaluator else {},
          'worst': evaluator.worst(count) if evaluator else []}
  path = os.path.join(folder, 'report.html')
  html_report.write(path, {k: v for k, v in page.items() if v})
  return path


def _reliability(trust):
  """{'network/kind': {'ece', 'rows': [[confidence, accuracy, count], ...]}}."""
  return {name: {'ece': found['right']['ece'],
                 'rows': [[r['confidence'], r['accuracy'], r['count']]
                          for r in found['right']['rows']]}
          for name, found in (trust or {}).items()}
