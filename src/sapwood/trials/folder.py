"""Folder: what a trial's folder says - whose it is, whether it is over, what it found - each file read in one way.

Who works in a folder holds a lock on it, which goes with the process however it ends, and says in `running` who it is.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch import Tensor

from sapwood import disk, schema
from sapwood.errors import InputError
from sapwood.export.network import tensors_of
from sapwood.export.packed import is_network
from sapwood.training import checkpoint
from sapwood.trials.rows import Row, rows_in
from sapwood.trials.trial import id_of

try:
    import fcntl
except ImportError:  # Windows; two processes on one trial are then not noticed
    fcntl = None  # type: ignore[assignment]

OVER = ("done", "kept")  # the files that say so
WEIGHTS = "weights.safetensors"  # see `study.left`
LOCK = ".lock"  # only where a folder cannot be locked

LIFE = schema.record(
    {name: schema.text for name in ("sapwood", "python", "torch", "numpy", "device", "started")}
    | {"commit": schema.optional(schema.text), "threads": schema.whole(1)},
    rest=schema.plain,
)
IDENTITY = schema.record(
    {"method": schema.text, "task": schema.text, "seed": schema.whole(), "options": schema.mapping(schema.option)},
    {
        "uses": schema.mapping(schema.text),
        "traces": schema.items(schema.text),
        "recipe": schema.mapping(schema.option),
        "drawn": schema.mapping(schema.whole()),
    },
)
ABOUT = schema.record({
    "id": schema.text, "row": schema.text, "method": schema.text, "task": schema.text, "seed": schema.whole(),
    "options": schema.mapping(schema.option), "identity": IDENTITY, "data": schema.text,
    "provenance": schema.items(LIFE),
}, rest=schema.plain)  # fmt: skip
LENGTH = {"seconds": schema.number, "steps": schema.whole(), "epochs": schema.number}
SUMS = schema.record(LENGTH, {"rows": schema.text}, rest=schema.plain)
TENSORS = schema.mapping(lambda value, where: schema.demand(isinstance(value, Tensor), where, value, "a tensor"))
LEFT_PARTS = {"model": TENSORS, "masks": TENSORS}
LEFT = schema.record(LEFT_PARTS)


class Busy(InputError):
    """Another process works in the folder."""


def check_about(about: Any) -> None:
    """`schema.Unexpected` unless these are the words of a trial, and those of its own identity."""
    ABOUT(about, "it")
    identity = about["identity"]
    found = id_of(identity)
    schema.demand(about["id"] == found, "id", about["id"], f"{found}, the digest of its identity")
    for name in ("method", "task", "seed"):
        own = identity[name] if name == "seed" else identity[name].partition("@")[0]
        schema.demand(about[name] == own, name, about[name], f"{own} as in its identity")
    for name, value in (identity["options"] | identity.get("recipe", {})).items():
        said = about["options"].get(name)
        schema.demand(
            (type(said), said) == (type(value), value), f"options[{name!r}]", said, f"{value!r} as in its identity"
        )


def check_sums(about: Any) -> None:
    """`schema.Unexpected` unless this is what a trial took."""
    SUMS(about, "it")
    schema.demand(min(about[name] for name in LENGTH) >= 0, "it", about, "numbers of 0 or more")


def read_trial(folder: Path) -> dict[str, Any]:
    """What trial.json says."""
    return _checked(folder / "trial.json", check_about)


def _checked(path: Path, check: Callable[[Any], None]) -> dict[str, Any]:
    """What a file of a trial says; an InputError unless `check` passes it."""
    try:
        about: dict[str, Any] = schema.parse(disk.read(path))
        check(about)
    except schema.Unexpected as error:
        raise InputError(f"{path} is damaged ({error}); delete {path.parent} and run the trial again") from error
    return about


def finished(folder: Path) -> bool:
    """Whether the trial in `folder` is over and its weights are there for others to go on from."""
    return disk.there(folder / "done") and disk.there(folder / WEIGHTS)


def over(folder: Path) -> bool:
    """Whether all rows of the trial in `folder` are there: it was run to its end, here or where it was kept."""
    return any(disk.there(folder / name) for name in OVER)


def _ending(folder: Path) -> dict[str, Any]:
    path = next((folder / name for name in OVER if disk.there(folder / name)), None)
    return {} if path is None else _checked(path, check_sums)


def sums(folder: Path) -> dict[str, float]:
    """The seconds, steps and epochs that the trial in `folder` took; nothing unless it is over."""
    return {name: value for name, value in _ending(folder).items() if name in LENGTH}


def sealed(folder: Path) -> bool:
    """Whether there is a digest of the rows of the trial in `folder`, which is over; earlier versions took none."""
    return "rows" in _ending(folder)


def rows_of(folder: Path) -> list[Row]:
    """The rows of the trial in `folder`: none without a file, and those that its end has the digest of if it is over.

    Results of earlier versions have no digest and are read without: `sealed` tells.
    """
    path = folder / "rows.jsonl"
    content = disk.read(path) if disk.there(path) else b""
    if over(folder) and _ending(folder).get("rows", digest(content)) != digest(content):
        raise InputError(
            f"{path} is damaged: its content does not match the digest that was taken when the trial was over; "
            f"delete {folder} and run the trial again, or restore it from where it was kept"
        )
    return rows_in(content, path)


def digest(content: bytes) -> str:
    """What tells one file of rows from another."""
    return blake2b(content, digest_size=16).hexdigest()


def ending(found: Mapping[str, float], rows: bytes) -> dict[str, Any]:
    """What the file that says a trial is over holds: what it took, and the digest of its rows."""
    return {**found, "rows": digest(rows)}


def in_json(value: Any) -> bytes:
    """A file of words."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def weights_of(folder: Path) -> dict[str, dict[str, Tensor]]:
    """What weights.safetensors holds: the state_dict under "model", and "masks"."""
    path = folder / WEIGHTS
    if tells_its_network(folder):
        return dict(zip(LEFT_PARTS, tensors_of(path), strict=True))
    saved = checkpoint.read(path)
    try:
        LEFT(saved, "it")
    except schema.Unexpected as error:
        raise InputError(
            f"{path} holds no finished network ({error}); delete {folder} and run the trial again"
        ) from error
    return saved


