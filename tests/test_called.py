"""Called: a wrong call of a public function is one error that names the argument, its value and what to do."""

import inspect
import pickle
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import nn

import sapwood
from sapwood import CRITERIA, STATISTICS, InputError, export, hold, observe, prune, score, select, start
from sapwood.called import UNSEEN, WrongCall, checked
from sapwood.checks import tiny_task
from sapwood.export.shot import OneShot

IN_STEPS = {"backward", "descend"}  # called in every step of training, which must not get slower
EXPORTS = ("save", "load", "to_onnx", "to_program", "to_transformers", "to_timm", "not_in_config", "check_same")
SELECTS = ("everywhere", "per_layer", "by_count", "above", "per_row", "n_of_m", "within", "drop")
ROOMS = {export: EXPORTS, select: SELECTS}
FUNCTIONS = {
    name: getattr(sapwood, name)
    for name in sapwood.__all__
    if inspect.isfunction(getattr(sapwood, name)) and name not in {*IN_STEPS, "declares"}
} | {f"{room.__name__}.{name}": getattr(room, name) for room, names in ROOMS.items() for name in names}


class Stranger:
    """Nothing that anything asks for."""


def walked(function):
    """The arguments whose annotation says something that a stranger is not."""
    types = get_type_hints(function)
    said = {name: repr(types[name]) for name in inspect.signature(function).parameters if name not in UNSEEN}
    return [
        name for name, wanted in said.items() if types[name] not in (Any, bool, bool | None) and "Literal" not in wanted
    ]


def fitting(wanted):
    """Something of a type, for the arguments that are right."""
    kind = get_origin(wanted) or wanted
    inner = [each for each in get_args(wanted) if each is not type(None)]
    if not isinstance(kind, type) or kind.__name__ == "UnionType":
        return fitting(inner[0]) if inner else None
    made = {"Module": nn.Identity, "Optimizer": lambda: torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0),
            "Task": tiny_task, "Run": lambda: start(tiny_task()), "Criterion": lambda: CRITERIA["magnitude"],
            "Statistic": lambda: STATISTICS["active"], "Path": lambda: "file", "Callable": lambda: print,
            "Iterable": list, "Sequence": list, "Collection": list, "Mapping": dict,
            "MutableMapping": dict, "device": lambda: "cpu", "Pruned": nn.Identity,
            "OneShot": lambda: OneShot("", {}, (), {}, {}, 0, ())}  # fmt: skip
    return made.get(kind.__name__, kind)()


PLACES = [(name, place) for name, function in FUNCTIONS.items() for place in walked(function)]


@pytest.mark.parametrize(("name", "place"), PLACES, ids=[":".join(each) for each in PLACES])
def test_a_stranger_in_any_place_is_named(name, place):
    function = FUNCTIONS[name]
    types, args, more = get_type_hints(function), [], {}
    for other, parameter in inspect.signature(function).parameters.items():
        value = Stranger() if other == place else fitting(types[other]) if other not in UNSEEN else torch.ones(1)
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL):
            if other == place or parameter.default is parameter.empty or place in more:
                args.append(value)
            else:
                args.append(parameter.default)
        elif other == place or parameter.default is parameter.empty:
            more[other] = value
    with pytest.raises(InputError, match=rf"^{place} is a Stranger; give .{{5,}}") as caught:
        function(*args, **more)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, TypeError)


def test_the_walk_is_long():
    assert len(FUNCTIONS) >= 30
    assert len(PLACES) >= 80


