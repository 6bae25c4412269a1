"""Block by block: single weights of a pretrained model are removed in one pass, each block on what pruned ones give."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sapwood import processes
from sapwood.called import checked
from sapwood.criteria import CRITERIA
from sapwood.currency import Masks
from sapwood.errors import InputError
from sapwood.export.caches import without_caches, without_logits
from sapwood.export.pretrained import unmarked_
from sapwood.export.removal import Ratios, Removal, removal_of
from sapwood.export.shot import LayerSolved, OneShot
from sapwood.export.trunk import Trunk, trunk_of
from sapwood.export.turns import Turns, placed
from sapwood.reconstruction.flow import Flow
from sapwood.reconstruction.normal import output_error
from sapwood.scoring import batches as batching
from sapwood.scoring.layers import Weight
from sapwood.scoring.layout import matrix, shaped
from sapwood.scoring.modes import eagerly, evaluating
from sapwood.scoring.statistics import count, gram, input_square
from sapwood.selection.outliers import by_outliers, share_of_outliers

Tell = Callable[[str], object]
Written = tuple[Weight, Tensor, Tensor]  # a weight, what it becomes, its mask, both shaped like it


@checked(
    batches="a list of batches, or a DataLoader",
    sparsity="the fraction removed, as in sparsity=0.5",
    pattern="how many of how many are kept, as in pattern='2:4'",
    ratios="'uniform', 'owl', or {block: sparsity}",
    blocks="the list of blocks by its name, as in blocks='model.layers', or the names of the blocks",
    after="what an interrupted one_shot left: error.pruned",
    progress="a function that is told one line for each block, such as print",
)
@torch.no_grad()
def one_shot(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    sparsity: float | None = None,
    pattern: str | None = None,
    by: str = "wanda",
    ratios: Ratios = "uniform",
    refit: bool = False,
    blocks: str | Sequence[str] | None = None,
    only: Iterable[str] | None = None,
    device: torch.device | str | None = None,
    after: OneShot | None = None,
    progress: Tell | None = None,
) -> OneShot:
    """Set weights of a pretrained `model` to 0 in one pass over its blocks; the `OneShot` returned holds the masks.

    Give `sparsity`, the fraction removed of each layer; or `pattern`, "2:4" for two kept of every four inputs in a row.
    `by` is "wanda" (|w| times the norm of its input, compared within each output's row), "sparsegpt" (column by column;
    the weights behind make up for what is removed) or "magnitude" (|w|, within the layer). With `refit` the kept
    weights become those of least squares for the mask. `ratios="owl"` gives blocks with more outliers a lower
    sparsity; {block: sparsity} says it of each, in place of `sparsity`.

    Linear and convolutional layers in the model's `blocks` are pruned: in the list of modules that holds most of its
    weights, or the list or blocks named; or the layers named in `only`. Embeddings, head and biases are left alone, and
    so are layers that did not run, unless they were named.
    Each block is observed on what the pruned blocks before it give for `batches`, which are as for `observe`: tokens
    [B, T], or dicts, whose padding (0 in "attention_mask") is not counted. In memory are the model, what one block
    gives for all batches, and one block's sums. With `device` each block is moved there for its turn, and back.

    Changes `model` in place. Should the pass be interrupted, blocks are pruned whole or not at all, and the error says
    which; go on with `after=error.pruned`, to the same bits.

    InputError: an amount or layers that do not fit, blocks that do not run one after another, sums that are not finite.

    >>> net, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), [torch.randn(30, 8)]
    >>> one_shot(net, x, pattern="2:4").sparsity
    0.5

    *Paper:* Frantar, Alistarh 2023 (arXiv 2301.00774) for the order and "sparsegpt"; Sun et al. 2023 (arXiv
    2306.11695) for "wanda"; Yin et al. 2023 (arXiv 2310.05175) for "owl".
    *Differs:* layers are solved in float64; exactly as many weights are removed as asked for.
    """
    processes.refuse_sharded(model, "go over its blocks")
    trunk = trunk_of(model, blocks, only)
    asked = removal_of(sparsity, pattern, by, ratios, refit, trunk)
    place = None if device is None else torch.device(device)
    _refuse_another(model, trunk, asked, after)
    with evaluating(model), eagerly(), without_caches(model):
        given = [without_logits(model, each) for _, each in batching.each(model, batches, "one_shot()")]
        shot = _Pass(Turns(model, trunk, given, place), asked).run(after, progress or _silent)
    unmarked_(model)
    return shot


@dataclass(frozen=True)
class _Pass:
    """One pass over the blocks."""

    turns: Turns
    asked: Removal

    @property
    def trunk(self) -> Trunk:
        """The blocks."""
        return self.turns.trunk

    def run(self, after: OneShot | None, tell: Tell) -> OneShot:
        """Prune the blocks that are not in `after`; the whole record."""
        shot = after or OneShot(str(self.asked), {}, (), self._ratios(), {}, 0, self.trunk.outside)
        flow, names = self.turns.flow(), self.trunk.names
        try:
            for number, name in enumerate(names):
                with placed(flow.blocks[number], self.turns.device):
                    if name in shot.left:
                        shot = self._pruned(flow, number, shot)
                        tell(_line(shot, name))
                    if number + 1 < len(names):
                        flow.forward(number)
        except BaseException as error:  # Ctrl-C too
            _say_what_is_done(error, shot)
            raise
        return shot

    def _pruned(self, flow: Flow, number: int, shot: OneShot) -> OneShot:
        """One block pruned, and the record with it."""
        name, began = self.trunk.names[number], time.perf_counter()
        layers, written = list[LayerSolved](), list[Written]()
        seen = self.turns.observed(flow, number, gram)
        tokens = shot.tokens or next((int(sums[count]) for sums in seen.values()), 0)
        unseen = tuple(each.name for each in self.trunk.inside[name] if each.name not in seen)
        for each in self.trunk.inside[name]:
            if each.name in unseen:
                continue
            solved, change = self._solved(each, seen.pop(each.name)[gram], name, shot.ratios[name])
            layers.append(solved)
            written.append(change)
        masks: Masks = {each.parameter: keep.cpu() for each, _, keep in written}
        _write(written)
        seconds = {**shot.seconds, name: time.perf_counter() - began}
        return replace(
            shot,
            masks=shot.masks | masks,
            layers=(*shot.layers, *layers),
            seconds=seconds,
            tokens=tokens,
            untouched=shot.untouched + unseen,
        )

    def _solved(self, each: Weight, gram_II: Tensor, block: str, sparsity: float) -> tuple[LayerSolved, Written]:
        layer, before = each.layers[0], each.tensor.detach()
        w_OI = matrix(layer, before)
        try:
            if not bool(torch.isfinite(gram_II).all()):
                raise InputError("what it reads holds NaN or infinite values; check the model, its type and its data")
            found, keep = self.asked.solved(w_OI.clone(), gram_II, sparsity)
            errors = _errors(w_OI, found, keep, gram_II)
        except InputError as error:
            raise InputError(f"layer {each.name!r}: {error}") from error
        removed = 1 - int(keep.sum()) / keep.numel()
        return LayerSolved(each.name, block, removed, *errors), (
            each,
            shaped(layer, found, before),
            shaped(layer, keep, before),
        )

    def _ratios(self) -> Mapping[str, float]:
        """The sparsity of each block."""
        if isinstance(self.asked.ratios, Mapping):
            return {name: float(self.asked.ratios[name]) for name in self.trunk.pruned}
        if self.asked.ratios == "uniform":
            return dict.fromkeys(self.trunk.pruned, self.asked.sparsity)
        return by_outliers(self._outliers(), self.asked.sparsity, sizes=self.trunk.sizes)

    def _outliers(self) -> dict[str, float]:
        """The share of Wanda's scores of each block that stand out, in the model as it is."""
        flow, shares = self.turns.flow(), dict[str, float]()
        for number, name in enumerate(self.trunk.names):
            with placed(flow.blocks[number], self.turns.device):
                if self.trunk.inside[name]:
                    seen = self.turns.observed(flow, number, input_square)
                    shares[name] = share_of_outliers(
                        CRITERIA["wanda"].score(matrix(each.layer, each.tensor.detach()), seen[each.name])
                        for each in self.trunk.inside[name]
                        if each.name in seen
                    )
                flow.forward(number)
        return shares


