"""Lockstep: many trials in one process, one thread each of which one runs at a time, whose steps are made as one.

A trial runs to its next step and waits there; when all wait, those that are alike make the step together. A thread is
what lets a trial wait in the middle of `train`, whoever has called that: nothing here runs at the same time as anything
else. Each trial has torch's random numbers to itself.
"""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from threading import Lock, Thread, current_thread
from typing import Any, Generic, TypeVar

from torch import Tensor

from sapwood.errors import InputError, first_line
from sapwood.tasks import TASKS
from sapwood.training import checkpoint
from sapwood.training.loop import Update, count_in, one_step
from sapwood.training.recorded import Graph
from sapwood.training.run import Run
from sapwood.training.task import Task, orders_kept
from sapwood.trials.alike import Key, Watch, unlike
from sapwood.trials.execution import Ways
from sapwood.trials.member import Member
from sapwood.trials.pool import Job, Outcome, Pool, attempt
from sapwood.trials.stack import Recording, Stack
from sapwood.trials.turns import NAP, InUse, Ready, Turns, always

T = TypeVar("T")
MOST, MOST_ON_A_GPU = 32, 64  # trials at a time: on a processor more gain little
NOBODY = "no other trial at work is like it"
LONG, ROUNDS = 60.0, 3  # seconds that the turn of a trial may take, and turns that it may take, once all is stopped


class Stopped(BaseException):
    """The pool is closed, and the trial ends where it is; no kind of error that a method might catch."""


class Lane(Thread, Generic[T]):
    """A thread in which one trial runs. It has the turn, or waits for it."""

    def __init__(self, job: Job[T], item: T, tell: Callable[[Any], None]) -> None:
        super().__init__(daemon=True, name=f"trial {item}")
        self.job, self.item, self.tell = job, item, tell
        self.turn, self.then = Lock(), Lock()  # released: its own turn, and that of whoever comes next
        self.turn.acquire()
        self.over, self.stopped = False, False
        self.error: str | None = None
        self.end: BaseException | None = None  # what ends everything, such as Ctrl-C
        self.member: Member | None = None
        self.asked = False  # to step with others
        self.start()

    def run(self) -> None:
        """The trial's life."""
        self.turn.acquire()
        try:
            if not self.stopped:
                self.error = attempt(self.job, self.item, self.tell)
        except Stopped:
            pass
        except BaseException as end:
            self.end = end
        finally:
            self.over = True
            self.then.release()

    def wait(self, run: Run) -> None:
        """Let the others have their turns; come back with the random numbers as they were."""
        state = checkpoint.random_state(run.device)
        self.then.release()
        self.turn.acquire()
        checkpoint.restore_random_state(state, run.device)
        if self.stopped:
            raise Stopped