NET, X = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.ones(1, 4)
KEEP = {"0.weight": torch.ones(8, 4, dtype=torch.bool)}
ADAM = torch.optim.Adam(NET.parameters())
BEFORE = "the network as it was before pruning"
MISTAKES = {
    "no example": (lambda: prune(NET, macs=0.5), "prune needs example: a batch as forward takes it, for example"),
    "nothing": (lambda: prune(), "prune needs model: a torch.nn.Module; prune needs example: a batch"),
    "sparsity": (
        lambda: prune(NET, X, sparsity=0.5),
        "prune has no argument 'sparsity'; prune removes whole units: give macs= or parameters=, the share that is "
        "left; hold removes single weights",
    ),
    "flops": (
        lambda: prune(NET, X, flops=0.5),
        "prune has no argument 'flops'; give macs=, the share of multiply-adds",
    ),
    "misspelt": (lambda: prune(NET, X, mac=0.5), "unknown argument of prune: 'mac'; did you mean 'macs'?"),
    "by place": (lambda: prune(NET, X, 0.5), "prune takes model, example without a name, and 3 values came; write"),
    "in words": (lambda: prune(NET, X, macs="half"), "macs is 'half'; give the share of it that may be left, above 0"),
    "a class": (lambda: prune(nn.Linear, X, macs=0.5), "model is the class Linear; give one of it, Linear(...)"),
    "one name": (lambda: prune(NET, X, macs=0.5, keep="0"), "keep is '0'; give a list of names, as in keep=['0']"),
    "another order": (lambda: hold(ADAM, NET, KEEP), "model is an Adam; give a torch.nn.Module"),
    "no optimizer": (
        lambda: hold(NET, KEEP),
        "optimizer is a dict; give the torch.optim.Optimizer that trains the model; hold needs masks: a dict of masks",
    ),
    "one mask": (lambda: hold(NET, ADAM, KEEP["0.weight"]), "masks is a Tensor; give a dict of masks, {parameter name"),
    "a task's name": (lambda: start("digits", seed=0), "task is 'digits'; give a Task, such as TASKS['mlp_digits']()"),
    "a criterion's name": (
        lambda: score(NET, "l1"),
        "criterion is 'l1'; give a Criterion, such as CRITERIA['magnitude']",
    ),
    "a network that should be made": (
        lambda: export.load("s.safetensors", NET),
        "make is a network, Sequential; give a function that builds one, for example lambda: Sequential(...)",
    ),
    "of what": (lambda: export.save(NET, "s"), f"save needs of=: {BEFORE}; for one that was not pruned use torch.save"),
    "no batches": (lambda: observe(NET, 3, STATISTICS["active"]), "batches is 3; give a list of batches, or a Data"),
    "twice": (lambda: prune(NET, X, model=NET), "multiple values for argument 'model'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_says_what_to_do(mistake):
    action, says = MISTAKES[mistake]
    with pytest.raises(InputError) as caught:
        action()
    assert str(caught.value).startswith(says)


def test_what_looks_like_the_type_will_do():
    """Numbers of other libraries, any mapping, any iterable and None where it may be."""

    @checked()
    def takes(number: float, names: list[str] | None, *rest: int, path: Path | str = "") -> str:
        """Says what came."""
        return f"{number}{names}{rest}{path}"

    assert takes(torch.tensor(0.5), None, 1, torch.tensor(2), path=Path("x")) == "0.5None(1, tensor(2))x"
    assert takes(1, ["a"]) == "1['a']()"
    assert takes.__doc__ == "Says what came."
    assert list(inspect.signature(takes).parameters) == ["number", "names", "rest", "path"]
    with pytest.raises(WrongCall, match="rest is 'x'; give a whole number"):
        takes(1, None, 1, "x")


def test_what_wraps_an_optimiser_is_left_to_who_looks_inside():
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    net = nn.Linear(4, 8)
    with hold(net, Wrapper(torch.optim.SGD(net.parameters(), lr=0.1)), {"weight": KEEP["0.weight"]}):
        assert net.weight.shape == (8, 4)


def test_an_error_inside_is_left_as_it_is():
    @checked()
    def fails(value: int) -> None:
        raise TypeError("of its own")

    with pytest.raises(TypeError, match=r"^of its own$") as caught:
        fails(1)
    assert not isinstance(caught.value, InputError)


def test_public_functions_still_travel_to_other_processes():
    assert all(pickle.loads(pickle.dumps(function)) is function for function in FUNCTIONS.values())
    assert select.everywhere({"w": torch.tensor([1.0, 2.0])}, 0.5)["w"].tolist() == [False, True]
