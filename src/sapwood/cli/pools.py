"""Pools: where the trials of `sapwood run` run, as `--pool`, `--workers`, `--cpus` and `--gpus` say."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sapwood.errors import InputError
from sapwood.trials.lockstep import MOST, MOST_ON_A_GPU, Lockstep, together
from sapwood.trials.on_ray import ADDRESS, Needs, on_ray, package
from sapwood.trials.pool import Outcome, processes, serial
from sapwood.trials.telling import Tell
from sapwood.trials.trial import Trial
from sapwood.trials.turns import Ready

SERIAL, TOGETHER, RAY = "serial", "together", "ray"


@dataclass(frozen=True)
class Asked:
    """What was typed; InputError for what does not go together."""

    name: str | None
    workers: int | None = None
    cpus: float | None = None
    gpus: float | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.name == SERIAL and (self.workers or 1) > 1:
            raise InputError(
                f"--pool serial runs one trial at a time, so --workers {self.workers} cannot be; drop one of the two"
            )
        for option, value in (("--cpus", self.cpus), ("--gpus", self.gpus)):
            if value is not None and self.name != RAY:
                raise InputError(
                    f"{option} {value:g} says what a trial takes of a Ray cluster; add --pool ray, or leave it out"
                )
        if self.name == RAY:
            self.needs()
            package()  # before anything is said or read

    def needs(self) -> Needs:
        """What a trial takes of a node: a core, and a card if it computes on one, unless other numbers were typed."""
        card = float(self.device.startswith("cuda"))
        return Needs(1.0 if self.cpus is None else self.cpus, card if self.gpus is None else self.gpus)

    def at_once(self, trials: int) -> int:
        """How many trials at once: as asked, else one a core, or so many as step together; never more than there are.

        On a cluster at $RAY_ADDRESS without `--workers`: all of them, and the cluster runs as many as fit.
        """
        if self.name == SERIAL:
            return 1
        if self.name == RAY and ADDRESS in os.environ:
            return min(self.workers or trials, max(1, trials))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        most = MOST_ON_A_GPU if self.device.startswith("cuda") else MOST
        return min(self.workers or (most if self.name == TOGETHER else cores), max(1, trials))

    def in_this_process(self, trials: int) -> bool:
        """Whether no other process is needed."""
        return self.name == TOGETHER or (self.name != RAY and self.at_once(trials) == 1)

    def ends(
        self, job: Callable[..., None], trials: Sequence[Trial], tell: Tell, ready: Ready[Trial]
    ) -> Iterator[Outcome[Trial]]:
        """The trials and their errors as they end; each is taken up once it is `ready`."""
        number = self.at_once(len(trials))
        if self.name == TOGETHER:
            lockstep = Lockstep(self.device)
            return together(lockstep, number, ready)(partial(job, ways=lockstep.ways), trials, tell)
        if self.name == RAY:
            return on_ray(number, ready, self.needs())(job, trials, tell)
        if self.in_this_process(len(trials)):
            return serial(job, trials, tell, ready=ready)
        return processes(number, ready)(job, trials, tell)
