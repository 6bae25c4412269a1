"""Transformable architecture search: widths and depths are learned beside the weights, then trained anew, and taught.

    steps in turn:  weights by CE on one half of the training samples,  preferences by CE on the other + price * L
    L = log E, -log E or 0:  E the expected multiply-adds; which one says the shape preferred now (`parts.searching`)
    then the preferred widths and depths, from new weights:  (1 - a) CE + a T² KL(teacher || network)

Paper: Dong & Yang, "Network pruning via transformable architecture search", NeurIPS 2019, arXiv:1905.09717. Defaults:
the authors' code for CIFAR-10. From it, too: the temperature falls from 5 to 0.1 by a cosine (the paper: from 10, on a
line), the last step's preferences count, and L allows nothing above what is wanted.
Differs: units that several layers make, as of residual streams, stay, so that no shortcut needs a convolution. Depths
weigh blocks, where the code mixes what each block gives; for a single depth it is the same. Adam follows the course.
"""

from collections.abc import Iterator

from torch.optim import Adam

from sapwood.errors import InputError
from sapwood.methods.parts.controls import drawn_for_its_size, made_anew
from sapwood.methods.parts.searching import Search, Space, choices, in_turn, space
from sapwood.methods.parts.widths import removable
from sapwood.shrinking.depth import remove_branches
from sapwood.shrinking.finding import sites
from sapwood.tasks.recipe import taught
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run
from sapwood.training.together import Together


@declares("rebuilds")
def transformable_architecture_search(
    run: Run, *, wanted: float = 0.5, depth: bool = True, price: float = 2.0, slack: float = 0.05, rate: float = 1e-3,
    decay: float = 1e-3, teach_epochs: int = 300, soft: float = 0.9, temperature: float = 4.0,
    search_epochs: int = 600, epochs: int = 300,
) -> Iterator[Moment]:  # fmt: skip
    """Searches for a shape of about `wanted` of the multiply-adds, then trains it for `epochs`.

    What is found may cost more or less than `wanted`: the share is noted, `macs_left`. `price` 0 is no pressure. The
    whole network is trained first, for `teach_epochs`, and teaches; 0: nobody does. A trial that has a teacher is
    taught by that one. Noted, too: the mean entropy of the choices, `spread`, and the share of `sharp` ones, below 0.8.
    """
    if not 0 < wanted <= 1 or not price >= 0 or not 0 <= slack <= 1 or not rate > 0 or not decay >= 0:
        raise InputError(f"{wanted=}, {price=}, {slack=}, {rate=}, {decay=}: need a share in (0, 1], a price of 0 or "
                         "more, a share in [0, 1], a rate above 0, a decay of 0 or more")  # fmt: skip
    if min(teach_epochs, search_epochs - 1, epochs) < 0:
        raise InputError(f"{teach_epochs=}, {search_epochs=}, {epochs=}: need 0 or more, to search 1 or more")
    task, final = run.task, run.task.loss
    if "teacher" not in run.given and teach_epochs:
        yield from train(run, epochs=teach_epochs)
        teacher = task.model().to(run.device)
        teacher.load_state_dict(run.remember("teacher", lambda: dict(run.model.state_dict())))
        final = taught(task, teacher, temperature=temperature, soft=soft).loss
        run.become(made_anew(run, "weights to search with"))
    found = space(run, removable(run), depth)
    adam = Adam(found.gated.gates.parameters(), lr=rate, betas=(0.5, 0.999), weight_decay=decay)
    weights = task.optimizer([*found.gated.model.parameters(), *found.gated.norms.parameters()])
    whole, steps = run.reference.macs, search_epochs * task.steps_per_epoch
    run.become(found.gated, Together(weights, adam))
    run.task, run.loss = in_turn(task, run.seed), getattr(task.loss, "own", task.loss)
    yield from train(run, epochs=search_epochs, update=Search(found, wanted * whole, whole, price, slack, steps))
    run.task, run.loss = task, final
    rebuild(run, found)
    yield from train(run, epochs=epochs)


def rebuild(run: Run, found: Space) -> None:
    """Go on with a network of the widths and depths that are preferred, and new weights."""
    keep = run.remember("preferred", found.found)
    spread = run.remember("spread", lambda: [gate.spread() for gate in choices(found.gated)])
    run.become(made_anew(run, "fresh weights"))
    stay = ((blocks, keep[name].tolist()) for name, blocks in found.depths.items())
    if gone := [block for blocks, kept in stay for block, stays in zip(blocks, kept, strict=True) if not stays]:
        run.become(remove_branches(run.apart.several, gone).model)
    left = [site for site in sites(run.apart.several) if site.name in {each.name for each in found.widths}]
    built = run.shrink({site.name: keep[site.name] for site in left}, left)
    drawn_for_its_size(run)
    run.note(macs_left=built.size.macs / run.reference.macs, spread=sum(spread) / len(spread),
             sharp=sum(each < 0.8 for each in spread) / len(spread), blocks_out=float(len(gone)))  # fmt: skip
