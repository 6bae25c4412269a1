"""Cutting: tensors, optimisers and modules without some units."""
