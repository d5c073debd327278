"""A page to try weights on pictures, and to hide parts of the people in them.

  python tools/demo.py --weights WORKDIR [--port 7860] [--skeleton NAME] [--size WxH]

--weights: as for predict.py. Upload a picture of one person or pick a rendered one, paint over it
or choose a recipe of occluders: the networks of the weights and their mixture are shown side by
side, with their heatmaps and the numbers of each joint. The page is served to this machine only,
and needs nothing from outside of it. docs/demo.md says more; pip install -e '.[demo]' adds gradio.
"""
import argparse
import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

os.environ |= {'GRADIO_ANALYTICS_ENABLED': 'False', 'HF_HUB_DISABLE_TELEMETRY': '1'}

from dslope_jax import skeletons, trial
from dslope_jax.cli import checked, crop_size, keep_compiled, say
from dslope_jax.commands import StopSignal
from dslope_jax.errors import UserError, one_line
from dslope_jax.files import local_path

_UPLOAD = 2 ** 25  # bytes of a file
_FONTS = ['system-ui', 'sans-serif'], ['ui-monospace', 'monospace']


def page(tried: trial.Trial):
  """The page, a `gradio.Blocks`."""
  import gradio as gr
  rendered = trial.rendered_people()

  unchanged = lambda count: [gr.skip()] * count

  def show(picture, painting, *how):
    """The two rows of pictures, the table and the message."""
    try:
      found = tried(picture, *how, (painting or {}).get('layers', ()))
    except (OSError, UserError) as error:
      return *unchanged(3), one_line(error)
    rows = [[(image, title) for title, image in of.items()]
            for of in (found.clean, found.occluded)]
    return *rows, {'headers': found.columns, 'data': found.rows}, ''

  def pick(event: gr.SelectData, *how):
    picture = rendered[event.index]
    return picture, _layers(picture), *show(picture, None, *how)

  def upload(path, *how):
    try:
      picture = trial.read_upload(path)
    except OSError as error:
      return *unchanged(5), one_line(error)
    return picture, _layers(picture), *show(picture, None, *how)

  with gr.Blocks(title='Poses under occlusion', analytics_enabled=False,
                 delete_cache=(600, 3600), fill_width=True) as blocks:
    gr.Markdown('# Poses under occlusion\n' + tried.about.replace('\n', '  \n'))
    picture = gr.State(rendered[0])
    with gr.Row():
      with gr.Column(scale=1):
        file = gr.File(label='Picture of one person', type='filepath', elem_id='file')
        choice = gr.Gallery(rendered, label='or one of these', columns=6, height=130,
                            object_fit='contain', allow_preview=False, elem_id='choice')
        painting = gr.ImageEditor(_layers(rendered[0]), label='Paint over it', type='numpy',
                                  sources=(), transforms=(), elem_id='painting')
        recipe = gr.Dropdown(tried.recipes, value='severity', label='Occluders')
        severity = gr.Slider(1, 5, 3, step=1, label='Severity')
        seed = gr.Number(0, label='Seed', precision=0, minimum=0)
        button = gr.Button('Show', variant='primary', elem_id='show')
      with gr.Column(scale=2):
        message = gr.Markdown(elem_id='message')
        look = dict(columns=6, height=210, object_fit='contain')
        clean = gr.Gallery(label='Clean', elem_id='clean', **look)
        occluded = gr.Gallery(label='Occluded', elem_id='occluded', **look)
        numbers = gr.Dataframe(label='Joints of the occluded picture', interactive=False,
                               max_height=900, wrap=True, elem_id='numbers',
                               column_widths=['140px', *['80px'] * 10])
    how, results = [recipe, severity, seed], [clean, occluded, numbers, message]
    choice.select(pick, how, [picture, painting, *results])
    file.upload(upload, [file, *how], [picture, painting, *results])
    button.click(show, [picture, painting, *how], results)
    blocks.load(show, [picture, painting, *how], results)
  return blocks


def _layers(picture):
  return {'background': picture, 'layers': [], 'composite': picture}


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--weights', required=True)
  parser.add_argument('--port', type=int, default=7860)
  parser.add_argument('--skeleton', metavar='NAME', choices=skeletons.KNOWN)
  parser.add_argument('--size', type=crop_size, metavar='WxH')
  given = parser.parse_args(argv)
  with checked(), tempfile.TemporaryDirectory() as uploads:
    os.environ['GRADIO_TEMP_DIR'] = uploads  # read when gradio is imported
    _serve(given)


def _serve(given):
  """Serves the page until Ctrl-C or SIGTERM."""
  try:
    import gradio as gr
  except ModuleNotFoundError:
    raise UserError("the page needs gradio: pip install -e '.[demo]'") from None
  with trial.Trial(local_path(given.weights), given.skeleton, given.size) as tried:
    say(tried.about)
    blocks = page(tried)
    theme = gr.themes.Base(font=_FONTS[0], font_mono=_FONTS[1])
    try:
      blocks.launch(server_name='127.0.0.1', server_port=given.port, share=False, quiet=True,
                    prevent_thread_lock=True, max_file_size=_UPLOAD, ssr_mode=False, theme=theme,
                    footer_links=[])
    except OSError as error:
      raise UserError(f'port {given.port} cannot be served ({error}); choose another by '
                      '--port') from None
    say(f'open http://127.0.0.1:{given.port} in a browser; Ctrl-C ends the server')
    with StopSignal() as stopped:
      while not stopped.raised:
        time.sleep(0.2)
    blocks.close(verbose=False)


if __name__ == '__main__':
  commands.imported()
  keep_compiled()
  main()
