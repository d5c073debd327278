"""Small files that decode to gigabytes are decoded before their size is compared with the annotation's."""
import os, sys
REPO = os.environ.get("PROJECT", os.getcwd())
sys.path.insert(0, REPO)
os.chdir(REPO)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.dont_write_bytecode = True
import pathlib, resource, struct, tempfile, time, zlib, cv2, numpy as np
from input_pipeline.sources import pictures
d = tempfile.mkdtemp()
rss = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
b = bytearray(cv2.imencode('.jpg', np.zeros((64, 64, 3), np.uint8))[1].tobytes())
i = b.find(b'\xff\xc0')
b[i + 5:i + 9] = struct.pack('>HH', 12000, 12000)
pathlib.Path(d + '/a.jpg').write_bytes(b)
chunk = lambda t, x: struct.pack('>I', len(x)) + t + x + struct.pack('>I', zlib.crc32(t + x))
z = zlib.compressobj(9)
n = 12000
data = b''.join(z.compress(b'\0' * (1 + n // 8)) for _ in range(n)) + z.flush()
pathlib.Path(d + '/a.png').write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', n, n, 1, 0, 0, 0, 0)) + chunk(b'IDAT', data) + chunk(b'IEND', b''))
bad = 0
for name in ('a.jpg', 'a.png'):
  before, t = rss(), time.time()
  try:
    pictures.read_picture(f'{d}/{name}', (64, 64))
    print('read?')
  except OSError:
    pass
  print(f'{name}, {os.path.getsize(f"{d}/{name}")} bytes, annotation says 64x64: {rss() - before:.0f} MB more, {time.time() - t:.1f} s')
  bad |= rss() - before > 200
sys.exit(bad)
