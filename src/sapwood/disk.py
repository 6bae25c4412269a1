"""Disk: whole files read and replaced, each failure in one error that names the file and what to do about it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sapwood.errors import InputError

SPACE, PLACE = "free some space", "choose a folder that can be written"
TODO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"{SPACE} or {PLACE}"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), PLACE),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "close some files or raise the limit, ulimit -n"),
    **dict.fromkeys(
        (errno.EEXIST, errno.EISDIR, errno.ENOTDIR),
        "a file is where a folder should be, or the other way; give another name",
    ),
    errno.EFBIG: f"raise the limit of a file's size, ulimit -f, or {PLACE}",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOENT: "its folder is not there, or no longer; make it again",
}


def reason(error: Exception) -> str:
    """What went wrong, without Python's number and the file's name, which the message has already."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def unwritten(what: str, error: Exception) -> InputError:
    """The error for something that cannot be written or made: `what` says it, with its name."""
    otherwise = f"{SPACE} or {PLACE}" if isinstance(error, OSError) else "give another name"
    return InputError(f"cannot {what}: {reason(error)}; {TODO.get(getattr(error, 'errno', None) or 0, otherwise)}")


def there(path: Path) -> bool:
    """Whether there is something called so; False for what no file can be called, as names that are too long."""
    return os.path.exists(path)


def read(path: Path, what: str = "", advice: str = "check its name") -> bytes:
    """The bytes of a file, which errors call `what` and its path; what is no plain file, as a pipe, is refused."""
    called = f"{what} {path}".strip()
    try:
        if there(path) and not path.is_file() and not path.is_dir():
            raise InputError(f"cannot read {called}: it is no plain file; give another")
        return path.read_bytes()
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise InputError(f"cannot read {called}: {reason(error)}; {advice}") from error


def replace(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: written beside, flushed to disk, renamed; nothing is left on failure."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write and read, which takes the place of `path` in one step when all is written; not on failure."""
    _refuse_what_is_no_file(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except (OSError, ValueError) as error:
        _forget(beside)
        raise unwritten(f"write {path}", error) from error
    except BaseException:
        _forget(beside)
        raise


def _refuse_what_is_no_file(path: Path) -> None:
    """A rename would put a file in the place of a device, as of /dev/null, where one may do so."""
    if not path.name:
        raise InputError(f"cannot write {str(path)!r}: it is no name of a file; give one")
    if there(path) and not path.is_file() and not path.is_dir():
        raise InputError(f"cannot write {path}: it is a device or a pipe, not a plain file; give another name")


def _forget(path: Path) -> None:
    with suppress(OSError, ValueError):  # where nothing can be written, there may be nothing to take away
        path.unlink(missing_ok=True)
