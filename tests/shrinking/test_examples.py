"""Examples: by keyword, in one mapping, of subclasses of Tensor; taken alike by all that takes an example."""

from collections import OrderedDict, UserDict, namedtuple

import pytest
import torch
from torch import nn
from zoo import conv, settled

from sapwood.errors import InputError
from sapwood.export import to_program
from sapwood.measure import activation_density, flops, latency, macs
from sapwood.measure.example import Keywords, arguments, as_tuple, call
from sapwood.measure.norms import recalibrate
from sapwood.measure.sizes import compression
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.shrunk import compact, shrink
from sapwood.shrinking.timing import latency_of, timetable


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.out = nn.Linear(4, 6), nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, left, *, right, scale=None):
        y = torch.relu(self.left(left) + self.right(right))
        return self.out(y if scale is None else y * scale)


class OfAnything(Pair):
    def forward(self, **given):
        return super().forward(given["left"], right=given["right"])


class OfOneMapping(Pair):
    def forward(self, batch, scale=None):
        return super().forward(batch["left"], right=batch["right"], scale=scale)


class Mixed(Pair):
    def forward(self, left, more):
        return super().forward(left, right=more["right"])


class OfAList(Pair):
    def forward(self, both):
        return super().forward(both[0], right=both[1])


def numbers(width):
    return torch.randn(2, width, dtype=torch.float64, generator=torch.Generator().manual_seed(width))


GIVEN = {"right": numbers(3), "left": numbers(4)}  # in another order than forward has them
EXAMPLES = [
    (Pair, GIVEN), (Pair, {**GIVEN, "scale": 2.0}), (Pair, OrderedDict(GIVEN)), (Pair, UserDict(GIVEN)),
    (OfAnything, GIVEN), (OfOneMapping, GIVEN), (OfOneMapping, {"batch": GIVEN, "scale": 2.0}),
    (Mixed, (GIVEN["left"], {"right": GIVEN["right"]})), (OfAList, [GIVEN["left"], GIVEN["right"]]),
]  # fmt: skip
IDS = [f"{n}-{kind.__name__}" for n, (kind, _) in enumerate(EXAMPLES)]


def half(found):
    return {site.name: torch.arange(site.units) % 2 == 0 for site in found}


@pytest.mark.parametrize(("kind", "example"), EXAMPLES, ids=IDS)
def test_everything_that_takes_an_example_takes_it_in_every_form(kind, example, tmp_path, unchanged):
    model = settled(kind())
    unchanged(model)
    found = couplings(model, example).sites
    assert [(site.name, site.units) for site in found] == [("left", 6)]
    small = shrink(model, half(found), found, example=example)
    assert small.difference <= 1e-12
    assert small.model.out.in_features == 3
    assert compact(model, example=example).difference <= 1e-12
    assert float(macs_of(model, found, example)({})) == 2 * (4 * 6 + 3 * 6 + 6 * 2)
    assert float(macs_of(small.model, (), example)({})) == float(macs_of(model, found, example)(half(found)))
    assert float(latency_of(timetable(model, found, example, points=2, rounds=4))({})) > 0
    assert latency({"whole": model, "small": small.model}, example, rounds=4)["small"].batch == 2
    assert macs(model, example) == {"left": 24, "right": 18, "out": 12}
    assert flops(model, example) == 108
    assert set(activation_density(model, example)) == {"left", "right", "out"}
    assert compression(model, example).flops_dense_ratio == 1
    fixed = 2 if kind is OfAnything else None
    assert to_program(model, example, tmp_path / "net.pt2", batch=fixed) == 0


def test_the_answer_to_keywords_is_that_of_the_call():
    model = settled(Pair())
    assert torch.equal(call(model, as_tuple(GIVEN)), model(**GIVEN))
    model = settled(OfOneMapping())
    assert torch.equal(call(model, as_tuple(GIVEN)), model(GIVEN))


@pytest.mark.parametrize(
    ("kind", "example", "args", "kwargs"),
    [
        (Pair, {"left": 1, "right": 2}, (), {"left": 1, "right": 2}),
        (OfAnything, {"any": 1}, (), {"any": 1}),
        (OfOneMapping, {"left": 1}, ({"left": 1},), {}),
        (OfOneMapping, {"batch": 1}, (), {"batch": 1}),
        (OfOneMapping, {3: 1}, ({3: 1},), {}),
        (OfOneMapping, ({"batch": 1},), ({"batch": 1},), {}),
        (Mixed, (1, {"more": 2}), (1, {"more": 2}), {}),
        (Pair, (), (), {}),
    ],
)  # fmt: skip
def test_a_mapping_is_keywords_where_its_names_are_parameters_and_one_input_elsewhere(kind, example, args, kwargs):
    assert arguments(kind(), as_tuple(example)) == (args, kwargs)


MISFITS = [{"left": numbers(4), "rigth": numbers(3)}, {"right": numbers(3)}, {0: numbers(4)}, {}]


@pytest.mark.parametrize("example", MISFITS)
def test_keywords_that_do_not_fit_are_refused_with_those_that_do(example):
    with pytest.raises(InputError, match=r"Pair takes the arguments \(left, \*, right, scale=None\) and the example"):
        sites(Pair().double(), example)


def test_functions_are_asked_for_their_parameters_too():
    given = as_tuple({"a": numbers(1), "b": numbers(2)})
    assert set(arguments(lambda a, b: None, given)[1]) == {"a", "b"}
    assert set(arguments(nn.DataParallel(OfOneMapping()), as_tuple(GIVEN))[0][0]) == {"left", "right"}
    assert isinstance(as_tuple(given)[0], Keywords)


def test_recalibration_takes_batches_by_keyword():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, *, features):
            return self.norm(features)

    model, batch = Normed().double(), numbers(4)
    recalibrate(model, [{"features": batch}] * 2)
    assert torch.allclose(model.norm.running_mean, batch.mean(0), rtol=0, atol=1e-15)


# ---- tensors that are more than tensors ----


class Image(torch.Tensor):
    pass


class Counting(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return super().__torch_function__(function, types, args, kwargs or {})


Named = namedtuple("Named", "image")


def picture():
    return torch.randn(1, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


SUBCLASSES = {
    "subclass": lambda: picture().as_subclass(Image),
    "with functions of its own": lambda: picture().as_subclass(Counting),
    "in a tuple": lambda: (picture().as_subclass(Image),),
    "by keyword": lambda: {"input": picture().as_subclass(Image)},
    "in a named tuple": lambda: Named(picture()),
    "parameter": lambda: nn.Parameter(picture()),
    "result of a computation": lambda: picture().requires_grad_() * 1,
}


@pytest.mark.parametrize("make", SUBCLASSES.values(), ids=SUBCLASSES)
def test_subclasses_and_tensors_with_a_history_count_as_the_tensors_they_are(make):
    model = settled(nn.Sequential(conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 2)))
    found = sites(model, make())
    assert [(site.name, site.units) for site in found] == [("0", 6)]
    assert shrink(model, half(found), found, example=make()).difference <= 1e-12


def test_an_example_that_only_wraps_numbers_is_refused_by_its_class():
    wrapped = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)], layout=torch.jagged)
    with pytest.raises(InputError, match="NestedTensor, a subclass of Tensor"):
        sites(nn.Linear(4, 4), wrapped)


def test_where_torch_cannot_open_the_batch_the_error_says_what_can_be_done(tmp_path):
    with pytest.raises(InputError, match=r"forward takes \*\*names; batch=2 writes it for that"):
        to_program(settled(OfAnything()), GIVEN, tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())
