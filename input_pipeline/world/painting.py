"""A scene becomes a picture."""
import numpy as np

from input_pipeline.world import looks, rendering, surroundings


def paint(scene, view, size):
  """(H,W,3) uint8 RGB."""
  rng, camera = scene.rng, scene.camera
  image = surroundings.paint(rng, camera, size, scene.wall, scene.stand, scene.things)
  hits = rendering.surface(scene.solids, camera, view)
  light = rng.normal(0, 1, 3) * (1, 0.3, 0.4) + (0, -0.9, -0.7)  # from above, behind the camera
  color = looks.color(rng, hits, scene)
  hits = hits._replace(normal=looks.soft_normals(hits, scene))
  color = rendering.shade(hits, color, light / np.linalg.norm(light))
  image.reshape(-1, 3)[hits.place] = color.T
  return rendering.finish(image, view, rng, size)
