"""Bugs planted in what looks at calls: types that are not asked for, words that say nothing."""

from collections.abc import Iterable, Sequence
from importlib import import_module

import torch
from planted.mutant import bugs, instead
from torch import nn

from sapwood.checks.law import demand

called, graph = import_module("sapwood.called"), import_module("sapwood.shrinking.tracing.graph")
finding = import_module("sapwood.shrinking.finding")


def laws():
    """Of wrong calls."""
    return {
        "wrong calls: a value of another type is named before anything runs": _types,
        "wrong calls: what is missing or unknown is told with what to give instead": _words,
        "wrong calls: a name is no list of names, a tensor no list of anything else": _several,
        "wrong calls: a sample without its batch is told": _batch,
    }


def _said(call):
    """What the error of a wrong call says, "" if there is none."""
    try:
        call()
    except called.InputError as error:
        return str(error)
    except TypeError as error:
        return f"(of Python) {error}"
    return ""


def _made():
    """A function that looks at its calls, and what ran in it."""
    ran = []

    @called.checked(share="the share that is left", amount="give share=")
    def cut(model: nn.Module, share: float, names: Iterable[str] = (), sites: Sequence[nn.Module] = ()) -> None:
        ran.append((model, share, names, sites))

    return cut, ran


def _types():
    cut, ran = _made()
    for args, says in {
        ("net", 0.5): "model is 'net'; give a torch",
        (nn.ReLU(), "half"): "share is 'half'; give the sha",
    }.items():
        said = _said(lambda args=args: cut(*args))
        demand(said.startswith(says) and not ran, f"{args} is answered by {said!r}")
    said = _said(lambda: cut(nn.ReLU(), torch.tensor(0.5)))
    demand(len(ran) == 1, f"a number in a tensor is answered by {said!r}")


def _words():
    cut, ran = _made()
    said = _said(lambda: cut(nn.ReLU())), _said(lambda: cut(nn.ReLU(), 0.5, amount=1))
    demand(said[0] == "cut needs share: the share that is left", f"it says {said[0]!r}")
    demand(said[1] == "cut has no argument 'amount'; give share=" and not ran, f"it says {said[1]!r}")


def _several():
    cut, ran = _made()
    for more in ({"names": "0"}, {"sites": torch.ones(2)}, {"sites": [1]}):
        demand(_said(lambda more=more: cut(nn.ReLU(), 0.5, **more)) != "", f"{more} is taken")
    said = _said(lambda: cut(nn.ReLU(), 0.5, names=["0"], sites=[nn.ReLU()]))
    demand(len(ran) == 1, f"lists are answered by {said!r}")


def _batch():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    said = _said(lambda: finding.sites(net, torch.ones(1, 3, 3)))
    demand("lacks the dimension of samples" in said, f"it says {said!r}")


CLAIMS = {
    "a value of another type is named before anything runs": {
        "anything fits": instead(called, "_fits", lambda value, wanted: True),
        "a number is a Python number": instead(
            called, "_fits", lambda value, wanted: not isinstance(wanted, type) or isinstance(value, wanted)
        ),
    },
    "what is missing or unknown is told with what to give instead": {
        "Python's words are good enough": instead(called, "_refusals", lambda *given: iter(())),
    },
    "a name is no list of names, a tensor no list of anything else": {
        "whatever can be gone through is a list": instead(
            called, "_are", lambda value, each: hasattr(value, "__iter__")
        ),
    },
    "a sample without its batch is told": {
        "nobody tries a batch of it": instead(graph, "without_batch", lambda model, inputs: ""),
    },
}

MUTANTS = bugs("wrong calls", laws, CLAIMS)
