"""What is known of a keypoint, its code v: COCO's 0, 1 and 2, and 3 for outside of the picture."""
HIDDEN, VISIBLE, OUTSIDE = 1, 2, 3  # 0: not labelled
# What is said of a predicted joint: its place is right, it is in sight, it is in the picture.
PROBABILITIES = 'right', 'visible', 'present'


def is_labelled(visibility):
  """Whether keypoints have a place in their picture, v = 1 or 2; arrays of NumPy or JAX.

  Places of v = 3 are outside of the picture, and not every program writes them: only Ex-OKS and
  the number `present` know of such keypoints.
  """
  return (visibility == HIDDEN) | (visibility == VISIBLE)
