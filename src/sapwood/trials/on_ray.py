"""On Ray: a pool whose workers are those of a Ray cluster, on this machine or on many that share a results folder.

The same signature, the same turns and the same rows as the other pools. Ray starts a lost worker's item again, up to
RETRIES times, on whichever node is free: its job goes on where the item was last saved. Nothing is queued here but what
can run now: what waits stays with `turns`, so that an item is taken up once what it needs is over.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from sapwood.errors import InputError
from sapwood.extras import optional
from sapwood.trials.pool import KILLED, Job, Outcome, Pool, attempt, environment
from sapwood.trials.turns import NAP, InUse, Ready, Turns, always

ADDRESS = "RAY_ADDRESS"  # Ray's own name for where a cluster is; "auto" is the one that this machine belongs to
RETRIES = 3
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports how it is used to its makers unless told not to
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it hides the GPU of a trial that asks for none, and warns of it
}


@dataclass(frozen=True)
class Needs:
    """What an item needs of a node: cores and graphics cards. Shares are fine: four with 0.25 of a card share it."""

    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise InputError(f"{name} is {value}; give a finite number of 0 or more")
            if value > 1 and value != int(value):
                raise InputError(f"{name} is {value}; above 1, Ray gives whole ones only")
        if self.cpus == self.gpus == 0:
            raise InputError("cpus and gpus are both 0, so nothing would limit how many trials run at once; "
                             "give one of them")  # fmt: skip


def on_ray(workers: int | None = None, ready: Ready[Any] = always, needs: Needs | None = None) -> Pool[Any]:
    """A pool on the Ray cluster at $RAY_ADDRESS, or else on one of `workers` cores that is started here and ended.

    workers: at most so many items at once; on a cluster None is as many as it has room for.
    """
    package()
    wanted = needs or Needs()
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; give at least 1")
    if workers is None and ADDRESS not in os.environ:
        workers = 1

    def pool(job: Job[Any], items: Iterable[Any], tell: Callable[[Any], None]) -> Iterator[Outcome[Any]]:
        turns = Turns(items, ready)
        if not turns.left:
            return
        with _cluster(workers, wanted):
            crew = _Crew(job, wanted, tell)
            try:
                while turns.left or crew.running:
                    yield from _fill(crew, turns, _room(workers, wanted))
                    for item, error in crew.ended():
                        if isinstance(error, InUse):
                            turns.again(item)
                        else:
                            yield item, error
            finally:
                crew.close()

    return pool


@contextmanager
def _cluster(workers: int | None, needs: Needs) -> Iterator[None]:
    """Connected to the cluster that is there, or to one that is started for this and ended after it."""
    ray = package()
    if ray.is_initialized():  # by who calls this: it stays as it is
        yield
        return
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    address, ours = os.environ.get(ADDRESS), signal.getsignal(signal.SIGTERM)
    here = {"num_cpus": max(1, round((workers or 1) * needs.cpus)), "include_dashboard": False}
    try:
        # Processes that are started here find the modules that this one does, as those of the other pools do.
        with environment({"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}):
            ray.init(
                address=address or "local", log_to_driver=False, logging_level="error", **({} if address else here)
            )
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        where = f"reach the Ray cluster at {ADDRESS}={address}" if address else "start Ray on this machine"
        raise InputError(
            f"cannot {where}: {error}; is it running (ray status), and of the same Ray version?"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ours)  # Ray has put its own in the place
    try:
        if not address and not _room(None, needs):
            raise InputError(
                f"a trial takes {needs.gpus:g} graphics cards, and Ray finds fewer on this machine; give --device cpu, "
                f"or the address of a cluster that has them in {ADDRESS}"
            )
        yield
    finally:
        ray.shutdown()


def _room(workers: int | None, needs: Needs) -> int:
    """How many items the cluster can do at once as it is now: nodes come and go."""
    ray = package()
    has = ray.cluster_resources()
    kinds = (("CPU", needs.cpus), ("GPU", needs.gpus))
    fits = min(int(has.get(kind, 0.0) / each + 1e-9) for kind, each in kinds if each)
    return fits if workers is None else min(workers, max(1, fits))


def _fill(crew: "_Crew", turns: Turns[Any], room: int) -> Iterator[Outcome[Any]]:
    """Give out items while there is room; those that are refused are over at once."""
    while len(crew.running) < room and (found := turns.take(idle=not crew.running)):
        item, refused = found
        if refused is None:
            crew.take(item)
        else:
            yield item, refused
    if not crew.running:
        time.sleep(NAP)  # all that is left is in use, or the cluster has no room for one


class _Crew:
    """What runs on the cluster now, and what is told from there."""

    def __init__(self, job: Job[Any], needs: Needs, tell: Callable[[Any], None]) -> None:
        ray = package()

        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._told = ray.remote(num_cpus=0, scheduling_strategy=here)(_Told).remote()
        self._work = ray.remote(num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=RETRIES)(_work)
        self._job, self._tell = ray.put(job), tell
        self.running: dict[Any, Any] = {}  # what Ray will give -> the item

    def take(self, item: Any) -> None:
        """Give an item to whichever worker is free."""
        self.running[self._work.remote(self._job, item, self._told)] = item

    def ended(self) -> Iterator[Outcome[Any]]:
        """Pass on what was told, then the items that are over."""
        ray = package()
        done, _ = ray.wait([*self.running], timeout=0.1) if self.running else ([], [])
        for message in ray.get(self._told.take.remote()):  # asked after `done`: all that those told is there
            self._tell(message)
        for each in done:
            yield self.running.pop(each), _error(each)

    def close(self) -> None:
        """End what runs, at once: it can be resumed."""
        ray = package()
        for each in self.running:
            ray.cancel(each, force=True)
        ray.kill(self._told)


class _Told:
    """An actor on the driver's node: what workers tell, until the driver asks."""

    def __init__(self) -> None:
        self._messages: list[Any] = []

    def put(self, message: Any) -> None:
        self._messages.append(message)

    def take(self) -> list[Any]:
        messages, self._messages = self._messages, []
        return messages


def _work(job: Job[Any], item: Any, told: Any) -> str | None:
    """In a worker: one thread, as in the other pools, since bits depend on how many there are."""
    ray = package()
    torch.set_num_threads(1)
    sent: list[Any] = []

    def tell(message: Any) -> None:
        sent[:] = [told.put.remote(message)]

    error = attempt(job, item, tell)
    ray.get(sent)  # the last one has arrived, and those before it, before the item is over
    return error


def _error(reference: Any) -> str | None:
    """Why the item failed, if it did; a worker or node that was lost for good has its own words."""
    ray = package()
    try:
        error: str | None = ray.get(reference)
    except ray.exceptions.RayTaskError as failure:
        return f"{type(failure.cause).__name__}: {failure.cause}"
    except ray.exceptions.RayError:
        return KILLED
    return error


def package() -> Any:
    """The package, or the line that installs it."""
    with optional("--pool ray"):
        import ray
        import ray.util.scheduling_strategies
    return ray
