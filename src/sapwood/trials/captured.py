"""Captured: the step of all members of a stack as one graph, replayed; of a run by itself see `training.recorded`.

Nothing that may change from step to step is a number in the graph. Who goes, rates and decays are written to tensors
before it is replayed; batches are drawn in it, from the orders of the members' epochs; counts of steps, sums of an
epoch's metrics and what layers show are added up where they lie. A row that does not go, because its member waits, has
left or has had a loss that is not finite, stays as it is. Nobody looks at a loss until somebody reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map

from sapwood.training.recorded import UNREAD, WARM, Recorder, refused
from sapwood.training.tally import Tally
from sapwood.training.task import Batch, Task
from sapwood.trials.counted import Counted, Place, Want, wants_of
from sapwood.trials.member import Member
from sapwood.trials.ruled import Ruled, Told, by_row

if TYPE_CHECKING:
    from sapwood.trials.stack import Stack


def unrecordable(task: Task) -> str:
    """Why steps of a task's runs cannot be one graph, in words; "" if nothing is known against it."""
    if task.augment is not None:
        return f"task {task.name!r} changes its batches in Python"
    if not isinstance(task.data.train, Batch):
        return f"samples of task {task.name!r} are a {type(task.data.train).__name__}, read by Python"
    if task.count is not len:
        return f"task {task.name!r} counts something else than samples"
    return ""


@dataclass
class Row:
    """What of a member the graph has."""

    member: Member
    wanted: dict[Want, Place]
    tally: Tally | None = None  # whose sums lie on the device
    order: tuple[int, int] | None = None  # seed and epoch of the order that does
    at: int | None = None  # the batch of it that is next
    first: int = 0  # the step that its run was at when somebody last looked
    made: float = 0.0  # what was counted then
    unread: int = 0  # steps since
    gradients: list[tuple[Tensor, Tensor | None]] = field(default_factory=list)
    of: object = None  # the recording that leaves them there


