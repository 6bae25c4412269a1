"""Batches as a DataLoader gives them: tensors, tuples, lists, dicts, and what Hugging Face makes of dicts."""

from collections import OrderedDict, UserDict, namedtuple
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sapwood import Batch, InputError, hidden, observe
from sapwood.measure.norms import recalibrate
from sapwood.scoring.batches import arguments, moved, tried
from sapwood.scoring.statistics import count, weight_grad

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(12) % 3


class Model(nn.Module):
    """One layer, one norm."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.layer = nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.double()

    def forward(self, pixels):
        return self.layer(self.norm(pixels))


class Two(Model):
    def forward(self, first, second, scale=1.0):
        assert scale == 1.0
        return self.layer(self.norm(first + second))


class WithLabels(Model):
    def forward(self, pixels=None, labels=None):
        y = self.layer(self.norm(pixels))
        return {"loss": nn.functional.cross_entropy(y, labels, reduction="sum"), "logits": y}


class Anything(Model):
    def forward(self, *args, **kwargs):
        assert set(kwargs) <= {"pixels", "labels"}
        return self.layer(self.norm(args[0] if args else kwargs["pixels"]))


class Encoding(UserDict):
    """Like Hugging Face's BatchEncoding: no dict, and its entries are attributes."""

    def __getattr__(self, name):
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, device):
        return Encoding({name: value.to(device) for name, value in self.data.items()})


Named = namedtuple("Named", "image label")

LOADERS = {
    "a DataLoader of pairs": lambda: DataLoader(TensorDataset(X, Y), batch_size=5),
    "a DataLoader of inputs": lambda: DataLoader(TensorDataset(X), batch_size=5),
    "tensors": lambda: X.split(5),
    "Batches": lambda: [Batch(X, Y)],
    "tuples": lambda: [(X, Y)],
    "named tuples": lambda: [Named(X, Y)],
    "dicts by forward's names": lambda: [{"pixels": X, "labels": Y, "index": Y}],
    "a DataLoader of dicts": lambda: DataLoader(
        [{"image": x, "label": y} for x, y in zip(X, Y, strict=True)], batch_size=5
    ),
    "encodings": lambda: [Encoding({"pixels": X, "labels": Y})],
    "ordered dicts": lambda: [OrderedDict(pixels=X)],
    "a pair of a dict and a target": lambda: [({"pixels": X}, Y)],
    "a generator": lambda: ((x, None) for x in X.split(5)),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_what_loaders_give_is_understood(kind):
    model, plain = Model(), Model()
    given = []
    seen = observe(model, LOADERS[kind](), weight_grad, count, loss=lambda y, b: (given.append(b), y.square().sum())[1])
    wanted = observe(plain, [X], weight_grad, count, loss=lambda y, b: y.square().sum())
    assert int(seen["layer"][count]) == 12
    torch.testing.assert_close(seen["layer"][weight_grad], wanted["layer"][weight_grad])
    assert all(type(b) is type(next(iter(LOADERS[kind]()))) for b in given)
    recalibrate(model, LOADERS[kind]())
    assert model.norm.num_batches_tracked > 0
    if model.norm.num_batches_tracked == 1:
        torch.testing.assert_close(model.norm.running_mean, X.mean(0))


def test_a_batch_reaches_the_loss_as_the_same_object():
    batch = {"pixels": X, "labels": Y}
    observe(Model(), [batch], weight_grad, loss=lambda y, b: y.sum() if b is batch else 1 / 0)


def test_models_of_several_inputs():
    for batch in (
        (X, X, Y),
        (X, X),
        [X, X, Y],
        {"first": X, "second": X, "y": Y},
        Batch((X, X), Y),
        {"second": X, "first": X},
    ):
        model = Two()
        recalibrate(model, [batch])
        torch.testing.assert_close(model.norm.running_mean, 2 * X.mean(0))


def test_models_that_take_labels_get_them_and_their_loss_can_be_used():
    batch = {"pixels": X, "labels": Y}
    seen = observe(WithLabels(), [batch], weight_grad, loss=lambda outputs, b: outputs["loss"])
    assert seen["layer"][weight_grad].abs().sum() > 0
    for given in (batch, (X, Y), X, Batch(X, Y)):
        observe(Anything(), [given], count)


class Whole(Model):
    def forward(self, batch):
        return self.layer(self.norm(batch["image"] if isinstance(batch, dict) else batch[0]))


@pytest.mark.parametrize("batch", [{"image": X, "label": Y}, (X, Y)])
def test_a_forward_that_takes_a_batch_gets_all_of_it(batch):
    model = Whole()
    recalibrate(model, [batch])
    torch.testing.assert_close(model.norm.running_mean, X.mean(0))
    assert int(observe(model, [batch], count)["layer"][count]) == 12


class ReadsBatch(Model):
    """One argument, a dict that it reads itself; what it is called says nothing of tuples."""

    runs = 0

    def forward(self, batch):
        type(self).runs += 1
        return self.layer(self.norm(batch["both"] if "both" in batch else batch["image"] + batch["meta"]))


class Reads(ReadsBatch):
    def forward(self, inputs):
        return super().forward(inputs)


DICT = {"image": X, "meta": X}
READ = {
    "a dict": DICT,
    "a dict with its target": DICT | {"label": Y},
    "a dict and a target": (DICT, Y),
    "a list of both": [DICT, Y],
    "a dict alone in a tuple": (DICT,),
    "a dict of one": ({"both": 2 * X}, Y),
    "a Batch of a dict": Batch(DICT, Y),
    "an encoding and a target": (Encoding(DICT), Y),
}


@pytest.mark.parametrize("kind", [ReadsBatch, Reads])
@pytest.mark.parametrize("form", READ)
def test_a_forward_that_reads_a_dict_gets_it_in_whatever_form_it_comes(kind, form):
    model = kind()
    recalibrate(model, [READ[form]] * 2)
    torch.testing.assert_close(model.norm.running_mean, 2 * X.mean(0))
    assert int(model.norm.num_batches_tracked) == 2  # one that was tried first is not counted twice
    seen = observe(kind(), [READ[form]] * 3, weight_grad, count, loss=lambda y, batch: y.square().sum())
    assert int(seen["layer"][count]) == 36
    plain = observe(Model(), [2 * X], weight_grad, loss=lambda y, batch: y.square().sum())
    torch.testing.assert_close(seen["layer"][weight_grad], 3 * plain["layer"][weight_grad])


class Deep(Reads):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4, dtype=torch.float64)

    def forward(self, inputs):
        return super().forward({"image": self.first(inputs["image"]), "meta": inputs["meta"]})


