"""Drawn faces: who it is and how it is seen come from generators of their own."""
import numpy as np

from input_pipeline.world import faces

SIZE = (96, 96)
POINTS_OF_7 = [(65.02293118, 89.19502149), (53.88436816, 57.04739603), (28.35604572, 47.78764525),
               (45.89855986, 73.22028196)]


def test_the_faces_of_alignment_are_a_fixed_stream():
  """Points that were drawn before identities were told from conditions."""
  found = faces.face(np.random.default_rng(7), SIZE)
  np.testing.assert_allclose(found.keypoints[[8, 30, 36, 48]], POINTS_OF_7, atol=1e-6)


def test_a_person_keeps_form_and_colours_in_all_pictures():
  who = faces.identity(np.random.default_rng(1))
  seen = [faces.nuisance(np.random.default_rng(n), SIZE)._replace(
    turn=np.eye(3), unit=20.0, middle=np.array([48.0, 40.0])) for n in range(8)]
  found = [faces.draw(who, how, SIZE) for how in seen]
  moving = np.r_[48:68]  # the mouth
  for face in found:
    np.testing.assert_array_equal(face.keypoints[:48], found[0].keypoints[:48])
    np.testing.assert_array_equal(face.layers[0].color, found[0].layers[0].color)
  assert np.ptp([face.keypoints[moving] for face in found], 0).max() > 2
  assert len({len(face.layers) for face in found}) > 1  # some wear glasses


def test_people_differ_in_every_part_of_the_face():
  how = faces.nuisance(np.random.default_rng(0), SIZE)._replace(turn=np.eye(3), unit=20.0)
  points = np.array([faces.draw(faces.identity(np.random.default_rng(n)), how, SIZE).keypoints
                     for n in range(20)])
  spread = points.std(0).max(1)
  for part in (np.r_[1:16], np.r_[17:27], np.r_[28:36], np.r_[36:48], np.r_[48:60]):
    assert spread[part].mean() > 0.5, part
  colors = [faces.identity(np.random.default_rng(n)).colors for n in range(20)]
  for what in ('skin', 'hair', 'eye'):
    assert np.std([c[what] for c in colors], 0).mean() > 8


def test_a_worse_picture_is_coloured_and_less_sharp():
  image = np.tile(np.array([0, 255], np.uint8).repeat(3).reshape(1, 2, 3), (40, 20, 1))
  worse = [faces.worsen(image, np.random.default_rng(n)) for n in range(10)]
  for found in worse:
    assert found.shape == image.shape and found.dtype == np.uint8
  contrast = [np.abs(np.diff(found.astype(int), axis=1)).mean() for found in worse]
  assert max(contrast) < 240
  means = np.array([found.reshape(-1, 3).mean(0) for found in worse])
  assert np.ptp(means, 1).max() > 5
