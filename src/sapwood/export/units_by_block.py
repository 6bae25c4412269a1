"""Units by block: heads and widths of a pretrained model go in one pass, each block on what the smaller ones give."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.called import checked
from sapwood.currency import Keep
from sapwood.errors import InputError
from sapwood.export.amounts import Counts, Sparsity, alike, ranked, refuse_absent
from sapwood.export.build import bytes_and_parameters
from sapwood.export.caches import without_caches, without_logits
from sapwood.export.inside import Inside, Place, inside
from sapwood.export.pretrained import follow_, is_pretrained, unmarked_
from sapwood.export.shot_units import OneShotUnits, UnitsSolved
from sapwood.export.trunk import trunk_of
from sapwood.export.turns import Turns, placed
from sapwood.export.unit_rules import MAGNITUDE, UnitRule
from sapwood.measure.example import Example
from sapwood.reconstruction.centring import input_sum
from sapwood.reconstruction.flow import Flow
from sapwood.reconstruction.units import columns_of
from sapwood.scoring import batches as batching
from sapwood.scoring.modes import eagerly, evaluating
from sapwood.scoring.statistics import count, gram
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.anatomy import Anatomy

Tell = Callable[[str], object]
TOKENS = 32  # of a sample, on which the proof is made


@checked(
    batches="a list of batches, or a DataLoader",
    sparsity="the fraction removed, as in sparsity=0.2, or one for each kind: {'heads': 0.25, 'widths': 0.2}",
    by="'outputs', 'surgeon' or 'magnitude'",
    multiple="a whole number of 1 or more, of which widths become multiples",
    blocks="the list of blocks by its name, as in blocks='model.layers', or the names of the blocks",
    progress="a function that is told one line for each block, such as print",
)
def one_shot_units(
    model: nn.Module,
    batches: Iterable[Any],
    sparsity: Sparsity = 0.2,
    *,
    by: str = "outputs",
    refit: bool = True,
    uniform: bool = True,
    multiple: int = 8,
    keep: Collection[str] = (),
    blocks: str | Sequence[str] | None = None,
    example: Example | None = None,
    device: torch.device | str | None = None,
    progress: Tell | None = None,
) -> OneShotUnits:
    """Remove heads and widths from a pretrained model in one pass over its blocks; `.model` of what returns is smaller.

    `sparsity` is the fraction removed of the weights in the blocks' layers: of heads the nearest whole number of the
    same share, widths make up the rest. {"heads": 0.25, "widths": 0.2} says it of each kind's units. Heads are those of
    attention; of grouped queries, a group with its key and value; widths are those inside of MLPs. What is left of a
    head, and the stream between blocks, are as wide as before. Widths that change become multiples of `multiple`.

    `by` is "outputs" (what a unit adds to the outputs of the layer that reads it, squared), "surgeon" (units go one by
    one, each time the one that the others make up for best: slower, and counts on the refit) or "magnitude" (all
    weights that touch a unit, squared). With `refit` the layer that reads the units, as `o_proj` and `down_proj` do,
    gets the weights of least squares, and the best bias where it has one. With `uniform` all places of a kind lose the
    same share, so that a config can say the widths, and units of a Hugging Face model stay whose number it cannot say.
    Otherwise one ranking over the model decides, by what outputs lose for each weight removed; a quarter of each place
    stays.

    Each block is observed on what the smaller blocks before it give for `batches`, which are as for `one_shot`. The
    smaller model is proven to equal the model with the removed units as 0, on `example`, by default the first sample,
    of tokens the first 32.
    Its `config` follows. Modules and parameters named in `keep` keep their shapes. `blocks` and `device` are those of
    `one_shot`. `model` is as it was, whatever happens; only readers have a second copy meanwhile.

    InputError: an amount that does not fit or removes nothing, a name that is not there, blocks that do not run one
    after another, sums that are not finite, a model of which nothing in the blocks can be removed.

    >>> net = nn.Sequential(nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 4)), nn.Linear(4, 4))
    >>> one_shot_units(net, [torch.randn(99, 4)], {"widths": 0.5}).model[0]
    Sequential(
      (0): Linear(in_features=4, out_features=16, bias=True)
      (1): ReLU()
      (2): Linear(in_features=16, out_features=4, bias=True)
    )

    *Paper:* Kurtic, Frantar, Alistarh 2023, "ZipLM" (arXiv 2302.04089), for "surgeon"; the order of SparseGPT.
    *Differs:* no search for a time; in float64; what stays is solved for once more at the end, without a ridge.
    """
    asked = UnitRule(sparsity, by, refit, uniform, multiple, keep)
    with without_caches(model) as restored:
        given = [arguments for _, arguments in batching.each(model, batches, "one_shot_units()")]
        anatomy = Anatomy(model, _first(given[0]) if example is None else example)
        found = Going(anatomy, given, asked, blocks, device, progress)
        with _as_it_was(model, found.before):
            found.run_()
            small = shrink(anatomy, found.keep, [place.site for place in found.inside.places])
        loads = is_pretrained(model) and follow_(small.model, anatomy.example)
        restored(small.model)
    unmarked_(small.model)
    return OneShotUnits(
        str(asked),
        small.model,
        found.keep,
        tuple(found.layers),
        found.sparsity,
        (bytes_and_parameters(model)[1], bytes_and_parameters(small.model)[1]),
        found.seconds,
        found.tokens,
        found.inside.stays,
        small.difference,
        small.proven,
        loads,
    )


def going(anatomy: Anatomy, batches: Iterable[Any], asked: UnitRule) -> "Going":
    """A pass over the blocks of a network, for who goes on with the network that it writes on."""
    given = [arguments for _, arguments in batching.each(anatomy.model, batches, "one_shot_units()")]
    return Going(anatomy, given, asked)


class Going:
    """One pass over the blocks, in which units become 0 where they are read. What is written over is in `before`."""

    def __init__(
        self,
        anatomy: Anatomy,
        given: Sequence[batching.Arguments],
        asked: UnitRule,
        blocks: str | Sequence[str] | None = None,
        device: torch.device | str | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.model, self.asked, self.tell = anatomy.model, asked, tell or _silent
        trunk, saved = trunk_of(self.model, blocks, None), asked.uniform and is_pretrained(self.model)
        self.inside: Inside = inside(anatomy, trunk, keep=asked.keep, multiple=asked.multiple, saved=saved)
        refuse_absent(asked.sparsity, self.inside, self.model)
        given = [without_logits(self.model, each) for each in given]
        self.turns = Turns(self.model, trunk, given, None if device is None else torch.device(device))
        self.keep: Keep = {}
        self.before, self.layers, self.seconds = dict[str, Tensor](), list[UnitsSolved](), dict[str, float]()
        self.tokens = 0

    @property
    def sparsity(self) -> float:
        """The fraction removed of the weights in the blocks' layers."""
        gone = sum(int((~self.keep[place.name]).sum()) * place.weights for place in self.inside.places)
        return gone / self.inside.weights

    @torch.no_grad()
    def run_(self) -> None:
        """Go through the blocks; the readers have their new weights afterwards."""
        with evaluating(self.model), eagerly():
            counts, flow, names = self._counts(), self.turns.flow(), self.turns.trunk.names
            for number, name in enumerate(names):
                with placed(flow.blocks[number], self.turns.device):
                    if places := self.inside.of_block.get(name):
                        self._solve_(flow, number, places, counts)
                    if number + 1 < len(names):
                        flow.forward(number)

    def _solve_(self, flow: Flow, number: int, places: Sequence[Place], counts: Counts) -> None:
        """One block."""
        name, began = self.turns.trunk.names[number], time.perf_counter()
        seen, worst = self._seen(flow, number, places), 0.0
        for place in places:
            sums = seen[place.reader.name]
            each = self.asked.solved(self.model, place, sums, counts[place.name])
            worst, self.tokens = max(worst, each.error), self.tokens or int(sums[count])
            self.keep[place.name] = each.keep
            if not bool(each.keep.all()):
                self._write_(place.reader.parameter, each.weight)
                if each.bias is not None:
                    self._write_(place.reader.parameter.removesuffix("weight") + "bias", each.bias)
                for each_sum in (sums[gram], sums[gram].T, sums.get(input_sum)):  # the layer may read other units, too
                    if each_sum is not None:
                        each_sum[~columns_of(each.keep, place.unit_of_I)] = 0
            self.layers.append(
                UnitsSolved(place.name, place.reader.name, name, place.kind, place.site.units,
                            int(each.keep.sum()), each.masked, each.error)
            )  # fmt: skip
        self.seconds[name] = time.perf_counter() - began
        self.tell(f"block {number + 1} of {len(self.turns.trunk.names)}, {name}: largest error {worst:.4f}, "
                  f"{self.seconds[name]:.1f} s")  # fmt: skip

    def _seen(self, flow: Flow, number: int, places: Sequence[Place]) -> Any:
        sums = (gram, input_sum) if self.asked.refit else (gram,)
        return self.turns.observed(flow, number, *sums, only=[place.reader.name for place in places])

    def _write_(self, name: str, values: Tensor) -> None:
        parameter = self.model.get_parameter(name)
        self.before.setdefault(name, parameter.detach().cpu().clone())
        parameter.copy_(values)

    def _counts(self) -> Counts:
        """How many units of each place go."""
        asked = self.asked.sparsity
        counts = alike(self.inside, asked) if self.asked.uniform else ranked(self.inside, asked, self._losses())
        shares = asked.values() if isinstance(asked, Mapping) else [asked]
        if any(shares) and not any(counts.values()):
            kinds = {p.kind: f"{p.may[1]} of {p.site.units} {p.kind}" for p in self.inside.places}
            raise InputError(
                f"sparsity {asked} removes nothing: at least {' or '.join(kinds.values())} go together; give more, "
                "or a smaller multiple="
            )
        return counts

    def _losses(self) -> dict[str, Tensor]:
        """What units lose in the model as it is."""
        if self.asked.by == MAGNITUDE:
            return {place.name: self.asked.losses(self.model, place, {}) for place in self.inside.places}
        flow, found, names = self.turns.flow(), dict[str, Tensor](), self.turns.trunk.names
        for number, name in enumerate(names):
            with placed(flow.blocks[number], self.turns.device):
                if places := self.inside.of_block.get(name):
                    seen = self._seen(flow, number, places)
                    found |= {p.name: self.asked.losses(self.model, p, seen[p.reader.name]) for p in places}
                if number + 1 < len(names):
                    flow.forward(number)
        return found


@contextmanager
def _as_it_was(model: nn.Module, before: dict[str, Tensor]) -> Iterator[None]:
    """Afterwards the parameters have the values that were noted before they were written."""
    try:
        yield
    finally:
        with torch.no_grad():
            for name, values in before.items():
                model.get_parameter(name).copy_(values)


def _first(arguments: batching.Arguments) -> Example:
    """The first sample of what a model is called with; of one that is tokens and nothing else, its beginning."""
    given = (tuple(arguments.positional), dict(arguments.keywords))
    if given[0] and given[1]:
        raise InputError("batches are arguments with and without names; give example=, one sample of them")
    tensors = [x for x in pytree.tree_leaves(given) if isinstance(x, Tensor) and x.dim()]
    plain = len(tensors) == 1 and tensors[0].dim() == 2 and not tensors[0].is_floating_point()
    one: Any = pytree.tree_map_only(
        Tensor, lambda x: (x[:1, :TOKENS] if plain else x[:1]) if x.dim() and len(x) == len(tensors[0]) else x, given
    )
    found: Example = one[0] or one[1]
    return found


def _silent(line: str) -> None:
    """Nobody asked for progress."""
