"""Disk: what is not a plain file is neither written over nor read."""

import os
from pathlib import Path

import pytest
from torch import nn

from sapwood import InputError, disk, export


def test_a_device_or_a_pipe_is_not_replaced(tmp_path):
    """Who may write into /dev would otherwise put a file where /dev/null was."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    net = nn.Linear(2, 2)
    for write in (lambda: disk.replace(pipe, b"x"), lambda: export.save(net, pipe, of=net)):
        with pytest.raises(InputError, match="pipe: it is a device or a pipe, not a plain file; give another name"):
            write()
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize(
    ("path", "says"),
    [("", "cannot write '.': it is no name of a file"), ("a\0b", "null byte; give another name")],
)
def test_what_no_file_can_be_called_is_told(path, says):
    with pytest.raises(InputError, match=says):
        disk.replace(Path(path), b"x")
