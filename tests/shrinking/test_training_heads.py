"""What only training runs, such as heads that help it learn: sliced with the rest, or pinned by name."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo import conv, flat, image, settled

from sapwood.errors import InputError
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.shrunk import compact, shrink
from sapwood.shrinking.tracing import anatomy as finding
from sapwood.shrinking.tracing.graph import exported
from sapwood.shrinking.tracing.training import in_training, with_training


class Base(nn.Module):
    """Two layers of 6 and 4 units and an answer; `aside` reads the first."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(5, 6), nn.Linear(6, 4), nn.Linear(4, 3)
        self.aside = nn.Linear(6, 3)

    def forward(self, x):
        h = torch.relu(self.a(x))
        y = self.out(torch.relu(self.b(h)))
        return self.training_too(x, h, y) if self.training else y

    def training_too(self, x, h, y):
        return y, self.aside(h)


class Deep(Base):
    """A head of several layers, with a norm that asks for several samples."""

    def __init__(self):
        super().__init__()
        self.aside = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3))


class ByProperty(Base):
    """The mode is read elsewhere than in forward."""

    @property
    def learns(self):
        return getattr(self, "training")  # noqa: B009

    def forward(self, x):
        h = torch.relu(self.a(x))
        y = self.out(torch.relu(self.b(h)))
        return [y, y][: 2 - self.learns] + ([self.aside(h)] if self.learns else [])


def head_of(module, h):
    return (module.aside(h),) if module.training else ()


class ByFunction(Base):
    """A function outside of any module asks."""

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.out(torch.relu(self.b(h))), *head_of(self, h)


@pytest.mark.parametrize("kind", [Base, Deep, ByProperty, ByFunction])
@pytest.mark.parametrize("count", [1, 3])
def test_heads_that_only_training_runs_are_sliced_too(kind, count, unchanged):
    model, example = settled(kind()), flat(5, count)
    unchanged(model)
    found = sites(model, example)
    first = next(site for site in found if site.name == "a")
    assert any(slot.tensor.startswith("aside") and slot.role == "reads" for slot in first.slots)
    keep = {site.name: torch.arange(site.units) % 2 == 0 for site in found}
    small = shrink(model, keep, found, example=example)
    assert small.difference <= 1e-12
    with torch.random.fork_rng():
        trained, whole = (each.train()(flat(5, 3)) for each in (small.model, deepcopy(model)))
    assert [part.shape for part in trained] == [part.shape for part in whole]


def test_units_of_the_head_itself_are_units():
    found = couplings(settled(Deep()), flat(5))
    assert {site.name: site.units for site in found.sites} == {"a": 6, "b": 4, "aside.0": 4}
    answers = {pin.name: pin.because for pin in found.pinned}
    assert answers["aside.4"] == "it is the network's answer; only training runs this"
    assert answers["out"] == "it is the network's answer"


