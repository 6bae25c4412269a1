"""Stack: the weights of runs that step together, row by row in shared tensors [E, ...], and one step of all of them.

Each member's parameters, buffers and optimiser state are views of its row, so whoever reads or writes them between
steps reads and writes the stack. A member that leaves gets tensors of its own back.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap
from torch.optim import SGD
from torch.utils._pytree import tree_map

from sapwood.errors import first_line
from sapwood.masking.removed import INTEGERS, as_bits
from sapwood.training.recorded import Recorder
from sapwood.training.run import Run
from sapwood.trials.alike import Key
from sapwood.trials.captured import Captured, unrecordable
from sapwood.trials.elementwise import adapted, common, descended, moments, numbers
from sapwood.trials.member import Member, neighbours_in, released
from sapwood.trials.passing import Passed, Seen
from sapwood.trials.ruled import STEP

Recording = Callable[[torch.device], Recorder]


class Through(NamedTuple):
    """What a pass of several rows gave, [rows, ...] each."""

    losses: Tensor
    outputs: Tensor
    seen: Seen
    gradients: dict[str, Tensor | None]
    buffers: dict[str, Tensor]  # as they are afterwards


class Stack:
    """Runs with the same key, and their tensors."""

    def __init__(self, key: Key, first: Run, record: Recording | None = None) -> None:
        """record: what makes a recorder for a device, so that steps are captured."""
        self.key, self.members = key, list[Member]()
        self.record, self.plain = record, ""  # why steps are not captured, though they might be
        self.captured: Captured | None = None
        self.passed = Passed(copy.deepcopy(first.model), first.task.forward, first.loss)
        names = {id(p): name for name, p in first.model.named_parameters()}
        self.groups = [(dict(group), [names[id(p)] for p in group["params"]]) for group in first.optimizer.param_groups]
        self.simple = type(first.optimizer) is SGD
        self.weights: dict[str, Tensor] = {}
        self.buffers: dict[str, Tensor] = {}
        self.memory: dict[str, dict[str, Tensor]] = {}  # {parameter: {what an optimiser calls it: [E, ...]}}
        self.bits: dict[str, Tensor] = {}  # {masked parameter: ones where a row keeps an entry}

    @property
    def rows(self) -> int:
        """How many there are, of members or of nobody."""
        return max((len(w) for w in self.weights.values()), default=0)

    def take(self, members: Sequence[Member]) -> None:
        """Take in more members; the tensors are made larger where they have no room for them."""
        rows = len(self.members) + len(members)
        if rows > self.rows:
            self._resize(members[0].run, rows)
        for member in members:
            member.stack, member.row = self, len(self.members)
            self.members.append(member)
            self._fill(member)

    def drop(self, member: Member) -> None:
        """Let a member go; the last one moves to its row."""
        last = self.members[-1]
        if self.captured is not None:
            self.captured.part(member)
            self.captured.part(last)
        released(member)
        self.members.pop()
        if last is not member:
            for tensor in self._tensors():
                tensor[member.row].copy_(tensor[last.row])
            last.row = member.row
            self.members[last.row] = last
            self._bind(last)
        member.stack, member.row = None, -1

    def in_a_graph(self, member: Member) -> bool:
        """Whether a member's next step will be a captured one."""
        return self.captured is not None and self.captured.takes(member)

    def step(self, members: Sequence[Member]) -> None:
        """Make a step of these members, on the batches that they have asked for; of captured ones maybe several."""
        if self.captured is not None and 2 * len(self.members) <= self.rows:
            self._resize(members[0].run, len(self.members))
        for member in members:
            if member.masks is not member.run.masks:
                self._mask(member)
        rest = members if self.captured is None else self._left_over(self.captured, members)
        for member in rest:
            if not member.drawn:
                member.draw()
        for neighbours in neighbours_in(rest):
            self._step_of(neighbours)

    def _left_over(self, captured: Captured, members: Sequence[Member]) -> Sequence[Member]:
        """Who has made no captured step."""
        fit = [member for member in members if captured.takes(member)]
        try:
            left = [*captured.step(fit), *(member for member in members if member not in fit)]
        except Exception as error:  # whatever it is, all can make their steps in the other way, or their own errors
            self.plain, self.record, self.captured = f"{type(error).__name__}: {first_line(error)}", None, None
            captured.close()
            return [member for member in members if member.late is None and member.failure is None]
        for member in left:
            captured.pause(member)
            self.plain = (captured.against(member) if member.shown else "") or self.plain
        return [member for member in left if member.failure is None]

    def through(self, rows: slice, inputs: Any, targets: Tensor, watched: Set[str]) -> Through:
        """Forward and backward pass of some rows on their batches [rows, B, ...]; nothing of the stack has changed."""
        leaves = {name: w[rows].detach() for name, w in self.weights.items()}
        trained = {name: leaves[name].requires_grad_() for _, names in self.groups for name in names}
        buffers = {name: b[rows].clone() for name, b in self.buffers.items()}
        self.passed.watch(watched)
        losses, outputs, seen = vmap(self.passed.through)(leaves, buffers, inputs, targets)
        slopes = torch.autograd.grad(losses.sum(), list(trained.values()), allow_unused=True)
        return Through(losses.detach(), outputs.detach(), seen, dict(zip(trained, slopes, strict=True)), buffers)

    def _step_of(self, members: Sequence[Member]) -> None:
        """The same of rows side by side whose batches have the same shapes."""
        rows = slice(members[0].row, members[-1].row + 1)
        inputs, targets = (_stacked(parts) for parts in zip(*[member.batch for member in members], strict=True))
        watched = {name for member in members for name in member.watch.observers}
        losses, outputs, seen, gradients, buffers = self.through(rows, inputs, targets, watched)
        for name, value in buffers.items():
            self.buffers[name][rows].copy_(value)
        _give(members, losses.tolist(), outputs.unbind(0), gradients)
        _show(members, seen)
        sound = [m for m in members if m.failure is None and m.values is not None and math.isfinite(m.values[1])]
        for neighbours in [members] if len(sound) == len(members) else neighbours_in(sound):
            self._move(neighbours, gradients, rows.start)

    @torch.no_grad()
    def _move(self, members: Sequence[Member], gradients: Mapping[str, Tensor | None], begin: int) -> None:
        """The optimiser's step of rows side by side; row `begin` is the first that `gradients` have."""
        low, high = members[0].row, members[-1].row + 1
        for number, (_, names) in enumerate(self.groups):
            settings = [member.run.optimizer.param_groups[number] for member in members]
            rates = [common([each[what] for each in settings]) for what in ("lr", "weight_decay")]
            for name in names:
                slope = gradients[name]
                if slope is not None:
                    w, g = self.weights[name][low:high], slope[low - begin : high - begin]
                    memory = {what: kept[low:high] for what, kept in self.memory[name].items()}
                    self._ruled(w, g, memory, rates, settings[0])
                    self.clear(name, slice(low, high), (w, *(memory[what] for what in memory if what != STEP)))

    def _ruled(
        self, w: Tensor, g: Tensor, memory: Mapping[str, Tensor], rates: Sequence[Sequence[float]], rule: dict[str, Any]
    ) -> None:
        lr, decay = (numbers(rate, w) for rate in rates)
        if self.simple:
            descended(w, g, memory, lr, decay, rule)
        else:
            by = moments(common(memory[STEP].add_(1).tolist()), lr, rule, w)
            adapted(w, g, memory, lr, decay, rule, by)

    def clear(self, name: str, rows: slice, tensors: Sequence[Tensor]) -> None:
        """What masks removed is 0 again, in weights and in what the optimiser remembers."""
        if name in self.bits:
            ones = self.bits[name][rows]
            for tensor in tensors:
                tensor.view(ones.dtype).bitwise_and_(ones)

    def _mask(self, member: Member) -> None:
        """The stack hears of a member's new masks, which its own weights obey already."""
        member.masks = member.run.masks
        if (held := member.run._held) is not None:
            held.aside()
        for name in {*self.bits, *member.masks}:
            w, keep = self.weights[name], member.masks.get(name)
            if name not in self.bits:
                self.bits[name] = torch.full_like(w, -1, dtype=INTEGERS[w.element_size()])
            self.bits[name][member.row] = -1 if keep is None else as_bits(keep, w.dtype)

    def _resize(self, run: Run, rows: int) -> None:
        """Tensors of so many rows, with what the others had; the members follow, and steps are captured anew."""
        if self.captured is not None:
            self.captured.close()
        like = dict(run.model.named_parameters())
        self.weights = {name: _resized(self.weights.get(name), p, rows) for name, p in like.items()}
        self.buffers = {name: _resized(self.buffers.get(name), b, rows) for name, b in run.model.named_buffers()}
        self.bits = {name: _resized(kept, kept[0], rows) for name, kept in self.bits.items()}
        for group, names in self.groups:
            for name in names:
                before, kinds = self.memory.get(name, {}), self._kinds(group, like[name])
                self.memory[name] = {what: _resized(before.get(what), one, rows) for what, one in kinds.items()}
        for member in self.members:
            self._bind(member)
        self.captured = self._anew(run) if self.record is not None else None

    def _anew(self, run: Run) -> Captured | None:
        self.plain = unrecordable(run.task)
        return None if self.plain or self.record is None else Captured(self, run.task, self.record(run.device))

    def _kinds(self, group: Mapping[str, Any], p: Tensor) -> dict[str, Tensor]:
        """What an optimiser remembers of a parameter, each with a tensor that is like it."""
        if self.simple:
            return {"momentum_buffer": p} if group["momentum"] else {}
        return {STEP: torch.tensor(0.0), "exp_avg": p, "exp_avg_sq": p}

    def _tensors(self) -> Iterator[Tensor]:
        yield from (*self.weights.values(), *self.buffers.values(), *self.bits.values())
        yield from (kept for memory in self.memory.values() for kept in memory.values())

    @torch.no_grad()
    def _fill(self, member: Member) -> None:
        """What a member has goes into its row, and becomes a view of it; what it does not remember yet is 0."""
        run = member.run
        for name, value in (*run.model.named_parameters(), *run.model.named_buffers()):
            self._of(name)[member.row].copy_(value)
        for name, parameter in run.model.named_parameters():
            state = run.optimizer.state.get(parameter, {})
            for what, kept in self.memory.get(name, {}).items():
                kept[member.row] = state.get(what, 0)
        self._bind(member)
        self._mask(member)

    def _bind(self, member: Member) -> None:
        """A member's tensors are views of its row."""
        run, row = member.run, member.row
        member.parameters = dict(run.model.named_parameters())
        named = (*member.parameters.items(), *run.model.named_buffers())
        for name, value in named:
            value.data = self._of(name)[row]
        member.tensors = [value for _, value in named]
        member.addresses = [value.data_ptr() for value in member.tensors]
        remembered = {name: self.memory[name] for name in member.parameters if self.memory.get(name)}
        for name, memory in remembered.items():
            run.optimizer.state[member.parameters[name]] = {what: kept[row] for what, kept in memory.items()}
        state = run.optimizer.state
        member.remembered = [(member.parameters[name], state[member.parameters[name]]) for name in remembered]

    def _of(self, name: str) -> Tensor:
        return self.weights[name] if name in self.weights else self.buffers[name]


