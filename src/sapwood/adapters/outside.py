"""Outside: trainers that sapwood does not come with, or the line that installs them."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any


def found(names: Sequence[str], install: str) -> Any:
    """The first of these modules that is installed; ImportError with the line to type if none is."""
    for name in names:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):  # something that it needs is missing
                raise
    package = names[0].partition(".")[0]
    raise ModuleNotFoundError(f"{package} is not installed; type: pip install {install}", name=package)
