"""The page in a real browser, which must need nothing from outside of this machine.

Needs gradio, the package playwright, and a Chromium that is installed; skipped without.
"""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import cv2
import numpy as np
import pytest

from tests.predict import folders

pytest.importorskip('gradio', reason='gradio is not installed')
playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
pytestmark = pytest.mark.skipif(not CHROMIUM, reason='there is no chromium')
ROOT = pathlib.Path(__file__).parent.parent.parent
_ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
              '--disable-background-networking', '--disable-component-update', '--disable-sync']
_WAIT = 60_000  # ms


@pytest.fixture(scope='module')
def address(tmp_path_factory):
  folder = tmp_path_factory.mktemp('page')
  weights = os.environ.get('DSLOPE_DEMO_WEIGHTS') or folders.make(folder)[1]
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  with open(folder / 'log', 'w') as log:
    server = subprocess.Popen(
      [sys.executable, 'tools/demo.py', '--weights', str(weights), '--port', str(port)], cwd=ROOT,
      stdout=log, stderr=subprocess.STDOUT, env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  try:
    for _ in range(_WAIT // 1000):
      if 'in a browser' in (folder / 'log').read_text() or server.poll() is not None:
        break
      time.sleep(1)
    assert server.poll() is None, (folder / 'log').read_text()
    yield f'http://127.0.0.1:{port}'
  finally:
    server.terminate()
    server.wait(30)


@pytest.fixture
def tab(address):
  """A tab with the page, all whose requests and errors are kept."""
  with playwright.sync_playwright() as started:
    browser = started.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
    tab = browser.new_page(viewport={'width': 1500, 'height': 1300})
    tab.set_default_timeout(_WAIT)
    tab.errors, tab.requests = [], []
    tab.on('console', lambda m: tab.errors.append(m.text) if m.type == 'error' else None)
    tab.on('pageerror', lambda error: tab.errors.append(str(error)))
    tab.on('request', lambda request: tab.requests.append(request.url))
    tab.goto(address)
    yield tab
    browser.close()


def sources(tab, gallery):
  return [image.get_attribute('src') for image in tab.query_selector_all(f'#{gallery} img')]


def wait_for_other(tab, gallery, before):
  """The pictures of a gallery once they are others than before, and stay for a second."""
  end, seen = time.time() + _WAIT / 1000, None
  while time.time() < end:
    now = sources(tab, gallery)
    if len(now) == 6 and set(now) != set(before) and now == seen:
      return now
    seen = now
    tab.wait_for_timeout(1000)
  raise TimeoutError(f'{gallery}: {now}')


def shot(tab, name):
  if os.environ.get('DSLOPE_SCREENSHOTS'):
    tab.wait_for_timeout(1500)
    tab.screenshot(path=os.path.join(os.environ['DSLOPE_SCREENSHOTS'], name), full_page=True)


def test_load_pick_paint_upload(tab, tmp_path):
  clean, occluded = (wait_for_other(tab, gallery, ()) for gallery in ('clean', 'occluded'))
  tab.wait_for_selector('#numbers >> text=nose')
  shot(tab, 'load.png')

  tab.click('#choice button >> nth=2')
  clean = wait_for_other(tab, 'clean', clean)
  shot(tab, 'pick.png')

  canvas = tab.wait_for_selector('#painting canvas').bounding_box()
  middle = canvas['x'] + canvas['width'] / 2, canvas['y'] + canvas['height'] / 2
  tab.mouse.move(middle[0] - 30, middle[1])
  tab.mouse.down()
  tab.mouse.move(middle[0] + 30, middle[1] + 20, steps=8)
  tab.mouse.up()
  occluded = sources(tab, 'occluded')
  tab.click('#show')
  occluded = wait_for_other(tab, 'occluded', occluded)
  assert sources(tab, 'clean') == clean
  shot(tab, 'paint.png')

  (tmp_path / 'broken.jpg').write_bytes(b'\xff\xd8\xff no picture')
  tab.set_input_files('#file input', tmp_path / 'broken.jpg')
  tab.wait_for_selector("#message >> text=picture 'broken.jpg' is broken")
  tab.wait_for_timeout(1000)
  assert tab.is_visible("#message >> text=picture 'broken.jpg' is broken")  # it stays
  assert sources(tab, 'occluded') == occluded
  shot(tab, 'broken.png')
  tab.click('#file button[aria-label=Clear], #file button[aria-label="Remove this file"]')
  cv2.imwrite(str(tmp_path / 'own.png'), np.full((300, 200, 3), 120, np.uint8))
  tab.set_input_files('#file input', tmp_path / 'own.png')
  wait_for_other(tab, 'clean', clean)
  shot(tab, 'upload.png')
  assert tab.errors == []
  outside = [url for url in tab.requests if not re.match(r'http://127\.0\.0\.1:|data:|blob:', url)]
  assert outside == []


def test_only_this_machine_is_served(address):
  port = int(address.rpartition(':')[2])
  urllib.request.urlopen(address).read()
  own = [entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
  for host in {host for host in own if not host.startswith('127.')}:
    with pytest.raises(OSError):
      socket.create_connection((host, port), 5)
