"""Reconstruction: what is left of a layer, worked out anew so that it gives what the whole one gave."""