class Lockstep:
    """What trials that step together share: their stacks, and their tasks' data."""

    def __init__(self, device: str = "cpu", record: Recording | None = None) -> None:
        """record: what makes a recorder for a device; left out, steps on a GPU are captured as CUDA graphs."""
        self.device = device
        self.record = Graph if record is None and device.startswith("cuda") else record
        self.plain = dict[Key, str]()  # whose steps are not captured, though they might be, and why
        self.stacks: dict[Key, Stack] = {}
        self.unfit: dict[Key, str] = {}  # what vmap could not do, and why
        self._tasks: dict[Callable[[], Task], Task] = {}

    @property
    def ways(self) -> Ways:
        """How its trials come by their tasks and steps."""
        return Ways(self.task, self.step)

    def task(self, name: str) -> Task:
        """The task called `name`, the same one for all trials, so that its data is there once."""
        make = TASKS[name]
        if make not in self._tasks:
            task = make()
            data = task.data.to(self.device)
            self._tasks[make] = task if data is task.data else replace(task, data=data)
        return self._tasks[make]

    def step(self, run: Run, update: Update) -> float | Tensor:
        """Make the next step of a run with all others that wait for one; `Run.stepping` of each."""
        lane = current_thread()
        if not isinstance(lane, Lane):
            return one_step(run, update)
        if not run.model.training:
            run.model.train()
        run.alone = unlike(update) or self._against(lane, run)
        member = lane.member
        if member is not None and member.failure is not None:
            member.fails()
        if run.alone or member is None:
            lane.wait(run)
            return one_step(run, update)
        member.asks(run.ahead)
        lane.asked = True
        lane.wait(run)
        lane.asked = False
        if member.failure is not None:
            member.fails()
        if member.late is not None:
            return member.late
        if member.values is None:
            member.leave()
            run.alone = self._against(lane, run) or NOBODY
            return one_step(run, update)
        outputs, loss = member.values
        count_in(run, member.batch, outputs, loss)
        run.step += 1
        return loss

    def together(self, members: Sequence[Member]) -> None:
        """Make the step of all members that can make it with another one; the others make it by themselves."""
        alike: dict[Key, list[Member]] = {}
        for member in members:
            assert isinstance(member.watch.found, Key)
            alike.setdefault(member.watch.found, []).append(member)
        for key, group in alike.items():
            if len(group) > 1:
                self._stepped(key, group)

    def _stepped(self, key: Key, group: Sequence[Member]) -> None:
        stack = self.stacks.get(key)
        if stack is None:
            stack = self.stacks[key] = Stack(key, group[0].run, self.record)
        if new := [member for member in group if member.stack is None]:
            stack.take(new)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*performance drop")  # vmap would take one after another
                stack.step(group)
        except Exception as error:  # whatever it is, by itself each member makes its own step, or its own error
            self.unfit[key] = f"{type(error).__name__}: {first_line(error)}"
            for member in group:
                member.values = None
                member.leave()
        if stack.plain and key not in self.plain:
            self.plain[key] = stack.plain
            warnings.warn(f"steps made together are not captured: {stack.plain}", UserWarning, stacklevel=1)

    def _against(self, lane: "Lane[Any]", run: Run) -> str:
        """Why a run cannot step with others, "" if it can; its member stays what it is while nothing has changed."""
        member = lane.member
        if member is None or member.run is not run:
            member = lane.member = Member(run)
        elif not member.watch.holds():
            watch = Watch(run)
            if watch.found != member.watch.found or watch.model is not member.watch.model:
                member.leave()
            member.watched(watch)
        if member.stack is not None and not member.placed():
            member.leave()
        found = member.watch.found
        return found if isinstance(found, str) else self.unfit.get(found, "")

    def left(self, lane: "Lane[Any]") -> None:
        """A trial is over: its network is no longer stepped."""
        if lane.member is not None:
            lane.member.leave()
        self.stacks = {key: stack for key, stack in self.stacks.items() if stack.members}


class Lanes(Generic[T]):
    """The trials that are begun and not over, and whose turn it is."""

    def __init__(self) -> None:
        self.begun: list[Lane[T]] = []
        self.done, self.on = Lock(), False  # a round is; `done` is held until its last lane has had its turn

    def round(self) -> None:
        """Give each its turn, one after another; what ends everything in one of them is raised here."""
        if not self.begun:
            time.sleep(NAP)  # all that is left is in use
            return
        self.done = Lock()
        self.done.acquire()
        for lane, after in pairwise((*self.begun, None)):
            assert lane is not None
            lane.then = self.done if after is None else after.turn
        self.on = True
        self.begun[0].turn.release()
        self.done.acquire()
        self.on = False
        for lane in self.begun:
            if lane.end is not None:
                raise lane.end

    def over(self) -> list[Lane[T]]:
        """Take out those whose trials are over."""
        ended = [lane for lane in self.begun if lane.over]
        self.begun = [lane for lane in self.begun if not lane.over]
        for lane in ended:
            lane.join()
        return ended

    def stop(self) -> None:
        """End all of them where they are: each has its turn to leave its folder in order."""
        for lane in self.begun:
            lane.stopped = True
        if self.on:  # Ctrl-C came in the middle of a round
            self.done.acquire(timeout=LONG)
        for _ in range(ROUNDS):
            self.over()
            for lane in self.begun:
                lane.end = None
            if self.begun:
                self.round()


def together(lockstep: Lockstep, most: int = MOST, ready: Ready[Any] = always) -> Pool[Any]:
    """A pool of so many trials at a time, in this process, which step together: jobs step by `lockstep.step`."""
    if most < 1:
        raise InputError(f"workers is {most}; give at least 1")

    def pool(job: Job[T], items: Iterable[T], tell: Callable[[Any], None]) -> Iterator[Outcome[T]]:
        turns, lanes = Turns(items, ready), Lanes[T]()
        try:
            with orders_kept(most):
                while turns.left or lanes.begun:
                    while len(lanes.begun) < most and (found := turns.take(idle=not lanes.begun)):
                        if found[1] is None:
                            lanes.begun.append(Lane(job, found[0], tell))
                        else:
                            yield found
                    lanes.round()
                    for lane in lanes.over():
                        lockstep.left(lane)
                        if isinstance(lane.error, InUse):
                            turns.again(lane.item)
                        else:
                            yield lane.item, lane.error
                    lockstep.together([lane.member for lane in lanes.begun if lane.asked and lane.member is not None])
        finally:
            lanes.stop()

    return pool
