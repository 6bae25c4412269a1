"""Trouble around a trial: full disks, killed parents, two at once, folders gone or locked: one error, nothing lost."""

import errno
import fcntl
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from functools import wraps
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy import Interrupted, dying_after, gone, gone_on_with, little_room, small, square, undisturbed

from sapwood import checkpoint, disk
from sapwood.cli import running
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.trials import folder as study_folder
from sapwood.trials.execution import run_trial
from sapwood.trials.folder import Busy, alone, last_words, make_folder, over, rows_of, sealed, sums
from sapwood.trials.pool import processes
from sapwood.trials.rows import Row, RowFile, read_rows

HERE = Path(__file__).parent
PATIENCE = 240  # seconds for what takes one or two on a free machine


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux which processes there are")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent_idle_or_busy_and_what_they_did_is_gone_on_with(tmp_path, how):
    parent = subprocess.Popen([sys.executable, HERE / "orphans.py", tmp_path])
    until(lambda: (tmp_path / "busy").exists() and (tmp_path / "idle.seen").exists())
    until(lambda: all((tmp_path / name).read_text() for name in ("idle", "busy")))
    workers = [int((tmp_path / name).read_text()) for name in ("idle", "busy")]
    assert not any(map(gone, workers))
    parent.send_signal(how)
    parent.wait()
    until(lambda: all(map(gone, workers)))
    assert not (tmp_path / "busy.over").exists()
    assert checkpoint.read(tmp_path / "trial" / "state.safetensors")["step"] > 0
    assert gone_on_with(tmp_path / "trial") == undisturbed()