class Captured:
    """A stack's step, as it is with so many rows."""

    def __init__(self, stack: "Stack", task: Task, recorder: Recorder) -> None:
        device, rows = next(iter(stack.weights.values())).device, stack.rows
        self.stack, self.task, self._recorder = stack, task, recorder
        self.train: Any = task.data.train
        self.size = min(task.batch_size, len(self.train))
        self.whole = len(self.train) // self.size  # batches of an epoch that are no smaller
        zero = torch.zeros(rows, dtype=torch.float64, device=device)
        self._go, self._bad = Told(zero.bool()), zero.bool()
        self._loss, self._made = zero.clone(), zero.clone()
        self._sums: dict[str, Tensor] = {}
        self._orders = torch.zeros((rows, self.whole * self.size), dtype=torch.int64, device=device)
        self._at, self._within = zero.long(), torch.arange(self.size, device=device)
        self._ruled, self._counted = Ruled(stack, zero), Counted(rows)
        self._rows, self._unread = dict[int, Row](), 0
        self._slopes: dict[str, Tensor | None] = {}
        self._of: tuple[Any, ...] = ()  # what the recording is of
        self._warm, self._recorded = 0, False

    def takes(self, member: Member) -> bool:
        """Whether a member's next step can be made so; its hooks have been called once, and no sample is missing."""
        run = member.run
        return member.shown and not self.against(member) and run.step % run.task.steps_per_epoch < self.whole

    def against(self, member: Member) -> str:
        """Why a member's steps are not captured with the others', in words."""
        task, wanted = member.run.task, member.wanted
        if wanted is None:
            wanted = member.wanted = wants_of(member)
        if isinstance(wanted, str):
            return wanted
        alike = task.data.train is self.train and task.batch_size == self.task.batch_size
        if not alike or task.metrics is not self.task.metrics or task.count is not len or task.augment is not None:
            return "its samples, batches or metrics are not those of the others"
        return ""

    def step(self, members: Sequence[Member]) -> list[Member]:
        """Make a step of these members, or as many as all of them can make by themselves; return who is left over."""
        if self._unread >= UNREAD:
            self.settle()
        alive = [member for member in members if member.failure is None]
        rows = [row for member in alive if (row := self._followed(member)) is not None]
        if rows:
            self._tell(rows)
            ahead = min(UNREAD - self._unread, *(min(row.member.ahead, self.whole - (row.at or 0)) for row in rows))
            self._made_of(rows, ahead)
        taken = {id(row.member) for row in rows}
        return [member for member in alive if id(member) not in taken]

    def settle(self) -> None:
        """All that the device alone knew is where it is looked for; a loss that is not finite is its member's error."""
        self._unread = 0
        if not any(row.unread for row in self._rows.values()):
            return
        known = torch.stack([self._bad.double(), self._loss, self._made, *self._sums.values()]).tolist()
        for number, row in self._rows.items():
            if row.unread:
                self._told(number, row, *(value[number] for value in known))

    def pause(self, member: Member) -> None:
        """A member's sums and counts are its own until its next captured step: this one is made in another way."""
        row = self._rows.get(member.row)
        if row is not None and row.member is member and row.tally is not None:
            self.settle()
            row.tally.behind = None
            row.tally = None

    def part(self, member: Member) -> None:
        """All that was a member's is its own again; what it leaves is anybody's."""
        self.pause(member)
        if member.row in self._rows and self._rows[member.row].member is member:
            del self._rows[member.row]
            self._counted.let_go(member.row)

    def close(self) -> None:
        """Part with all of them."""
        for row in list(self._rows.values()):
            self.part(row.member)

    # Before a step

    def _followed(self, member: Member) -> Row | None:
        """The member's row, in which everything is as the member has it now; None if it must step in another way."""
        row = self._rows.get(member.row)
        if row is not None and (row.member is not member or row.wanted is not member.wanted):
            self.part(row.member)
            row = None
        if row is None:
            assert isinstance(member.wanted, dict)
            row = self._rows[member.row] = Row(member, member.wanted)
            self._bad[member.row] = False
        if not self._counted.follow(member.row, row.wanted):
            member.shown = False
            return None
        if row.tally is not member.run.sums:
            self._attach(row)
        epoch, at = divmod(member.run.step, member.run.task.steps_per_epoch)
        if row.order != (member.run.seed, epoch):
            row.order = member.run.seed, epoch
            first = member.run.task.order(*row.order)[0]  # all are parts of one tensor, one behind the other
            self._orders[member.row].copy_(first.as_strided((self.whole * self.size,), (1,)))
        if row.at != at:
            self._at[member.row] = row.at = at
        return row

    def _attach(self, row: Row) -> None:
        """Go on from a run's sums and counts as they are."""
        member, number = row.member, row.member.row
        if row.unread:
            self.settle()
        if row.tally is not None:
            row.tally.behind = None
        row.made = self._made[number].item()
        row.tally, row.first = member.run.sums, member.run.step
        begun = row.tally.read()
        for name in [*begun, *(name for name in self._sums if name not in begun)]:  # rows come in this order
            self._sum(name)[number] = begun.get(name, 0.0)
        row.tally.behind = partial(self._read, row)
        self._ruled.load(number)

    def _tell(self, rows: Sequence[Row]) -> None:
        """What Python has decided since the last step."""
        going = {row.member.row for row in rows}
        self._go.tell([number in going for number in range(self.stack.rows)])
        self._ruled.tell([row.member for row in rows])
        of = (tuple(self.stack.bits), self._counted.places(), self._ruled.decaying)
        if of != self._of:
            self._of, self._warm, self._recorded = of, 0, False

    # A step

    def _made_of(self, rows: Sequence[Row], steps: int) -> None:
        """So many, one after another, and what follows; if one fails, what follows from those before it."""
        made = 0
        try:
            while made < steps:
                self._one()
                made += 1
        finally:
            if made:
                self._hand_out(rows, made)

    def _one(self) -> None:
        if self._warm < WARM:
            with self._recorder.aside():
                self._body()
            self._warm += 1
            return
        if not self._recorded:
            before = self._slopes
            try:
                self._recorder.record(self._body)
            except BaseException:
                self._slopes = before  # those of a recording that failed are nothing
                raise
            self._recorded = True
        self._recorder.replay()

    def _body(self) -> None:
        """The step itself, in which no number is read. Whatever may fail comes before anything is written."""
        stack, go = self.stack, self._go.there & ~self._bad
        inputs, targets = self._drawn()
        found = stack.through(slice(None), inputs, targets, self._counted.watched())
        losses = found.losses.double()
        sums = {"count": torch.full_like(losses, self.size), "loss": losses * self.size}
        sums |= vmap(self._metrics)(found.outputs, inputs, targets)
        shown = self._counted.values(found.seen, stack.passed.network)
        sound = torch.isfinite(losses)
        going = go & sound
        self._slopes = found.gradients
        self._ruled.move(going, found.gradients)
        self._bad.logical_or_(go & ~sound)
        self._loss.copy_(torch.where(go, losses, self._loss))
        self._made.add_(going)
        self._at.add_(going)
        for name, value in sums.items():
            self._sum(name).add_(torch.where(going, value.double(), 0.0))
        for kept, value in shown:
            kept.add_(torch.where(by_row(go, value), value, 0))
        for name, value in found.buffers.items():
            kept = stack.buffers[name]
            kept.copy_(torch.where(by_row(go, value), value, kept))

    def _drawn(self) -> tuple[Any, Tensor]:
        """The batches of all rows, each from its own order."""
        begin = self._at.clamp(max=self.whole - 1)[:, None] * self.size
        index = self._orders.gather(1, begin + self._within)
        batch = self.train.take(index.flatten())
        inputs, targets = tree_map(lambda part: part.unflatten(0, index.shape), tuple(batch))
        return inputs, targets

    def _metrics(self, outputs: Tensor, inputs: Any, targets: Tensor) -> dict[str, Tensor]:
        found = self.task.metrics(outputs, Batch(inputs, targets))
        return {n: v if isinstance(v, Tensor) else torch.full_like(outputs.sum(), v) for n, v in found.items()}

    # After it

    def _hand_out(self, rows: Sequence[Row], steps: int) -> None:
        """Each member gets its loss, as it is now on the device, and its gradients."""
        losses = self._loss.clone()
        self._unread += steps
        for row in rows:
            member = row.member
            if row.of is not self._slopes:
                row.of, number = self._slopes, member.row
                row.gradients = [(member.parameters[n], None if g is None else g[number]) for n, g in row.of.items()]
            for parameter, gradient in row.gradients:
                if parameter.grad is not gradient:
                    parameter.grad = gradient
            member.late = losses[member.row]
            member.run.step += steps
            row.unread += steps
            row.at = (row.at or 0) + steps

    def _read(self, row: Row) -> None:
        self.settle()
        row.member.fails()

    def _told(self, number: int, row: Row, bad: float, loss: float, made: float, *sums: float) -> None:
        """What the device knows of a row is where its run is looked at."""
        run, steps = row.member.run, round(made - row.made)
        row.made, row.unread = made, 0
        run.step = row.first = row.first + steps
        assert row.tally is not None
        row.tally.take(dict(zip(self._sums, sums, strict=True)))
        self._ruled.counted(number, steps)
        if bad:
            row.member.failure, row.at = refused(loss, run.step), None
            self._bad[number] = False

    def _sum(self, name: str) -> Tensor:
        if name not in self._sums:
            self._sums[name] = torch.zeros_like(self._loss)
        return self._sums[name]
