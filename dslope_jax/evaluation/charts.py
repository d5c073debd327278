"""Charts of runs and reports. matplotlib is imported when one is drawn: it takes half a second."""
import base64
import io
from typing import NamedTuple

import numpy as np


class Panel(NamedTuple):
  """Lines on one pair of axes.

  series: {name: [(x, y), ...]}; None and NaN are gaps. ticks: labels of x = 0, 1, ...
  log: of the y axis. joined: False draws points alone, side by side at each x.
  """
  title: str
  series: dict
  x_label: str = ''
  y_label: str = ''
  ticks: tuple[str, ...] = ()
  log: bool = False
  joined: bool = True


def styles(rows) -> dict:
  """{row: looks of its line} and {network: looks} of rows NETWORK/.../VIEW.

  The colour says which network it is of, dash and marker which view.
  """
  networks, views = (list(dict.fromkeys(row.rpartition('/')[i] for row in rows)) for i in (0, 2))
  looks = lambda i, j: dict(
    color=f'C{i % 10}', marker='osv^D'[(j + i // 10) % 5], linestyle=('-', '--', ':', '-.')[j % 4],
    fillstyle='none' if j else 'full', markersize=4, linewidth=1.2)
  return {network: looks(i, 0) for i, network in enumerate(networks)} | {
    row: looks(networks.index(row.rpartition('/')[0]), views.index(row.rpartition('/')[2]))
    for row in rows}


def lines(panels, looks, columns=3, size=(4.6, 3.0)):
  """A figure of panels, with one legend above if all have the same series, else one beside each.

  looks: {series: arguments of matplotlib's plot}, see `styles`. size: inches of a panel.
  """
  figure, axes = _grid(len(panels), columns, size)
  for axis, panel in zip(axes, panels, strict=True):
    for i, (name, points) in enumerate(panel.series.items()):
      x, y = np.array(points, np.float64).reshape(-1, 2).T
      form = looks.get(name, {}) | ({'marker': ''} if len(x) > 30 else {})
      if not panel.joined:
        x, form = x + 0.8 * ((i + 0.5) / len(panel.series) - 0.5), form | {'linestyle': ''}
      axis.plot(x, y, label=name, **form)
    axis.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label,
             yscale='log' if panel.log else 'linear')
    axis.locator_params('x', nbins=6)
    if panel.ticks:
      turned = sum(map(len, panel.ticks)) > 12 * size[0]
      axis.set_xticks(range(len(panel.ticks)), panel.ticks, rotation=90 if turned else 0)
    axis.grid(alpha=0.3, axis='both' if panel.joined else 'y')
    for x in range(len(panel.ticks) - 1) if not panel.joined else ():
      axis.axvline(x + 0.5, color='0.9')
  if len({tuple(panel.series) for panel in panels}) == 1:
    columns = max(2, int(figure.get_figwidth() / 2))
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside upper center', ncols=columns)
  else:
    for axis, panel in zip(axes, panels, strict=True):
      if len(panel.series) > 1:
        axis.legend(loc='center left', bbox_to_anchor=(1, 0.5))
  return figure


def stacked(rows: dict, label: str):
  """A figure with a horizontal bar per row, of parts end to end: {row: {part: value or None}}."""
  figure, (axis,) = _grid(1, 1, (9, 1.2 + 0.3 * len(rows)))
  names, left = list(rows), np.zeros(len(rows))
  for part in dict.fromkeys(part for row in rows.values() for part in row):
    width = np.nan_to_num(np.array([row.get(part) for row in rows.values()], np.float64))
    axis.barh(names, width, left=left, label=part)
    left += width
  axis.invert_yaxis()  # the first row at the top
  axis.set(xlabel=label)
  figure.legend(loc='outside upper center', ncols=6)
  return figure


def svg(figure) -> str:
  """The figure as the source of an image on a page: data:image/svg+xml;base64,..."""
  out = io.BytesIO()
  figure.savefig(out, format='svg', metadata={'Date': None})
  return 'data:image/svg+xml;base64,' + base64.b64encode(out.getvalue()).decode()


def _grid(count, columns, size):
  """(figure, its axes), `columns` in a row; figures of pyplot would never be freed."""
  from matplotlib.figure import Figure
  columns = max(1, min(columns, count))
  rows = -(-count // columns)
  figure = Figure((columns * size[0], rows * size[1] + 0.5), layout='constrained')
  axes = figure.subplots(max(rows, 1), columns, squeeze=False).ravel()
  for axis in axes[count:]:
    axis.remove()
  return figure, axes[:count]
