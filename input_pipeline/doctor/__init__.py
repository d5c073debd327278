"""Slow checks of a set of annotated people: what takes every picture, or all poses at once."""
