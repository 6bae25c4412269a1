"""Local activation-based pruning: one hidden layer per cycle, first to last, each pruned once by the same percentage.

The first layer is pruned when the running training accuracy reaches `first`, each next one when the network is back at
the accuracy at which the previous one was pruned. Neurons are counted on a fresh probe of training samples.

Paper: Ganguli & Chong, "Activation-based pruning of neural networks", Algorithms 17(1):48, 2024, Algorithms 4-6.
`criterion` "activity" is the paper's *Neurons* (floor(n x) neurons of a layer of n go), "active_magnitude" its
*Neurons & Weights* (floor(weights x) weights go); any other criterion is a control.
Differs: when a later layer is due is from the authors' code, the paper does not say; the probe is 1,024 samples unless
told otherwise, because the code's 32 cannot rank 300 neurons; a stop cancels the prune of the same epoch; `plateau` and
`wait`, off by default, as in `global_activation`.
"""

from collections.abc import Iterator

from sapwood import criteria
from sapwood.methods.parts import cycles as cycle
from sapwood.methods.parts import phases
from sapwood.scoring.layers import chosen
from sapwood.scoring.layout import Layer, matrix
from sapwood.selection import schedule
from sapwood.training.loop import Moment, at_ends, train
from sapwood.training.run import Run


@phases.then(phases.retrain)
def local_activation(
    run: Run,
    *,
    sparsity: float = 0.8,
    criterion: str = "activity",
    per_neuron: bool = False,
    first: float = 0.80,
    target: float = 0.98,
    probe: int = 1024,
    plateau: int = 0,
    wait: int = 0,
    stop: str = "spikes",
    epochs: int = 500,
) -> Iterator[Moment]:
    """Prunes the hidden layers one after another while training, each to `sparsity`."""
    cycle.refuse_bad(probe=probe)
    pace = cycle.Pace(run, plateau=plateau, wait=wait)
    judge, layers = criteria.named(criterion), chosen(run.model, run.hidden())
    names = list(layers)
    counts = [_count(layer, sparsity, per_neuron or judge.per == "output") for layer in layers.values()]
    ended = phases.ending(target=target, stop=stop, goal=run.task.goal)
    run.note(cycles_planned=len(names))
    run.memory.setdefault("mark", first)
    for now in train(run, epochs=epochs, acts=at_ends):
        over = ended(run, now)
        waiting = now.ends_epoch and not over and run.round < len(names)
        if waiting and pace.due(now, run.memory["mark"]):
            layer = names[run.round]
            seen = cycle.probe(run, judge, [layer], probe)
            cycle.prune_lowest(run, judge, seen, [layer], counts[run.round], per_neuron=per_neuron)
            pace.begin()
            run.memory["mark"] = run.task.goal.of(now.metrics, "train")
        yield now
        if over:
            break


def _count(layer: Layer, sparsity: float, by_neuron: bool) -> int:
    """How many weights of the layer go: whole neurons, or single weights; the product rounded down."""
    piece = matrix(layer, layer.weight).shape[1] if by_neuron else 1
    return schedule.counts_of(schedule.uniform_shares(sparsity, 1), layer.weight.numel() // piece)[0] * piece
