"""Trials: what runs - one method on one task with one seed, in a folder of its own; and the archives kept in git."""
