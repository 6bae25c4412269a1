"""Laws of updates and of optimisers together, and bugs planted in them."""

from copy import deepcopy
from importlib import import_module

import torch
import updating
from planted.mutant import bugs, instead
from torch import nn
from torch.optim import SGD, Adam

from sapwood.checks import Laws, method, tiny_model
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_samples, tiny_task
from sapwood.training.run import start
from sapwood.training.together import Together

training = import_module("sapwood.training.loop")
step, divided = training.one_step, Together._divided
SAME_BITS = "interrupted before any step and resumed: the same bits"


def together_laws() -> Laws:
    """Two optimisers as one, beside the same two by themselves."""
    return {
        "together: a step moves every part by its own rule": _moves_all,
        "together: what was saved goes on with the same bits": _goes_on,
    }


def _network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tiny_model()


def _parts(model: nn.Module) -> tuple[Adam, SGD]:
    return Adam(model[0].parameters(), lr=0.01), SGD(model[2:].parameters(), lr=0.1, momentum=0.9)


def _stepped(model: nn.Module, *optimizers, steps: int = 3):
    batch = tiny_samples()
    for _ in range(steps):
        model.zero_grad()
        nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
        for each in optimizers:
            each.step()
    return model.state_dict()


def _moves_all() -> None:
    one, other = _network(), _network()
    mine, theirs = _stepped(one, Together(*_parts(one))), _stepped(other, *_parts(other))
    wrong = [name for name, value in theirs.items() if not torch.equal(value, mine[name])]
    demand(not wrong, f"{wrong} are not where their own optimiser alone moves them")


def _goes_on() -> None:
    one, other = _network(), _network()
    first = Together(*_parts(one))
    other.load_state_dict(_stepped(one, first))
    second = Together(*_parts(other))
    second.load_state_dict(deepcopy(first.state_dict()))
    mine, theirs = _stepped(other, second), _stepped(one, first)
    wrong = [name for name, value in theirs.items() if not torch.equal(value, mine[name])]
    demand(not wrong, f"{wrong} went elsewhere from what was saved")


def update_laws() -> Laws:
    """What an update leaves in the gradients decides a step, and nothing else does."""
    return {"update: its gradients are those of the step": _obeyed}


def _obeyed() -> None:
    def opposite(run, batch):
        outputs, loss = training.descend(run, batch)
        for parameter in run.model.parameters():
            parameter.grad.neg_()
        return outputs, loss

    task = tiny_task(SGD, lr=0.1)
    for update, sign in ((training.descend, -1), (opposite, 1)):
        run = start(task)
        before = run.model[0].bias.detach().clone()
        next(iter(training.train(run, steps=1, update=update)))
        moved, gradient = run.model[0].bias.detach() - before, run.model[0].bias.grad
        wanted = -0.1 * gradient
        demand(torch.allclose(moved, wanted, rtol=1e-9, atol=0), f"moved by {moved}, not by {wanted}")
        uphill = float(moved @ _slope(task, batch_of(task)))
        demand(uphill * sign > 0, f"an update of sign {sign} moved the bias by {uphill} uphill")


def batch_of(task):
    return next(iter(task.batches(0, 0)))


def _slope(task, batch):
    run = start(task)
    run.model.train()
    training.descend(run, batch)
    return run.model[0].bias.grad


def two_objectives_laws() -> Laws:
    """Two objectives, two rules, one mask."""
    return method.laws("two objectives", updating.two_objectives)


def first_only(self, closure=None):
    self.optimizers[0].step(closure)


def first_loaded_only(self, saved):
    self.optimizers[0].load_state_dict(next(self._divided(saved)))


def others_state(self, whole):
    first, second = divided(self, whole)
    return iter((first, second | {"state": first["state"]}))


MUTANTS = (
    *bugs(
        "update",
        update_laws,
        {
            "its gradients are those of the step": {
                "the method's update ignored": instead(
                    training, "one_step", lambda run, update: step(run, training.descend)
                ),
            }
        },
    ),
    *bugs(
        "together",
        together_laws,
        {
            "a step moves every part by its own rule": {
                "the first optimiser alone steps": instead(Together, "step", first_only)
            },
            "what was saved goes on with the same bits": {
                "the first optimiser's state alone is loaded": instead(Together, "load_state_dict", first_loaded_only),
                "states of one part given to the other": instead(Together, "_divided", others_state),
            },
        },
    ),
    *bugs(
        "method two objectives",
        two_objectives_laws,
        {
            SAME_BITS: {
                "the second optimiser's state lost on resuming": instead(Together, "load_state_dict", first_loaded_only)
            }
        },
    ),
)