def _errors(w_OI: Tensor, found: Tensor, keep: Tensor, gram_II: Tensor) -> tuple[float, float]:
    """The errors of a layer's outputs with the mask alone, and with the weights that were found."""
    masked = torch.where(keep, w_OI, 0)
    now = output_error(found, w_OI, gram_II)
    return now if torch.equal(masked, found) else output_error(masked, w_OI, gram_II), now


def _write(written: Sequence[Written]) -> None:
    """All of a block's weights, or none."""
    before = [each.tensor.detach().clone() for each, _, _ in written]
    try:
        for each, found, _ in written:
            each.tensor.detach().copy_(found)
    except BaseException:
        for (each, _, _), was in zip(written, before, strict=True):
            each.tensor.detach().copy_(was)
        raise


def _say_what_is_done(error: BaseException, shot: OneShot) -> None:
    """Add to an error which blocks are pruned, and the record of them as `error.pruned`."""
    vars(error)["pruned"] = shot
    done, of = list(shot.seconds), len(shot.ratios)
    if not done:
        error.add_note("one_shot: nothing is pruned, the model is as it was")
        return
    error.add_note(
        f"one_shot: {len(done)} of {of} blocks are pruned, {done[0]} to {done[-1]}; the others are as they were. "
        "error.pruned holds the masks; one_shot(..., after=error.pruned) prunes the rest"
    )


def _line(shot: OneShot, name: str) -> str:
    mine = [each for each in shot.layers if each.block == name]
    done, of = len(shot.seconds), len(shot.ratios)
    rest = sum(shot.seconds.values()) / done * (of - done)
    worst = max((each.error for each in mine), default=0.0)
    return (
        f"block {done} of {of}, {name}: largest error {worst:.4f}, {shot.seconds[name]:.1f} s; about {rest:.0f} s left"
    )


def _refuse_another(model: nn.Module, trunk: Trunk, asked: Removal, after: OneShot | None) -> None:
    """InputError unless `after` tells of this model."""
    if after is None:
        return
    if list(after.ratios) != trunk.pruned or after.asked != str(asked):
        raise InputError(
            f"after= tells of {after.asked} in {len(after.ratios)} blocks, and asked for is {asked} in "
            f"{len(trunk.pruned)}; ask for the same"
        )
    every = dict(model.named_parameters(remove_duplicate=False))
    for name, keep in after.masks.items():
        if (
            name not in every
            or every[name].shape != keep.shape
            or bool(every[name][~keep.to(every[name].device)].any())
        ):
            raise InputError(f"after= tells of zeros in {name!r} that this model does not have; give the model it left")


def _silent(line: str) -> None:
    """Nobody asked for progress."""
