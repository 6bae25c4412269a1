"""Self-adaptive pruning: each sample decides which channels are computed; their mean cost is held to a budget.

    loss + weight * (mean over the batch of F_b / F - b)²,   F_b multiply-adds of sample b and of the modules, F of all
    b falls from 1 at `warm` to `budget` at `reached`, shares of the training; n, the noise of gates, from 1 to 0

Paper: Chen, Zhu, Li, Zhao, "Self-adaptive network pruning", ICONIP 2019, arXiv:1910.08906. From its abstract: modules
in the layers that score channels and decide, trained together with the network, and a mean cost held to a budget.
Differs: a reconstruction, since neither code nor a printed number of the authors could be had. Everything else is ours:
the module (`gates.saliency`), the form of the cost, the warm-up with all gates open, the schedule, the defaults. Noise
is gone by `reached`, so that the last decisions of training are those of evaluation. Modules train by Adam. Gates sit
behind norms, on convolutions (without any, on linear layers) whose channels one layer makes, and not on the first.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.optim import Adam

from sapwood.errors import InputError
from sapwood.gates import Gated, Saliency
from sapwood.methods.parts.adaptivity import Priced, deciding, told
from sapwood.methods.parts.widths import removable
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.scaling import points
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, descend, train
from sapwood.training.run import Run
from sapwood.training.task import Batch
from sapwood.training.together import Together

UNCUT = "nothing is cut, since other samples need what one leaves out"
UNMET = {
    "the network with its units at 0 answers, in evaluation, as the one that is built": UNCUT,
    "a file of the network loads to the same outputs": "no file builds modules; export.Skipping runs the network",
    "interrupted just before rebuilding and resumed: the same bits": UNCUT,
    "interrupted just after rebuilding and resumed: the same bits": UNCUT,
}


@declares("rebuilds", unmet=UNMET)
def self_adaptive(
    run: Run, *, budget: float = 0.5, weight: float = 5.0, warm: float = 0.2, reached: float = 0.6, rate: float = 0.01,
    start: float = 2.0, least: float = 0.1, epochs: int = 160, judged: int = 0,
) -> Iterator[Moment]:  # fmt: skip
    """Trains network and modules for `epochs`; what is left is both, a `Gated`, which `export.Skipping` runs.

    `budget`: the mean share of multiply-adds, modules included. `rate` is the modules' learning rate, which follows the
    task's course. At least the share `least` of each layer is open. Noted, of the first `judged` test samples (0: all):
    what they cost, how their masks differ, and what is right with their own, with those of others, and with the most
    frequent; with a network as `like`, the rank correlation of its losses with costs (`methods.parts.adaptivity`).
    """
    if not 0 < budget <= 1 or not 0 <= warm < reached <= 1 or not (weight >= 0 and rate > 0) or judged < 0:
        raise InputError(f"{budget=}, {weight=}, {warm=}, {reached=}, {rate=}, {judged=}: need a budget in (0, 1], "
                         "0 <= warm < reached <= 1, weight and judged of 0 or more, a rate above 0")  # fmt: skip
    network, found = run.model, deciding(run, removable(run))
    made = {name: Saliency(site.units, reads=reads, start=start, least=least) for name, (site, reads) in found.items()}
    kept = [site for site, _ in found.values()]
    gated = Gated(network, made, points(run.apart.several, kept)).to(next(network.parameters()))
    priced = Priced(gated, macs_of(run.apart.one, kept))
    steps = epochs * run.task.steps_per_epoch

    def risen() -> float:
        return min(max(((run.step - run.begun) / steps - warm) / (reached - warm), 0.0), 1.0)

    def loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        over = priced.shares().mean() - (1 - risen() * (1 - budget))
        return run.task.loss(model, batch, outputs) + (weight * over**2 if risen() > 0 else 0)

    def update(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
        for gate in made.values():
            gate.set_(awake=risen() > 0, noise=1 - risen())
        return descend(run, batch)

    run.become(gated, Together(run.task.optimizer(network.parameters()), Adam(gated.gates.parameters(), lr=rate)))
    run.loss = loss
    yield from train(run, epochs=epochs, update=update)
    run.note(**run.remember("adaptivity", lambda: told(run, priced, judged)))