def _stacked(parts: Sequence[Any]) -> Any:
    """The same part of several batches, [rows, B, ...]."""
    if isinstance(parts[0], Tensor):
        return torch.stack(list(parts))
    return tree_map(lambda *each: torch.stack(each), *parts)


def _give(
    members: Sequence[Member],
    losses: Sequence[float],
    outputs: Sequence[Tensor],
    gradients: Mapping[str, Tensor | None],
) -> None:
    """Each member gets its loss, its outputs and its gradients."""
    for member, loss, given in zip(members, losses, outputs, strict=True):
        member.values = given, loss
    for name, slope in gradients.items():
        for member, mine in zip(members, [None] * len(members) if slope is None else slope.unbind(0), strict=True):
            member.parameters[name].grad = mine


def _show(members: Sequence[Member], seen: Seen) -> None:
    """The hooks of each member that look at layers see what they would have seen; what they raise is their member's."""
    parts = {name: [(x.unbind(0), y.unbind(0)) for x, y in calls] for name, calls in seen.items()}
    for at, member in enumerate(members):
        try:
            for name, hooks in member.watch.observers.items():
                for x, y in parts[name]:
                    for module, hook, keywords in hooks:
                        hook(module, (x[at],), *(({},) if keywords else ()), y[at])
            member.shown = True
        except Exception as error:
            member.failure = error


def _resized(before: Tensor | None, like: Tensor, rows: int) -> Tensor:
    """So many rows like one tensor, as they were before, 0 where there were none."""
    found = torch.zeros((rows, *like.shape), dtype=like.dtype, device=like.device)
    if before is not None:
        found[: len(before)] = before[:rows]
    return found
