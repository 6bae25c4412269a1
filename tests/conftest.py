"""What every test runs under, and the rule for tests that need real data."""

import gc
import os
import sys
from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from hypothesis import HealthCheck, settings

from sapwood import cli
from sapwood.data.files import MissingData

T = TypeVar("T")

# An example may take as long as it takes: how long that is says how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
torch.set_num_threads(1)  # bits do not depend on how many cores there are, and parallel tests do not fight

finished = 0  # tests in this process
gc.disable()  # until all tests are found: what modules and tests consist of is no garbage, and looked through again


def leave_out_what_is_there() -> None:
    """Every trial ends with a call of the collector, which takes half a second with all that was imported for tests."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """All tests are found."""
    leave_out_what_is_there()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid: str) -> None:
    """Tests import more, and keep some: after some hundred of them that is left out, too."""
    global finished
    finished += 1
    if finished % 200 == 0:
        leave_out_what_is_there()


@pytest.fixture
def real_data() -> Callable[[Callable[[], T]], T]:
    """Calls a loader or task: without its files the test skips, unless $SAPWOOD_DATA promises them; then it fails."""

    def call(load: Callable[[], T]) -> T:
        try:
            return load()
        except MissingData as missing:
            if os.environ.get("SAPWOOD_DATA"):
                raise
            pytest.skip(str(missing))

    return call


@pytest.fixture
def sapwood(monkeypatch, capfd):
    """The command in this process: its words -> (exit status, standard output, standard error)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["sapwood", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code or 0, *capfd.readouterr())

    return call
