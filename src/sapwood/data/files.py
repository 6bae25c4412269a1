"""Files of a data set: found in a local folder or the cache, or downloaded when that was asked for; always checksummed.

Looked at in this order: `$SAPWOOD_DATA/<folder>`, the cache `$XDG_CACHE_HOME/sapwood/<folder>`
(`~/.cache/sapwood/<folder>` where that is unset), and last the mirrors, whose files go into the cache.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from uuid import uuid4

from sapwood.errors import InputError

CHUNK = 1 << 18  # bytes between two calls of `progress`
TIMEOUT = 30  # seconds without an answer before a mirror is given up

Progress = Callable[[int, int | None], None]  # (bytes done, bytes in all or None when not said); from 0 for each file


class MissingData(InputError):
    """A data set's files are in none of the places and nobody asked for a download."""


def find(
    folder: str,
    files: Mapping[str, str],
    urls: Sequence[str],
    *,
    download: bool = False,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Where each of `files` {name: SHA-256} lies, each with its checksum; missing ones are fetched if `download`."""
    paths = {name: _look(folder, name) for name in files}
    missing = [name for name, path in paths.items() if path is None]
    if missing and not download:
        raise _missing(folder, missing, len(files), urls)
    for name, path in paths.items():
        if path is not None:
            _verify(path, files[name], urls)
    return {name: path or _download(name, files[name], urls, cache(folder), progress) for name, path in paths.items()}


def find_form(
    folder: str,
    forms: Sequence[Mapping[str, str]],
    urls: Sequence[str],
    *,
    download: bool = False,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """`find` for what comes in several forms: the first that is there whole, else the last, which mirrors have."""
    whole = next((form for form in forms if all(_look(folder, name) for name in form)), forms[-1])
    try:
        return find(folder, whole, urls, download=download, progress=progress)
    except MissingData as missing:
        others = " or ".join(_told(folder, form) for form in forms[:-1])
        raise MissingData(f"{missing}; what would do as well: {others}") from None


def cache(folder: str) -> Path:
    """Where downloaded files of a data set are kept."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(chosen) if os.path.isabs(chosen) else Path("~/.cache").expanduser()  # XDG: relative ones do not count
    return base / "sapwood" / folder


def _local(folder: str) -> Path | None:
    """The data set's folder under $SAPWOOD_DATA, if that is set."""
    chosen = os.environ.get("SAPWOOD_DATA")
    return Path(chosen).expanduser() / folder if chosen else None


def _look(folder: str, name: str) -> Path | None:
    places = [place for place in (_local(folder), cache(folder)) if place is not None]
    return next((place / name for place in places if os.path.isfile(place / name)), None)


def _told(folder: str, form: Mapping[str, str]) -> str:
    """A form that is not whole: its files, and which of them are not there if others are."""
    gone = [name for name in form if _look(folder, name) is None]
    return ", ".join(form) + (f" (not found: {', '.join(gone)})" if len(gone) < len(form) else "")


def _missing(folder: str, names: Sequence[str], of: int, urls: Sequence[str]) -> MissingData:
    local, way = _local(folder), f", or run with --download to fetch them from {' or '.join(urls)}" if urls else ""
    return MissingData(
        f"data set {folder!r}: {len(names)} of {of} files not found ({', '.join(names)}); "
        f"looked in $SAPWOOD_DATA ({local or 'not set'}) and the cache ({cache(folder)}); "
        f"put them into one of these{way}"
    )


def _verify(path: Path, expected: str, urls: Sequence[str]) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if found != expected:
        raise InputError(
            f"{path} is damaged or another version: its SHA-256 is {found}, expected {expected}; "
            f"{'delete it and run with --download, or ' if urls else ''}put the official file there"
        )


def _download(name: str, expected: str, urls: Sequence[str], into: Path, progress: Progress | None) -> Path:
    """The file, fetched from the first of the mirrors that serves it whole."""
    reasons = []
    for url in urls:
        address = f"{url.rstrip('/')}/{name}"
        try:
            return _fetch(address, expected, into / name, progress)
        except (OSError, HTTPException) as error:
            reasons.append(f"{address}: {_reason(error)}")
    raise InputError(f"cannot download {name}; {'; '.join(reasons)}; try again, or put the file into {into}")


def _fetch(address: str, expected: str, target: Path, progress: Progress | None) -> Path:
    """Stream to a file beside the target, which takes its place only when it is whole and right."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        found = _stream(address, beside, progress or (lambda done, total: None))
        if found != expected:
            raise OSError(f"what it serves has SHA-256 {found}, expected {expected}")
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def _stream(address: str, to: Path, progress: Progress) -> str:
    """Write what the address serves; the SHA-256 of it."""
    digest, done = hashlib.sha256(), 0
    with urlopen(Request(address, headers={"User-Agent": "sapwood"}), timeout=TIMEOUT) as answer, to.open("xb") as file:
        length = answer.headers["Content-Length"]
        total = int(length) if length and length.isdecimal() and length.isascii() else None
        progress(0, total)
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    if total is not None and done != total:
        raise OSError(f"the connection broke off after {done} of {total} bytes")
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        error.close()
        return f"HTTP status {error.code} ({error.reason})"
    return str(error.reason if isinstance(error, URLError) else error) or type(error).__name__
