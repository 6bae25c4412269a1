"""Digests: what the bytes of kept files were when they were written, so that an edited number is found out.

digests.txt    SHA-256 and name, a file a line, as `sha256sum --check digests.txt` reads them, too
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from sapwood.errors import InputError
from sapwood.training import checkpoint

FILE = "digests.txt"
LINE = re.compile(r"([0-9a-f]{64})  ([^/\s]+)")
AGAIN = "take the folder from git again, or keep the results once more with report --keep"


def write(folder: Path, names: Iterable[str]) -> None:
    """Write FILE about those of the files `names` that are in `folder`. Call it when all of them are written."""
    found = [name for name in names if (folder / name).exists()]
    text = "".join(f"{_digest(folder / name)}  {name}\n" for name in found)
    checkpoint.replace(folder / FILE, text.encode())


def there(folder: Path) -> bool:
    """Whether `folder` has digests; results kept by earlier versions have none."""
    return (folder / FILE).exists()


def check(folder: Path, names: Iterable[str]) -> None:
    """Refuse a file of `folder` that is not what it was when it was kept; `names` must be among those with a digest.

    A folder without digests is not refused: nothing is known about it.
    """
    if not there(folder):
        return
    said = _read(folder / FILE)
    for name in dict.fromkeys((*names, *said)):
        if name not in said:
            raise InputError(f"{folder / FILE} has no digest of {name}, so it may have been edited; {AGAIN}")
        if _digest(folder / name) != said[name]:
            raise InputError(
                f"{folder / name} is not what was kept: {FILE} beside it has another digest, so a number in it was "
                f"edited or the file was only half written; {AGAIN}"
            )


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); {AGAIN}") from error
    said = {}
    for number, line in enumerate(lines, start=1):
        found = LINE.fullmatch(line)
        if found is None:
            raise InputError(f"line {number} of {path} is no digest and name: {line[:80]!r}; {AGAIN}")
        said[found[2]] = found[1]
    return said


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror or error}), but {FILE} beside it names it; {AGAIN}"
        raise InputError(message) from error