def tells_its_network(folder: Path) -> bool:
    """Whether the trial's network was rebuilt, and its file tells how: `export.save` wrote it."""
    path = folder / WEIGHTS
    return disk.there(path) and is_network(disk.read(path))


def last_words(folder: Path) -> str:
    """The last line of what the trial in `folder` failed with; "" when it did not fail."""
    path = folder / "failed"
    if not disk.there(path):
        return ""
    lines = disk.read(path).decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "why was not written down: was the disk full?")


def make_folder(folder: Path) -> None:
    """Make the folder exist; InputError unless files can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot make the folder {folder}: {disk.reason(error)}; choose another results folder"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"nothing can be written in the folder {folder}; choose another results folder")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one process works in a folder at a time; the lock goes with the process, however it ends."""
    lock = _Lock(folder) if fcntl is not None else None
    mine = folder / "running"
    try:
        forget(folder.glob(".*.*[0-9]"))  # files that a killed process was writing
        checkpoint.replace(mine, f"{os.getpid()}\n".encode())
        yield
    finally:
        forget([mine])
        if lock is not None:
            lock.release()


class _Lock:
    """The folder itself, locked; on a network file system, which locks only what can be written, a file in it."""

    def __init__(self, folder: Path) -> None:
        self._file: Path | None = None
        try:
            self._handle = self._locked(folder, folder, os.O_RDONLY)
        except OSError as error:
            if error.errno != errno.EBADF:  # what NFS says of a folder
                raise _unlocked(folder, error) from error
            self._file = folder / LOCK
            try:
                self._handle = self._locked(folder, self._file, os.O_RDWR | os.O_CREAT)
            except OSError as other:
                raise _unlocked(folder, other) from other

    @staticmethod
    def _locked(folder: Path, path: Path, how: int) -> int:
        """An open and locked handle; Busy if somebody else has the lock, or had it and took the file away just now."""
        try:
            handle = os.open(path, how)
        except OSError as error:
            raise disk.unwritten(f"use the folder {folder}", error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
        raise Busy(f"another process{_who(folder)} is running the trial in {folder}; wait for it or end it")

    def release(self) -> None:
        """Give the lock back; whoever opened the file meanwhile notices that it is gone."""
        if self._file is not None:
            forget([self._file])
        os.close(self._handle)


def _unlocked(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot lock the folder {folder}: {disk.reason(error)}; choose a results folder on another file system"
    )


def _who(folder: Path) -> str:
    """The number of the process that has the lock, if it had the time to write it down."""
    with suppress(InputError):
        said = disk.read(folder / "running").strip()
        return f" ({said.decode()})" if said.isdigit() else ""
    return ""


def forget(paths: Iterable[Path]) -> None:
    """Take files away that are of no use, as far as that can be done."""
    with suppress(OSError):
        for path in paths:
            path.unlink(missing_ok=True)
