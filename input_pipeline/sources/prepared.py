"""Person crops that `tools/prepare_crops.py` wrote, as a data set of their own to evaluate."""
from input_pipeline.prepared.reading import load  # noqa: F401 - what every source offers
