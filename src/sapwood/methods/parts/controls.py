"""Controls: what a method's masks are compared with - other places at the same densities, other weights under them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapwood.currency import Masks
from sapwood.errors import refuse_unless
from sapwood.training.draws import luck
from sapwood.training.run import Run

CONTROLS = ("none", "shuffled", "reinitialised")


def controlled(
    run: Run, masks: Masks, weights: Mapping[str, Tensor], control: str
) -> tuple[Masks, Mapping[str, Tensor]]:
    """The masks and weights to train with: those given, or with the one or the other replaced.

    "shuffled": each layer keeps as many weights, at places drawn anew. "reinitialised": other initial weights.
    *Paper:* Frankle & Carbin 2019, arXiv:1803.03635; Frankle et al. 2021, arXiv:2009.08576.
    """
    refuse_unless("control", control, CONTROLS)
    return (
        shuffled(masks, run.seed) if control == "shuffled" else masks,
        reinitialised(run) if control == "reinitialised" else weights,
    )


def shuffled(masks: Masks, seed: int) -> Masks:
    """The same number kept in each layer, anywhere in it: a function of the masks' shapes, numbers and the seed."""
    drawn = luck(seed, "shuffled masks")
    return {
        name: keep.flatten()[torch.randperm(keep.numel(), generator=drawn).to(keep.device)].view(keep.shape)
        for name, keep in masks.items()
    }


def reinitialised(run: Run) -> dict[str, Tensor]:
    """The weights that the run's network would have started with under another seed; no random state is advanced."""
    other = made_anew(run, "other initial weights")
    return {name: value.to(run.device) for name, value in other.state_dict().items()}


def made_anew(run: Run, what: str) -> nn.Module:
    """Another network of the run's task, its weights drawn by luck for `what`; no random state is advanced."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(luck(run.seed, what).get_state())
        return run.task.model()


def drawn_for_its_size(run: Run) -> None:
    """Give a rebuilt network new weights, by the rule of the run's task for its size; none if it has no such rule.

    See `Task.redraws`: then the weights stay that were cut from the whole network's.
    """
    if run.task.redraws:
        run.task.init(run.model, int(torch.randint(2**32, (), generator=luck(run.seed, "weights of its size"))))