class Full:
    """A file on a disk on which so many bytes are left."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.file.write(bytes(content)[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


ROW = Row(1, 1, 0, "train", "loss", 0.25)


def test_rows_on_a_full_disk_are_one_error_and_whole_up_to_there(tmp_path):
    line = len(json.dumps(ROW._asdict())) + 1
    with RowFile(tmp_path / "rows.jsonl") as rows:
        rows._file = Full(rows._file, 2 * line + line // 2)
        with pytest.raises(InputError, match=r"cannot write .*rows\.jsonl: No space left on device; free some space"):
            rows.write(ROW, ROW, ROW)
    assert read_rows(tmp_path / "rows.jsonl") == [ROW, ROW]


def test_a_trial_on_a_full_disk_fails_with_one_error_and_goes_on_when_there_is_room(tmp_path):
    narrow = tmp_path / "disk"  # with room for a trial's folder, but not for its checkpoint
    with little_room(narrow, 96 * 1024) as give_room:
        with pytest.raises(InputError, match=r"cannot write .*state\.safetensors: No space left on device; free some"):
            run_trial(small(epochs=1), narrow / "trial", save_every=0.0)
        left = {each.name for each in (narrow / "trial").iterdir()}
        assert left <= {"trial.json", "rows.jsonl", "failed"}, "something is half written"
        if "failed" in left:
            assert "No space left" in last_words(narrow / "trial")
        give_room()
        run_trial(small(epochs=1), narrow / "trial", save_every=0.0)
        rows = rows_of(narrow / "trial")
    run_trial(small(epochs=1), tmp_path / "other")
    assert rows == rows_of(tmp_path / "other") != []


def test_failed_is_whole_or_not_there(tmp_path, monkeypatch):
    real = os.fsync

    def full(handle):
        if Path(os.readlink(f"/proc/self/fd/{handle}")).name.startswith(".failed"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], 1))
    with pytest.raises(Interrupted):
        run_trial(small(epochs=1), tmp_path)
    assert {each.name for each in tmp_path.iterdir()} <= {"trial.json", "rows.jsonl", "state.safetensors"}


def test_an_empty_failed_of_a_full_disk_is_a_failure_without_a_reason(tmp_path):
    assert last_words(tmp_path) == ""
    cases = {b"": "was not written down", b"Trace\n\nValueError: no\n\n": "ValueError: no", b"\xff": "\ufffd"}
    for content, says in cases.items():
        (tmp_path / "failed").write_bytes(content)
        assert says in last_words(tmp_path)


def test_the_second_process_on_a_folder_is_told_who_the_first_is(tmp_path):
    with alone(tmp_path):
        assert (tmp_path / "running").read_text() == f"{os.getpid()}\n"
        with pytest.raises(Busy, match=rf"another process \({os.getpid()}\) is running the trial in .*; wait for it"):
            run_trial(small(), tmp_path)
        (tmp_path / "running").write_text("words")
        with pytest.raises(Busy, match="another process is running"), alone(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_had_is_an_error_that_names_the_folder(tmp_path, monkeypatch):
    def no_locks(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(study_folder.fcntl, "flock", no_locks)
    with pytest.raises(InputError, match=r"cannot lock the folder .*: No locks available; choose a results folder on"):
        run_trial(small(), tmp_path / "trial")
    monkeypatch.setattr(study_folder.fcntl, "flock", fcntl.flock)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot use the folder .*nowhere: No such file"), alone(tmp_path / "nowhere"):
        pass


def refusing_folders(handle, how):
    """As NFS does, which takes a lock for one on bytes: of what is open for reading there is none to have alone."""
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    fcntl.flock(handle, how)


def test_where_folders_cannot_be_locked_a_file_is(tmp_path, monkeypatch):
    monkeypatch.setattr(study_folder, "fcntl", SimpleNamespace(**vars(fcntl) | {"flock": refusing_folders}))
    with alone(tmp_path):
        assert {each.name for each in tmp_path.iterdir()} == {"running", ".lock"}
        with pytest.raises(Busy, match=rf"another process \({os.getpid()}\) is running"), alone(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
    run_trial(small(), tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"trial.json", "rows.jsonl", "weights.safetensors", "done"}


def test_a_lock_on_a_file_that_was_taken_away_is_none(tmp_path, monkeypatch):
    """Opened while another process had it, locked right after that one had taken it away: a third may make it anew."""

    def late(handle, how):
        refusing_folders(handle, how)
        (tmp_path / ".lock").unlink()

    monkeypatch.setattr(study_folder, "fcntl", SimpleNamespace(**vars(fcntl) | {"flock": late}))
    with pytest.raises(Busy, match="another process is running"), alone(tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 300, r"cannot make the folder .*: File name too long; choose another"),
        ("/".join(["y" * 200] * 25), r"cannot make the folder .*: File name too long; choose another"),
        ("a\0b", r"cannot make the folder .*null byte; choose another"),
        ("file/below", r"cannot make the folder .*: Not a directory; choose another"),
        ("file", r"cannot make the folder .*: File exists; choose another"),
    ],
)
def test_a_folder_that_cannot_be_is_one_error(tmp_path, name, says):
    (tmp_path / "file").write_text("words")
    with pytest.raises(InputError, match=says):
        run_trial(small(), tmp_path / name)
    assert not over(tmp_path / name)
    assert (tmp_path / "file").read_text() == "words"


def test_a_folder_that_is_only_to_be_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(InputError, match=r"nothing can be written in the folder .*; choose another results folder"):
        make_folder(tmp_path)


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EMFILE, errno.EROFS, errno.ENOENT, errno.ENOTDIR])
def test_what_cannot_be_written_says_what_to_do(tmp_path, monkeypatch, number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("builtins.open", fail)
    monkeypatch.setattr(os, "unlink", fail)
    with pytest.raises(InputError, match=rf"cannot write .*: {os.strerror(number)}; \w+"):
        checkpoint.write(tmp_path / "w", {"step": 1})


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_plain_file_is_not_read(tmp_path, make):
    make(tmp_path / "odd")
    with pytest.raises(InputError, match=r"cannot read the network .*odd: (it is no plain file|Is a directory); \w+"):
        disk.read(tmp_path / "odd", "the network")


def test_too_few_open_files_for_the_workers_is_one_error(tmp_path):
    limits, held = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            held.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(10_000))
        for _ in range(6):
            os.close(held.pop())
        with pytest.raises(InputError, match=r"cannot start a worker process .*: Too many open files; .*ulimit -n"):
            list(processes(8)(square, list(range(8)), print))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for handle in held:
            os.close(handle)


def test_a_folder_that_goes_while_a_trial_runs_is_one_error(tmp_path, monkeypatch):
    real = METHODS["global_activation"]

    @wraps(real)
    def losing(run, **options):
        for count, moment in enumerate(real(run, **options)):
            if count == 5:
                (tmp_path / "trial").rename(tmp_path / "elsewhere")
            yield moment

    monkeypatch.setitem(METHODS, "global_activation", losing)
    with pytest.raises(InputError, match=r"cannot write .*: No such file or directory; its folder is not there"):
        run_trial(small(epochs=1), tmp_path / "trial")
    assert not (tmp_path / "trial").exists()
    monkeypatch.setitem(METHODS, "global_activation", real)
    (tmp_path / "elsewhere").rename(tmp_path / "trial")
    run_trial(small(epochs=1), tmp_path / "trial")
    assert over(tmp_path / "trial")


def test_a_clock_that_is_set_back_shortens_nothing(tmp_path, monkeypatch):
    now = iter(range(2_000_000_000, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "global_activation", dying_after(METHODS["global_activation"], 3))
        with pytest.raises(Interrupted):
            run_trial(small(epochs=1), tmp_path, save_every=0.0)
    run_trial(small(epochs=1), tmp_path)
    assert 0 <= sums(tmp_path)["seconds"] < PATIENCE
    steps = [row.step for row in rows_of(tmp_path)]
    assert steps == sorted(steps) != []


def test_rows_that_have_changed_since_the_trial_was_over_are_refused(tmp_path):
    run_trial(small(epochs=1), tmp_path)
    whole = (tmp_path / "rows.jsonl").read_bytes()
    assert sealed(tmp_path)
    for changed in (whole.replace(b"0.", b"1.", 1), whole[:-1], whole[whole.index(b"\n") + 1 :], b""):
        (tmp_path / "rows.jsonl").write_bytes(changed)
        with pytest.raises(InputError, match=r"rows\.jsonl is damaged: its content does not match the digest"):
            rows_of(tmp_path)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(InputError, match=r"rows\.jsonl is damaged"):
        rows_of(tmp_path)


def test_results_of_before_there_were_digests_are_read(tmp_path):
    run_trial(small(epochs=1), tmp_path)
    rows, done = rows_of(tmp_path), json.loads((tmp_path / "done").read_text())
    (tmp_path / "done").write_text(json.dumps({name: done[name] for name in ("seconds", "steps", "epochs")}))
    assert rows_of(tmp_path) == rows != []
    assert not sealed(tmp_path)


def test_what_has_no_digest_is_read_with_a_word(tmp_path, capsys):
    for name, more in (("old", {}), ("new", {"rows": "0" * 32})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "done").write_text(json.dumps({"seconds": 1.0, "steps": 2, "epochs": 1} | more))
    running._say_what_is_unsealed([tmp_path / "old", tmp_path / "new"])
    assert capsys.readouterr().err.startswith("1 trials have no digest of their rows")
    running._say_what_is_unsealed([tmp_path / "new"])
    assert capsys.readouterr().err == ""


def test_sigterm_ends_as_ctrl_c_does_and_only_here():
    before = signal.getsignal(signal.SIGTERM)

    def ended():
        with running._terminable():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(PATIENCE)

    with pytest.raises(running.Terminated):
        ended()
    assert signal.getsignal(signal.SIGTERM) is before
    went = []

    def elsewhere():
        with running._terminable():
            went.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert went == [True]