def test_the_smaller_network_trains_as_the_gated_one():
    model = settled(Base())
    (first, *_) = found = sites(model, flat(5))
    keep = torch.arange(6) != 2
    small = shrink(model, {first.name: keep}, found, example=flat(5)).model.train()
    with torch.no_grad():
        model.b.weight[:, ~keep] = model.aside.weight[:, ~keep] = 0
    for a, b in zip(model.train()(flat(5)), small(flat(5)), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_folded_units_that_a_training_head_reads_stay_and_say_why():
    model = settled(Base())
    with torch.no_grad():
        model.a.weight[1:3] = 0
        model.aside.weight[:, 2] = 0
    found = compact(model, example=flat(5))
    assert found.model.a.out_features == 5
    (stays,) = found.staying
    assert "aside.weight" in stays.because
    found.model.train()(flat(5))


# ---- what ties and pins in training only ----


class Ties(Base):
    """Training adds the two streams up."""

    def __init__(self):
        super().__init__()
        self.b = nn.Linear(6, 6)
        self.out = nn.Linear(6, 3)

    def training_too(self, x, h, y):
        return self.out(torch.relu(self.b(h)) + h)


class Sorts(Base):
    """Training does what no unit survives."""

    def training_too(self, x, h, y):
        return y, h.sort(-1)[0]


class Counts(Base):
    """Training counts on a width that is written down."""

    def training_too(self, x, h, y):
        return y, self.aside(h.view(-1, 6))


class Chance(Base):
    """Training leaves a layer out by chance, as torch cannot follow."""

    def training_too(self, x, h, y):
        return (y, self.aside(h)) if torch.rand(()) < 2 else (y, h)


class ChanceAndWidth(Base):
    """The same, with a width that is written down."""

    def training_too(self, x, h, y):
        return (y, self.aside(h.view(-1, 6))) if torch.rand(()) < 2 else (y, h)


def by_name(kind):
    found = couplings(settled(kind()), flat(5))
    return {site.name: site.units for site in found.sites}, {pin.name: pin.because for pin in found.pinned}


def test_what_training_alone_ties_goes_together():
    units, _ = by_name(Ties)
    assert units == {"a": 6}


@pytest.mark.parametrize("kind", [Sorts, Counts, Chance, ChanceAndWidth])
def test_what_training_alone_cannot_lose_stays_with_the_line(kind):
    units, pins = by_name(kind)
    assert units == {"b": 4}
    assert "only training runs" in pins["a"]
    assert f"{__file__}:" in pins["a"]


def test_what_can_go_goes_where_training_can_only_be_tried():
    class Tried(Base):
        def training_too(self, x, h, y):
            return (y, self.aside(x @ torch.ones(5, 6, dtype=x.dtype))) if torch.rand(()) < 2 else y

    units, _ = by_name(Tried)
    assert units == {"a": 6, "b": 4}


# ---- what is the same, or cannot be known ----


class Noisy(Base):
    """The usual: dropout and batch norm by torch's own functions."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        h = F.dropout(torch.relu(self.norm(self.a(x))), 0.5, training=self.training)
        h = h + F.scaled_dot_product_attention(h[:, None], h[:, None], h[:, None], dropout_p=0.1 * self.training)[:, 0]
        return self.out(F.dropout(torch.relu(self.b(h)), p=0.1 if self.training else 0.0, training=self.training))


class Paths(Base):
    """Whole branches are left out by chance, sample by sample."""

    def __init__(self):
        super().__init__()
        self.b = nn.Linear(6, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        h = torch.relu(self.a(x))
        y = self.b(h)
        if self.training:
            y = y * torch.bernoulli(torch.full((len(x), 1), 0.5, dtype=x.dtype)) / 0.5
        return self.out(h + y)


class NeedsTargets(Base):
    """Trains on something else than what it is called with here."""

    def forward(self, x, targets=None):
        if self.training and targets is None:
            raise ValueError("targets are needed")
        return self.out(torch.relu(self.b(torch.relu(self.a(x)))))


def test_dropout_and_norms_need_no_second_analysis():
    graph, run = with_training(settled(Noisy()), flat(5))
    assert graph.by_mode
    assert graph.training is None
    assert run is None


OTHERS = [lambda h: h * h, lambda h: h.flip(0), lambda h: h + 1, lambda h: h[:, torch.arange(6)], lambda h: h[:, :6]]


@pytest.mark.parametrize("other", OTHERS)
def test_every_other_step_in_training_is_seen(other):
    class Differs(Base):
        def forward(self, x):
            h = torch.relu(self.a(x))
            return self.out(torch.relu(self.b(other(h) if self.training else h.sin())))

    graph, run = with_training(settled(Differs()), flat(5))
    assert graph.training is not None
    assert run is not None


def test_the_same_functions_on_other_tensors_are_other_steps():
    class Crossed(Base):
        def forward(self, x):
            one, two = torch.relu(self.a(x)), torch.tanh(self.a(x))
            return self.out(torch.relu(self.b(one if self.training else two)))

    assert with_training(settled(Crossed()), flat(5))[0].training is not None


def test_branches_left_out_by_chance_are_looked_at_and_change_nothing():
    (site,) = sites(settled(Paths()), flat(5))
    assert site.units == 6
    assert with_training(settled(Paths()), flat(5))[0].training is not None


def test_gates_that_only_training_has_do_not_take_steadiness_away():
    class Gated(Base):
        def training_too(self, x, h, y):
            return self.out(torch.relu(self.b(h)) * torch.sigmoid(x[:, :1]))

    found = sites(settled(Gated()), flat(5))
    assert {site.name: bool(site.steady.all()) for site in found} == {"a": True, "b": True}


def test_a_model_that_does_not_train_on_the_example_is_shrunk_for_evaluation():
    model = settled(NeedsTargets())
    found = couplings(model, flat(5))
    assert {site.name: site.units for site in found.sites} == {"a": 6, "b": 4}
    assert ("aside", "nothing uses it for this example in evaluation mode") in {
        (p.name, p.because) for p in found.pinned
    }
    keep = {site.name: torch.arange(site.units) % 2 == 0 for site in found.sites}
    assert shrink(model, keep, found.sites, example=flat(5)).difference <= 1e-12


def test_models_of_torchs_own_layers_are_exported_once(monkeypatch):
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    model = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.Flatten(2), nn.Linear(64, 8), layer, nn.Dropout()).double()
    modes = []
    monkeypatch.setattr(
        "sapwood.shrinking.tracing.training.exported",
        lambda *given, **mode: modes.append(mode) or exported(*given, **mode),
    )
    graph, _ = with_training(model.eval(), image())
    assert modes == [{}]
    assert not graph.by_mode


def test_statistics_and_random_numbers_are_left_alone_by_runs_in_training_mode(unchanged):
    model = settled(Deep())
    unchanged(model)
    run = in_training(model, flat(5, 1))
    assert len(run.inputs[0]) == 2  # one sample is too few for its norm
    assert run.shapes == [torch.Size((2, 3)), torch.Size((2, 3))]


def test_modules_are_themselves_again_after_the_mode_was_watched():
    model = settled(Base())
    with_training(model, flat(5))
    assert "training" not in vars(nn.Module)
    assert vars(model)["training"] is False
    with pytest.raises(AttributeError):
        nn.Module.__new__(nn.Module).training  # noqa: B018


# ---- the last check ----


def test_sites_that_know_nothing_of_training_are_refused_with_the_line(monkeypatch):
    model = settled(Base())
    monkeypatch.setattr(finding, "with_training", lambda model, example, copies: (exported(model, example), None))
    found = sites(model, flat(5))
    keep = {site.name: torch.arange(site.units) % 2 == 0 for site in found}
    with pytest.raises(InputError, match=rf"only training runs what the smaller network .*{__file__}:\d+"):
        shrink(model, keep, found, example=flat(5))


def test_an_answer_of_another_shape_in_training_is_refused(monkeypatch):
    class Shows(Base):
        def training_too(self, x, h, y):
            return y, h

    model = settled(Shows())
    assert "a" not in {site.name for site in sites(model, flat(5))}
    monkeypatch.setattr(finding, "with_training", lambda model, example, copies: (exported(model, example), None))
    found = sites(model, flat(5))
    with pytest.raises(InputError, match=r"only training runs .* shapes \[\(3, 3\), \(3, 3\)\]"):
        shrink(model, {"a": torch.arange(6) < 3}, found, example=flat(5))
