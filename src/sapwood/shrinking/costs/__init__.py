"""Costs: what units take in parameters, operations, bytes and time."""
