"""Bugs planted in what is made of what users give: tasks, scores, losses, layouts, files of weights."""

import os
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from export import test_given as nets
from planted.mutant import bugs, instead
from torch import nn

from sapwood import Batch, Criterion, Data, InputError, Task, disk, score
from sapwood.checks.law import demand
from sapwood.shrinking.cutting import equal

task, samples, select = (import_module(f"sapwood.{name}") for name in
                         ("training.task", "training.samples", "selection.select"))  # fmt: skip
criterion, worth, shown = (import_module(f"sapwood.{name}") for name in
                           ("scoring.criterion", "export.worth", "export.shown"))  # fmt: skip
cut, graph, pruning = (import_module(f"sapwood.{name}") for name in
                       ("shrinking.cutting.cut", "shrinking.tracing.graph", "export.pruning"))  # fmt: skip
owned, scanning, elsewhere = (import_module(f"sapwood.{name}") for name in
                              ("cli.owned", "cli.scanning", "trials.elsewhere"))  # fmt: skip


def laws():
    """Of what is given."""
    return {
        "given: a task of other things is refused when it is made": _tasks,
        "given: splits that are no samples are told": _splits,
        "given: what is no scores is not selected from": _selects,
        "given: a criterion that writes into weights is told": _writes,
        "given: scores of another shape are told by shape": _shapes,
        "given: a loss that is no sum is told": _losses,
        "given: of complex weights the imaginary part counts": _complex,
        "given: channels that lie last stay there": _last,
        "given: outputs may be dataclasses": _dataclasses,
        "given: what torch cannot look into is named": _closed,
        "given: weights saved with a wrapper's names are read": _wrapped,
        "given: a whole model in a file is told as such": _whole,
        "given: a function of the user's that fails is named": _failing,
        "given: what is no plain file is not replaced": _pipe,
        "given: code that decides by a size is named": _decides,
    }


def _said(call):
    """What the InputError says, or what came in its place."""
    try:
        return f"nothing, but gives {call()!r}"
    except InputError as error:
        return str(error)
    except Exception as error:
        return f"(not ours) {type(error).__name__}: {error}"


def _demand(call, begins):
    said = _said(call)
    demand(said.startswith(begins), f"it says {said!r}")


BATCH = Batch(torch.ones(2, 8), torch.tensor([0, 1]))
DATA = Data(BATCH, BATCH, BATCH)


def _tasks():
    _demand(lambda: Task("mine", nets.three, DATA, "sgd"), "optimizer is 'sgd'; give a function of the parameters")
    _demand(lambda: Task("mine", nets.three(), DATA, torch.optim.SGD), "task 'mine': model is a network, Sequential;")


def _splits():
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*BATCH))
    _demand(lambda: Data(loader, BATCH, BATCH), "the train split is a DataLoader; give Batch(inputs, targets)")


def _selects():
    _demand(lambda: select.everywhere(nn.ReLU(), 0.5), "scores is a ReLU; give what score() gives")


def _writes():
    _demand(lambda: score(nets.three(), Criterion(lambda w_OI, seen: w_OI.abs_())), "the criterion has written into")


def _prune(model, **options):
    return pruning.prune(model, nets.X, macs=0.5, multiple=1, timing=0, **options)


def _shapes():
    _demand(lambda: _prune(nets.three(), by={"0.weight": torch.ones(3, 3)}), "by gives parameter '0.weight' scores of")


def _losses():
    options = {"by": "taylor_unit", "evidence": [BATCH], "loss": lambda y, batch: y.sum(1)}
    _demand(lambda: _prune(nets.three(), **options), "the loss is a tensor of shape (2,); give one number")


def _complex():
    net = nets.three(dtype=torch.complex64)
    with torch.no_grad():
        net[0].weight.copy_(torch.where(torch.arange(32)[:, None] < 16, 1j, 0.1))
        net[2].weight.fill_(0.1)
    scores = score(net, Criterion(lambda w_OI, seen: w_OI), only=["0"])["0.weight"]
    demand(not scores.is_complex() and bool((scores[:16] == 1).all()), "a criterion sees something else than moduli")


