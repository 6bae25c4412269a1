"""Lottery ticket: train, remove the smallest weights, put the others back to what they began with, and again.

    density (1 - each)^r after r rounds in hidden layers, (1 - output_share * each)^r in the output layer
    survivors go back to their values of step k: k = 0 the initial ones, k > 0 rewinding

Paper: Frankle, Carbin, "The lottery ticket hypothesis", arXiv:1803.03635, ICLR 2019, pruning with resetting;
rewinding: Frankle, Dziugaite, Roy, Carbin, "Stabilizing the lottery ticket hypothesis", arXiv:1903.01611, 2019.
Differs: exactly the share asked for goes (their code takes one weight more each round); each round goes on with the
task's data order where the last one ended, instead of from its beginning; biases stay.
"""

from collections.abc import Iterator

from sapwood.criteria.magnitude import magnitude
from sapwood.errors import InputError, refuse_unless
from sapwood.methods.parts.controls import CONTROLS, controlled
from sapwood.scoring.criterion import score
from sapwood.scoring.layers import prunable
from sapwood.selection import select
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run


def lottery_ticket(
    run: Run,
    *,
    each: float = 0.2,
    rounds: int = 15,
    output_share: float = 0.5,
    rewind: float = 0.0,
    round_epochs: int = 20,
    control: str = "none",
) -> Iterator[Moment]:
    """Trains `rounds` + 1 times to epoch `round_epochs`, pruning in between; all but the first begin at epoch `rewind`.

    `control` is for the last training alone: the ticket's weights "reinitialised", or its masks "shuffled" in layers.
    """
    refuse_bad(each=each, rounds=rounds, output_share=output_share, rewind=rewind, round_epochs=round_epochs)
    refuse_unless("control", control, CONTROLS)
    layers = list(prunable(run.model))
    inner = run.hidden() if len(layers) > 1 else []
    begin = round(rewind * run.task.steps_per_epoch)
    length = round_epochs * run.task.steps_per_epoch - begin
    yield from train(run, steps=begin)
    ticket = run.remember("ticket", run.model.state_dict)
    for number in range(1, rounds + 1):
        yield from train(run, steps=length)
        share = {name: each if name in inner else each * output_share for name in layers}
        gone = {f"{name}.weight": 1 - (1 - share[name]) ** number for name in layers}
        masks = select.per_layer(score(run.model, magnitude), gone, among=run.masks)
        masks, weights = controlled(run, masks, ticket, control if number == rounds else "none")
        run.become(run.model)
        run.rewind(weights)
        run.prune(masks)
    yield from train(run, steps=length)


def refuse_bad(*, each: float, rounds: int, output_share: float, rewind: float, round_epochs: int) -> None:
    """Raise for options that leave no ticket, or none to find."""
    if not 0 <= each < 1 or not 0 <= each * output_share < 1:
        raise InputError(f"each is {each}, output_share {output_share}; give a fraction in [0, 1), and a factor of it")
    if rounds < 1:
        raise InputError(f"rounds is {rounds}; give at least 1")
    if not 0 <= rewind <= round_epochs:
        raise InputError(f"rewind is {rewind}; give an epoch in 0..{round_epochs}, where a round's training ends")
