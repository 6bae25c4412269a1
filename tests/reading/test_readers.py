"""Every reader of a file: whatever became of the file, one clear error that names it, or the same bits.

SAPWOOD_MUTATIONS=20000 tries so many of each kind instead of 300.
"""

import ast
import os
import resource
import signal
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random

import mutations
import pytest
from readers import READERS, plainly, written

from sapwood.errors import InputError

SOURCE = Path(__file__).parents[2] / "src" / "sapwood"
MUTATIONS = int(os.environ.get("SAPWOOD_MUTATIONS", "300"))
pytestmark = pytest.mark.timeout(600 + MUTATIONS // 10)
SECONDS = 20  # of the processor that one file may take; whoever waits for ever is left to pytest's own clock
UNSEALED = ("trial.json", "kept", "cost", "done", "idx", "cifar10")  # files without a digest, or with it elsewhere
ROOM = 1 << 31  # bytes of memory that one file may take


@contextmanager
def bounded():
    """Time and memory as one file may take them, so that a hang or a bomb is a failure and not the end."""

    def end(*_):
        raise TimeoutError(f"more than {SECONDS} seconds")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, limits[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@cache
def good(name):
    """A reader's good files."""
    return READERS[name].make()


def outcome(name, files, folder):
    """What is read of the files; None if they are refused by name. A run's first step may import what torch needs."""
    reader = READERS[name]
    known, loaded = written(folder, files), set(sys.modules)
    try:
        with bounded():
            return reader.read(known)
    except InputError as refusal:
        said = str(refusal)
        assert str(folder) in said, f"names no file: {said}"
        assert "\n" not in said.replace(str(folder), ""), said
        assert len(said) < 2_000, said
        return None
    finally:
        new = [each for each in sys.modules.keys() - loaded if each.startswith("torch.")]
        # Torch itself imports a file or two when an error of a kind comes for the first time.
        assert len(new) < 5 or name == "state", f"{len(new)} modules were imported, as {sorted(new)[0]}"


def spoilt(name, luck):
    """The good files with one of them mutated byte by byte."""
    files = good(name)
    one = luck.choice(READERS[name].spoils or [*files])
    return files | {one: mutations.raw(files[one], luck)}


@pytest.fixture(params=READERS)
def name(request, tmp_path):
    """A reader, which has read its good files before: what is imported then is imported."""
    (tmp_path / "again").mkdir()
    (tmp_path / "files").mkdir()
    outcome(request.param, good(request.param), tmp_path / "files")
    return request.param


def test_damaged_files_are_refused_or_read_the_same(name, tmp_path):
    whole = plainly(outcome(name, good(name), tmp_path / "files"))
    assert whole != plainly(None)
    refused, sealed = 0, name not in UNSEALED or "digests.txt" in good(name)
    for seed in range(MUTATIONS):
        found = outcome(name, spoilt(name, Random(f"{name} {seed}")), tmp_path / "files")
        refused += found is None
        assert found is None or not sealed or plainly(found) == whole, f"mutation {seed}"
        if found is not None and not sealed:
            assert_written_again(name, found, tmp_path / "again", seed)
    assert refused > MUTATIONS / 4


def assert_written_again(name, found, folder, seed):
    """What was read can be written, and read again as what it was."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    again = READERS[name].again(found, folder)
    expected = [(each.about, each.sums, each.rows) for each in found] if name == "kept" else found
    assert plainly(again) == plainly(expected), f"mutation {seed}: other than it was read"


def test_forged_files_are_refused_or_are_what_could_have_been_written(name, tmp_path):
    refused = 0
    for seed in range(MUTATIONS):
        files = READERS[name].forge(good(name), Random(f"forged {name} {seed}"))
        found = outcome(name, files, tmp_path / "files")
        refused += found is None
        if found is not None:
            assert_written_again(name, found, tmp_path / "again", seed)
    assert refused > MUTATIONS / 10


# Which functions read files: what they call tells.
CALLS = ("read_bytes", "read_text", "json.loads", "schema.parse", "disk.read", "checkpoint.read", "tarfile.open")
OTHERWISE = {
    "checks.stopping": "words that it has just written",
    "checks.checkpoint": "files that it has just written",
    "trials.digests": "digests, of which one that is not there is one that is wrong",
    "study.speed": "a sentence, shown as it is",
    "study.smaller": "sentences, shown as they are",
    "study.milliseconds": "lines of a table, each looked at; tests/study/test_fewer_macs.py damages them",
    "data.files._verify": "takes the digest of the bytes",
    "data.image_folder.digest": "takes the digest of the bytes",
    "study.study._files": "looks for studies among Python files",
    "study.report._source": "the package's own page",
    "models.trained_digits": "the package's own weights, whose digest is compared",
    "study.cost": "the system's own file on memory",
    "trials.archive.copied": "copies bytes as they are",
    "trials.execution._live": "a state, which `run.start` checks, and rows that it has just written",
    "trials.elsewhere": "others' weights, whose digest is part of the trial, and which must be those of its network",
    "trials.own_code": "takes the digest of the bytes",
    "processes.alike": "what another process of the same training says of itself",
    "trials.folder._who": "the number of a process, shown if it is one",
    "trials.folder.last_words": "the last line of a traceback, shown as it is",
}


def calls(function):
    """What a function calls, as it is written there."""
    return {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}


def reads(function):
    opened = {
        ast.unparse(node)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and "open" in ast.unparse(node.func)
    }
    return any(call.endswith(CALLS) for call in calls(function)) or any("'rb'" in call for call in opened)


def readers_in(source):
    """module.function of every function that reads a file or parses what is in one."""
    for path in sorted(source.rglob("*.py")):
        module = ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and reads(node):
                yield f"{module}.{node.name}"


def missing(source):
    known = {each for reader in READERS.values() for each in reader.covers} | OTHERWISE.keys()
    return [name for name in readers_in(source) if not known & {name, name.rpartition(".")[0]}]


def test_every_function_that_reads_a_file_is_in_the_table():
    assert missing(SOURCE) == [], "give it a Reader, whose files are then mutated"


def test_the_table_names_functions_that_are_there():
    here = {
        f"{'.'.join(path.relative_to(SOURCE).with_suffix('').parts)}.{node.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert {each for reader in READERS.values() for each in reader.covers} <= here


def test_a_new_reader_is_found(tmp_path):
    (tmp_path / "new.py").write_text("import json\ndef peek(path):\n    return json.loads(path.read_text())\n")
    assert missing(tmp_path) == ["new.peek"]
