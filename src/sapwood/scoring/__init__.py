"""Scoring: what is seen of a network, layer by layer, and how worth keeping each of its weights is."""
