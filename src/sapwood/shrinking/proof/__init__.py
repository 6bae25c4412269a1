"""Proof: that a smaller network computes the same as the whole one, in evaluation and in training."""