def _last():
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 2, 3)).to(memory_format=torch.channels_last)
    x = torch.ones(1, 3, 7, 7).to(memory_format=torch.channels_last)
    weight = pruning.prune(net, x, macs=0.5, multiple=1, timing=0).model[2].weight
    demand(weight.is_contiguous(memory_format=torch.channels_last), f"strides are {weight.stride()}")


def _dataclasses():
    class Other(nets.Out):
        """One that torch does not know yet."""

    other = nets.dataclass(type("Other", (Other,), {"__annotations__": {"more": int}, "more": 0}))
    said = _said(lambda: _prune(nets.Wordy(other)).difference < 1e-9)
    demand(said == "nothing, but gives True", f"it says {said!r}")


def _closed():
    class Closed:
        def __init__(self, *parts):
            self.parts = parts

    said = _said(lambda: _prune(nets.Wordy(Closed)))
    demand("Closed is among its outputs, in which" in said, f"it says {said!r}")


def _wrapped():
    like, fresh = nets.three().state_dict(), nets.three()
    owned._fill_(fresh, {f"module.{name}": each + 1 for name, each in like.items()}, Path("w.pt"))
    demand(torch.equal(fresh[0].weight, like["0.weight"] + 1), "the weights are other ones")


def _whole():
    with TemporaryDirectory() as folder:
        path = Path(folder) / "w.pt"
        torch.save(nn.ReLU(), path)
        said = _said(lambda: owned._read(path))
    demand("it holds more than tensors, as a whole model does" in said, f"it says {said!r}")


def _failing():
    _demand(lambda: scanning._counting(lambda: 1, "mine.py:one")(nn.ReLU()), "mine.py:one fails: TypeError: ")


def _pipe():
    with TemporaryDirectory() as folder:
        pipe = Path(folder) / "pipe"
        os.mkfifo(pipe)
        said = _said(lambda: disk.replace(pipe, b""))
        demand(pipe.is_fifo(), f"a file is where a pipe was, and it says {said!r}")


def _decides():
    said = _said(lambda: _prune(nets.Deciding()))
    demand("runs other operators from " in said and "test_given.py:" in said, f"it says {said!r}")


def _refilled(network, tensors, path):
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        network.load_state_dict(tensors, strict=False)


CLAIMS = {
    "a task of other things is refused when it is made": {
        "fields of a task are not looked at": instead(task, "fields_checked", lambda *_, **__: None)
    },
    "splits that are no samples are told": {
        "anything is a split": instead(samples, "_refuse_bad_split", lambda *_: None)
    },
    "what is no scores is not selected from": {
        "select takes what comes": instead(select, "everywhere", select.everywhere.__wrapped__)
    },
    "a criterion that writes into weights is told": {
        "writes are not counted": instead(criterion, "_writes", lambda tensor: 0)
    },
    "scores of another shape are told by shape": {
        "scores of weights may have any shape": instead(worth, "_refuse_other_weights", lambda *_: None)
    },
    "a loss that is no sum is told": {"any loss will do": instead(shown, "refuse_no_sum", lambda loss: loss)},
    "of complex weights the imaginary part counts": {
        "only real parts are seen": instead(criterion, "moduli", lambda w: w.real if w.is_complex() else w)
    },
    "channels that lie last stay there": {"all is laid out anew": instead(cut, "LAST", {})},
    "outputs may be dataclasses": {"torch learns of no dataclass": instead(graph, "learned", lambda tree: False)},
    "what torch cannot look into is named": {
        "torch's own pages will do": instead(graph, "refusal", lambda error: str(error))
    },
    "weights saved with a wrapper's names are read": {
        "names that are missing stay as they are": instead(owned, "_fill_", _refilled)
    },
    "a whole model in a file is told as such": {
        "what pickle says will do": instead(owned, "unreadable", lambda path, error: InputError(str(error)))
    },
    "a function of the user's that fails is named": {
        "it fails as it likes": instead(scanning, "_counting", lambda evaluate, name: evaluate)
    },
    "what is no plain file is not replaced": {
        "whatever is there gives way": instead(disk, "_refuse_what_is_no_file", lambda path: None)
    },
    "code that decides by a size is named": {
        "nobody compares what runs": instead(equal, "parting", lambda graph, model, example: "")
    },
}

MUTANTS = bugs("given", laws, CLAIMS)