def test_hidden_layers_are_found_with_a_dict_that_forward_reads():
    assert hidden(Deep(), DICT) == ["first"]


def test_one_way_of_several_is_looked_for_once():
    for batch, more in (((DICT, Y), 2), (DICT, 0)):  # the tuple is tried, then the dict in it
        ReadsBatch.runs = 0
        recalibrate(ReadsBatch(), [batch] * 5)
        assert ReadsBatch.runs == 5 + more


def test_what_no_way_of_reading_serves_is_told_with_its_form():
    says = r"\{'image': a tensor \(12, 4\)\}.*KeyError.*; a batch may be a tensor; a tuple or list, the target last"
    for model in (ReadsBatch(), Reads()):
        with pytest.raises(InputError, match=says):
            recalibrate(model, [({"image": X}, Y)])
        assert model.norm.running_mean.tolist() == [0] * 4
    with pytest.raises(InputError, match=r"Model fails when called with \(a tensor \(12, 3\)\): RuntimeError: "):
        recalibrate(Model(), [(X[:, :3], Y)])


def test_the_first_batch_is_tried_and_none_is_lost():
    taken = []
    batches = (taken.append(n) or (DICT, Y) for n in range(3))
    model = ReadsBatch()
    again = tried(model, batches, "mine()")
    assert taken == [0]
    assert model.training
    assert int(model.norm.num_batches_tracked) == 0
    assert len(list(again)) == 3
    with pytest.raises(InputError, match=r"mine\(\) was given no batches"):
        tried(model, iter(()), "mine()")
    with pytest.raises(InputError, match=r"mine\(\) was given a Tensor for batches"):
        tried(model, X, "mine()")


