"""Pools: the same job on many items, one after another or in several processes at once.

A pool is a function (job, items, tell) -> iterator of (item, error), in the order they finish; error is None when all
went well. One item's failure is its own: the others go on. `tell` is called in the parent, with whatever a job says.
Items that others need come before them; an item is taken up once `ready` says so, which is asked in the parent (see
`trials.turns`). An item whose job finds its folder in use by another process comes again after the others.
A worker whose parent is gone, however it went, ends at once, idle or busy: nobody waits for what it does.
"""

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from multiprocessing.queues import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import torch

from sapwood import disk
from sapwood.errors import InputError
from sapwood.trials.folder import Busy
from sapwood.trials.turns import NAP, InUse, Ready, Turns, always

T = TypeVar("T")
Job = Callable[[T, Callable[[Any], None]], None]  # (item, tell)
Outcome = tuple[T, str | None]
Pool = Callable[[Job[T], Iterable[T], Callable[[Any], None]], Iterator[Outcome[T]]]

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
KILLED = "its worker process was killed (out of memory?); run the same command again to go on where it was last saved"


def serial(
    job: Job[T], items: Iterable[T], tell: Callable[[Any], None], ready: Ready[T] = always
) -> Iterator[Outcome[T]]:
    """One item after another, in this process."""
    turns = Turns(items, ready)
    while turns.left:
        item, refused = turns.next()
        error = refused or attempt(job, item, tell)
        if isinstance(error, InUse):
            turns.again(item)
        else:
            yield item, error


def processes(workers: int, ready: Ready[Any] = always) -> Pool[Any]:
    """A pool of so many processes, each with one thread: for small networks, whose operations are not worth sharing."""
    if workers < 1:
        raise InputError(f"workers is {workers}; give at least 1")

    def pool(job: Job[T], items: Iterable[T], tell: Callable[[Any], None]) -> Iterator[Outcome[T]]:
        turns = Turns(items, ready)
        slots: list[_Slot] = []
        try:
            slots.extend(_Slot() for _ in range(min(workers, turns.left)))
            while True:
                yield from _fill(slots, turns, job)
                busy = [slot.running for slot in slots if slot.running is not None]
                if not busy and not turns.left:
                    return
                if busy:
                    wait(busy, timeout=0.1, return_when=FIRST_COMPLETED)
                else:  # all that is left is in use
                    time.sleep(NAP)
                yield from _ended(slots, turns, tell)
        finally:
            _close(slots)

    return pool


def _fill(slots: Sequence["_Slot"], turns: Turns[Any], job: Job[Any]) -> Iterator[Outcome[Any]]:
    """Give every free worker the next item; those that are refused are over at once."""
    for slot in slots:
        while slot.running is None and (found := turns.take(idle=all(each.running is None for each in slots))):
            item, refused = found
            if refused is None:
                slot.take(job, item)
            else:
                yield item, refused


def _ended(slots: Sequence["_Slot"], turns: Turns[Any], tell: Callable[[Any], None]) -> Iterator[Outcome[Any]]:
    """What is over; of folders that others use, the items come again."""
    for slot in slots:
        found = slot.outcome(tell) if slot.running is not None else None
        if found is not None and isinstance(found[1], InUse):
            turns.again(found[0])
        elif found is not None:
            yield found


class _Slot:
    """A place for one worker process, with its own executor: a worker that is killed takes no other one with it."""

    def __init__(self) -> None:
        self.running: Future[str | None] | None = None
        self.item: Any = None
        self.workers: set[Any] = set()  # its processes: the one at work, and those that were killed
        self._open()

    def _open(self) -> None:
        context = multiprocessing.get_context("spawn")
        with _starting():
            self.told: SimpleQueue[Any] = context.SimpleQueue()
            self.executor = ProcessPoolExecutor(1, context, _prepare, (self.told,))

    def take(self, job: Job[Any], item: Any) -> None:
        """Begin with an item; a worker that is gone is replaced."""
        self.item, before = item, set(multiprocessing.active_children())
        with (
            _starting(),
            environment(dict.fromkeys(ONE_THREAD, "1")),
            _deaf(),
        ):  # a new process reads it before torch does
            try:
                self.running = self.executor.submit(_work, job, item)
            except BrokenProcessPool:
                self._open()
                self.running = self.executor.submit(_work, job, item)
            self.workers |= set(multiprocessing.active_children()) - before

    def outcome(self, tell: Callable[[Any], None]) -> Outcome[Any] | None:
        """Passes on what the worker has told; (item, error) once it is finished."""
        assert self.running is not None
        over = self.running.done()  # asked first: what was told before the end is then all there
        while not self.told.empty():
            tell(self.told.get())
        if not over:
            return None
        failure = self.running.exception()
        error = self.running.result() if failure is None else KILLED
        self.running = None
        return self.item, error if failure is None or isinstance(failure, BrokenProcessPool) else _said(failure)


def _close(slots: Sequence[_Slot]) -> None:
    """End the workers: at once those that are in the middle of something, which they can resume."""
    for slot in slots:
        for worker in slot.workers if slot.running is not None else ():
            worker.terminate()
        slot.executor.shutdown(wait=True, cancel_futures=True)


_tell: Callable[[Any], None]  # set in each worker


def _prepare(told: "SimpleQueue[Any]") -> None:
    """The first thing a worker does. Ctrl-C is the parent's business: it ends its workers."""
    global _tell
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what is imported stays: the collector, which ends every trial, need not look through it each time
    torch.set_num_threads(1)
    _tell = told.put


def _end_with_parent() -> None:
    """Wait for the parent's end and make it this process's: files are replaced whole, and what is begun is resumed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _work(job: Job[Any], item: Any) -> str | None:
    return attempt(job, item, _tell)


def attempt(job: Job[T], item: T, tell: Callable[[Any], None]) -> str | None:
    """Do the job on an item; return what went wrong, None if nothing, `InUse` where another process is at it."""
    try:
        job(item, tell)
    except Busy as error:
        return InUse(error)
    except Exception as error:
        return _said(error)
    return None


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


@contextmanager
def _starting() -> Iterator[None]:
    """Too many open files, too many processes: one error that says so."""
    try:
        yield
    except OSError as error:
        raise disk.unwritten("start a worker process (fewer --workers need less)", error) from error


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C waits while a process is started, which inherits that: it would break off the worker's own start.

    What comes meanwhile is heard by the parent right after.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Inside, the environment has these values too, for processes that are started there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
