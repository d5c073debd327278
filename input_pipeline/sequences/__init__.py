"""Sets of recorded motion by name, `load("cmu_mocap", "train", root=...)`; one set a file here."""
