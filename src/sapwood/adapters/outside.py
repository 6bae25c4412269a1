"""Outside: trainers that sapwood does not come with, or the line that installs them."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from sapwood.extras import optional


def found(what: str, *names: str) -> Any:
    """The first of these modules whose package is installed; MissingExtra with the line to type if none is."""
    there = [name for name in names if find_spec(name.partition(".")[0]) is not None]
    name = (there or names)[0]
    with optional(what):
        import_module(name.partition(".")[0])  # an error names this, and not what is in it
        return import_module(name)
