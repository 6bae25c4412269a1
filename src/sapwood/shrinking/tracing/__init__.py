"""Tracing: the exported graph of a network, run on ids instead of numbers, and the units that are found in it."""
