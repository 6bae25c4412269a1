"""Anew: what a run over the ids says when it has to be made again."""


class Anew(Exception):
    """A rule has failed in the middle of a run. The next run pins its operator from the start, so that ids agree."""
