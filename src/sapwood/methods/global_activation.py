"""Global activation-based pruning: count how often neurons fire while training, prune the least active everywhere.

Whenever the running training accuracy reaches the next mark, the lowest-scored share of all hidden weights goes.

    marks: first + c (target - first) / cycles      shares: sparsity * base^c / sum_i base^i, of all weights

Paper: Ganguli & Chong, "Activation-based pruning of neural networks", Algorithms 17(1):48, 2024, Algorithms 1-3.
`criterion` "activity" is the paper's *Neurons*, "active_magnitude" its *Neurons & Weights*; any other criterion under
the same shares and marks is a control ("random_neuron"; "magnitude" with per_neuron=True: column norm).
Differs: a stop cancels the prune that would fall on the same epoch; one neuron of each layer always stays;
`plateau` and `wait`, off by default, fire a cycle when the accuracy has stopped rising, or so many epochs after the
last one, so that the sparsity asked for is met.
"""

from collections.abc import Iterator

from sapwood import criteria
from sapwood.errors import refuse_unless
from sapwood.methods.parts import cycles as cycle
from sapwood.methods.parts import phases
from sapwood.scoring.observation import observing
from sapwood.selection import schedule
from sapwood.training.loop import Moment, at_ends, train
from sapwood.training.run import Run


@phases.then(phases.retrain)
def global_activation(
    run: Run,
    *,
    sparsity: float = 0.8,
    cycles: int = 5,
    criterion: str = "activity",
    per_neuron: bool = False,
    shares: str = "geometric",
    base: float = 0.8,
    first: float = 0.80,
    target: float = 0.98,
    source: str = "stream",
    probe: int = 32,
    reset: str = "never",
    base_of: str = "all",
    granularity: str = "weight",
    plateau: int = 0,
    wait: int = 0,
    stop: str = "spikes",
    epochs: int = 500,
) -> Iterator[Moment]:
    """Prunes in `cycles` while training. What is counted is `source`: every training sample of every step ("stream"),
    `probe` samples at each epoch's end ("probe"), or a set of so many before each cycle, of training data ("fresh") or
    of validation data ("held out"). Counts of the first two start anew "after_cycle" or "never".
    """  # fmt: skip
    cycle.refuse_bad_source(run, source, probe)
    pace = cycle.Pace(run, plateau=plateau, wait=wait)
    refuse_unless("reset", reset, ("never", "after_cycle"))
    refuse_unless("granularity", granularity, ("weight", "neuron"))
    judge, layers = criteria.named(criterion), run.hidden()
    counts = cycle.counts(run, sparsity, cycles, shares=shares, base=base, base_of=base_of)
    marks = schedule.marks(first, target, cycles)
    ended, whole = phases.ending(target=target, stop=stop, goal=run.task.goal), granularity == "neuron"
    run.note(cycles_planned=cycles)
    seen = run.store("seen")
    streamed = judge.needs if source == "stream" else ()
    with observing(run.model, *streamed, only=layers, training=True, into=seen):
        for now in train(run, epochs=epochs, acts=at_ends):
            over = ended(run, now)
            if now.ends_epoch and not over and run.round < cycles:
                if source == "probe":
                    cycle.gather(seen, cycle.probe(run, judge, layers, probe))
                if pace.due(now, marks[run.round]):
                    total = cycle.counted(run, judge, layers, seen, source=source, samples=probe)
                    cycle.prune_lowest(
                        run, judge, total, layers, counts[run.round], per_neuron=per_neuron, whole_neurons=whole
                    )
                    pace.begin()
                    if reset == "after_cycle":
                        seen.clear()
            yield now
            if over:
                break