def test_wrappers_are_asked_for_what_is_inside():
    for shell in (nn.DataParallel(Two()), torch.compile(Two(), backend="eager")):
        assert len(arguments(shell, (X, X, Y)).positional) == 2


def test_batches_are_moved_where_the_model_is():
    meta = torch.device("meta")
    for batch in (
        (X, Y),
        [X, Y],
        Batch(X, Y),
        Named(X, Y),
        {"pixels": X},
        Encoding({"pixels": X}),
        X,
        (X, {"a": [Y]}, "s"),
    ):
        there = moved(batch, meta)
        assert type(there) is type(batch)
        values = (
            [there] if isinstance(there, torch.Tensor) else list(there.values() if hasattr(there, "values") else there)
        )
        assert values[0].device == meta
        assert moved(batch, torch.device("cpu")) is batch or isinstance(batch, Encoding)
        assert moved(batch, None) is batch
    assert moved((X, {"a": [Y]}, "s"), meta)[1]["a"][0].device == meta
    model = Model().to(meta)
    seen = observe(model, [(X, Y)], count)
    assert int(seen["layer"][count].numel()) == 1


class Item(NamedTuple):
    inputs: object


REFUSED = {
    "observe is given one tensor": (Model, X, r"was given a Tensor for batches; give a list"),
    "one Batch": (Model, Batch(X, Y), r"was given a Batch for batches"),
    "one dict": (Model, {"pixels": X}, r"was given a dict for batches"),
    "a number": (Model, 3, r"(batches is 3|a int for batches); give a list of"),
    "nothing": (Model, [], r"was given no batches; give at least one \(an exhausted generator is empty\)"),
    "an exhausted generator": (Model, iter(()), r"was given no batches"),
    "text": (Model, ["abc"], r"a batch is a str; give a tensor, a tuple, a dict, or something with .inputs"),
    "none": (Model, [None], r"a batch is a NoneType"),
    "inputs that are none": (Model, [Item(None)], r"a batch is a NoneType"),
    "an empty batch": (Model, [X[:0]], r"a batch has shape \(0, 4\); give at least one sample"),
    "too few parts": (Two, [(X,)], r"a batch has 1 inputs, but forward of Two needs 2"),
    "too many parts": (Model, [(X, X, X, Y)], r"a batch has 3 inputs, but forward of Model needs 1"),
    "other keys": (Two, [{"a": X, "labels": Y}], r"keys 'a', 'labels', but forward of Two needs 'second'"),
    "several other keys": (Model, [{"a": X, "b": X}], r"keys 'a', 'b', but forward of Model needs 'pixels'"),
    "a required keyword missing": (Two, [{"first": X}], r"forward of Two needs 'second'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_batch_is_told_so(case):
    make, batches, says = REFUSED[case]
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for ask in (lambda: observe(model, batches, count), lambda: recalibrate(model, batches)):
        with pytest.raises(InputError, match=says):
            ask()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_norms_of_compiled_models_are_recalibrated():
    model = torch.compile(Model(), backend="eager")
    model(X)
    recalibrate(model, [X, X])
    torch.testing.assert_close(model.norm.running_mean, X.mean(0))
    assert model.norm.momentum == 0.1
    torch._dynamo.reset()


def test_a_norm_that_sees_nothing_keeps_what_it_knows():
    model = Model()
    model.spare = nn.BatchNorm1d(4)
    model.spare.running_mean.fill_(7)
    with pytest.raises(InputError, match="batch norm 'spare' saw no batch"):
        recalibrate(model, [X])
    assert model.spare.running_mean.tolist() == [7] * 4
    assert model.norm.running_mean.tolist() == [0] * 4


def test_hugging_faces_own_containers():
    transformers = pytest.importorskip("transformers")
    batch = transformers.BatchEncoding({"pixels": X, "labels": Y})
    assert int(observe(Model(), [batch], count)["layer"][count]) == 12
    output = transformers.modeling_outputs.BaseModelOutput(last_hidden_state=X)
    assert int(observe(Model(), [output], count)["layer"][count]) == 12
