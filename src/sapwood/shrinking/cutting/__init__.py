"""Cutting: tensors, optimisers and modules without some units, and the proof that what is left computes the same."""
