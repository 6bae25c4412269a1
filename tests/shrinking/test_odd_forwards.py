"""Odd forwards: regions, control flow, sizes that depend on data. Each has sites or is refused by name."""

from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from oracle import confirmed
from torch import nn
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.utils.checkpoint import checkpoint
from zoo import Written, conv, flat, image, settled

from sapwood.errors import InputError
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.rules import RULES
from sapwood.shrinking.shrunk import compact, shrink
from sapwood.shrinking.tracing import graph as graphs

pytestmark = [
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]
LIBRARY = torch.library.Library("capture_tests", "FRAGMENT")
LIBRARY.define("hardswish(Tensor x) -> Tensor")
LIBRARY.define("parts(Tensor x) -> Tensor[]")
for name, kernel in {"hardswish": lambda x: x.flip(-1), "parts": lambda x: [x * 2]}.items():
    LIBRARY.impl(name, kernel, "CompositeExplicitAutograd")


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


# ---- between the first layer and the second: h comes from x through 6 units, and goes on to 5 ----


def autocast(of, x, h):
    with torch.autocast("cpu", enabled=False):
        return of["c"](h)


def lower_autocast(of, x, h):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.relu(of["c"](h)) + h


def without_gradients(of, x, h):
    with torch.no_grad():
        k = of["c"](h)
    return h + k


def regions_in_regions(of, x, h):
    with torch.autocast("cpu", enabled=False):
        with torch.enable_grad():
            k = of["c"](h)
        with torch.no_grad():
            return h * 2 + k


def choice_in_a_region(of, x, h):
    with torch.autocast("cpu", enabled=False):
        return torch.cond(x.sum() > 0, lambda h: of["c"](h), lambda h: h * 1, (h,))


def choice(of, x, h):
    return torch.cond(x.sum() > 0, lambda h: of["c"](h), lambda h: h * 1, (h,))


def repeated(of, x, h):
    return while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, of["c"](h)), (torch.tensor(0), h))[1]


def scanned(of, x, h):
    def step(total, row):
        total = torch.tanh(total + row)
        return total, total.clone()

    return scan(step, torch.zeros(6, dtype=h.dtype), h)[1]


def written_to(of, x, h):
    h = of["c"](h)
    h.relu_()
    h += 1
    return h.mul_(2)


def with_number_of_a_unit(of, x, h):
    return h * h[0, 0].item()


def printed(of, x, h):
    print(tuple(h.shape), end="")
    return h


def several_rows(of, x, h):
    rows = (x[:, 0] > -99).sum().item()
    torch._check(rows >= 0)
    torch._check(rows <= 3)
    return h[:rows]


def units_in_the_shape_of(of, x, h):
    return h + torch.meshgrid(x[:, 0], indexing="ij")[0].sum()


def on_each(of, x, h):
    return torch.vmap(of["c"])(h)


def with_gradient(of, x, h):
    with torch.enable_grad():
        y = h.detach().requires_grad_()
        return torch.autograd.grad((y**2).sum(), y)[0]


def by_chance(of, x, h):
    raise KeyError("no such thing")


BOTH, LATER = {"a": 6, "b": 5}, {"b": 5}
BETWEEN = {  # how: the sites, {} where everything on the way stays
    autocast: {**BOTH, "c": 6}, lower_autocast: BOTH, without_gradients: BOTH, regions_in_regions: BOTH,
    written_to: {**BOTH, "c": 6}, printed: BOTH, several_rows: BOTH, units_in_the_shape_of: BOTH,
    choice: LATER, choice_in_a_region: LATER, repeated: LATER, scanned: LATER, on_each: LATER,
    with_number_of_a_unit: LATER,
    (lambda of, x, h: checkpoint(of["c"], h, use_reentrant=False)): {**BOTH, "c": 6},
    (lambda of, x, h: checkpoint(of["c"], h, use_reentrant=True)): {**BOTH, "c": 6},
    (lambda of, x, h: Doubled.apply(h)): BOTH,
    (lambda of, x, h: torch.ops.capture_tests.hardswish(h)): LATER,
    (lambda of, x, h: torch.ops.capture_tests.parts(h)[0]): LATER,
    (lambda of, x, h: torch.unbind(h[None])[0]): BOTH,
    (lambda of, x, h: h.split(6, 1)[0]): BOTH,
    (lambda of, x, h: h[x[:, 0] > -99]): BOTH,
    (lambda of, x, h: h[x[:, 0] > 99]): BOTH,
    (lambda of, x, h: h[(x[:, 0] > 0).nonzero()[:, 0]]): BOTH,
    (lambda of, x, h: h[torch.unique((x[:, 0] > 0).long())]): BOTH,
    (lambda of, x, h: h * x.abs().max().item()): BOTH,
    (lambda of, x, h: h.sort(-1)[0]): LATER,
    (lambda of, x, h: torch.fft.fft(h, dim=-1).abs()): LATER,
    (lambda of, x, h: torch.cat([F.relu(h[:, :6]), h[:, 6:]], 1)): BOTH,
    (lambda of, x, h: torch.cat([h[:, :0], h], 1)): BOTH,
    (lambda of, x, h: F.pad(h[:, :0], (0, 6))): BOTH,
    (lambda of, x, h: torch.func.functional_call(of["c"], dict(of["c"].named_parameters()), (h,))): {**BOTH, "c": 6},
    (lambda of, x, h: torch.func.jvp(of["c"], (h,), (h,))[1]): LATER,
}  # fmt: skip


def network(how):
    def forward(of, x):
        return of["head"](F.relu(of["b"](how(of, x, F.relu(of["a"](x))))))

    return settled(
        Written(forward, a=nn.Linear(5, 6), c=nn.Linear(6, 6), b=nn.Linear(6, 5), head=nn.Linear(5, 3))
    ), flat(5)


def half(found):
    return {site.name: torch.arange(site.units) % 2 == 0 for site in found}


@pytest.mark.parametrize(
    ("how", "units"), BETWEEN.items(), ids=[f"{n}-{how.__name__}" for n, how in enumerate(BETWEEN)]
)
def test_what_may_go_goes_and_what_may_not_is_named_with_its_line(how, units, unchanged):
    model, example = network(how)
    unchanged(model)
    found = couplings(model, example)
    assert {site.name.removeprefix("layers."): site.units for site in found.sites} == units
    assert shrink(model, half(found.sites), found.sites, example=example).difference <= 1e-9
    stays = {pin.name: pin.because for pin in found.pinned}
    if "a" not in units:
        assert f"{__file__}:" in stays["layers.a"]
        assert stays["layers.a"].startswith(("aten.", "torch.", "capture_tests."))


@pytest.mark.parametrize("how", [choice, repeated, scanned, on_each])
def test_the_cost_of_code_that_runs_graphs_of_its_own_is_refused_by_name(how):
    model, example = network(how)
    with pytest.raises(InputError, match=r"test_odd_forwards.py:\d+\) runs code of its own"):
        macs_of(model, sites(model, example), example)


def test_regions_cost_what_their_layers_cost():
    (model, example), (plain, _) = network(autocast), network(lambda of, x, h: of["c"](h))
    found = sites(model, example)
    for keep in ({}, half(found)):
        assert float(macs_of(model, found, example)(keep)) == float(
            macs_of(plain, sites(plain, example), example)(keep)
        )


@pytest.mark.parametrize("how", [how for how, units in BETWEEN.items() if units != LATER], ids=lambda how: how.__name__)
def test_compact_takes_dead_units_out_of_odd_forwards_or_says_why_they_stay(how):
    model, example = network(how)
    with torch.no_grad():
        model.layers["b"].weight[1] = 0
    small = compact(model, example=example)
    assert small.difference <= 1e-9
    assert small.model.layers["b"].out_features == 4 or "layers.b" in {stays.site for stays in small.staying}


# ---- forwards that are refused as a whole ----


def by_numbers(of, x):
    return of["a"](x) if x.sum() > 0 else of["a"](x) * 2


def failing(of, x):
    raise KeyError("nothing here")


def through_numpy(of, x):
    return torch.from_numpy(of["a"](x).detach().numpy())


@pytest.mark.parametrize("forward", [by_numbers, failing, through_numpy])
def test_what_cannot_be_exported_is_refused_with_the_line_of_the_models_code(forward):
    model = settled(Written(forward, a=nn.Linear(5, 5)))
    first = forward.__code__.co_firstlineno
    with pytest.raises(InputError, match=rf"Written cannot be exported .*test_odd_forwards.py:{first + 1}\)"):
        sites(model, flat(5))


# ---- rows that depend on data ----


def test_experts_that_take_their_own_rows_are_sites_whoever_gets_none():
    def forward(of, x):
        h = F.relu(of["a"](x))
        parts = [F.relu(of[name](h[x[:, 0] * sign > 99])) for name, sign in (("one", 1), ("two", -1))]
        return of["head"](F.relu(of["rest"](h))), *map(of["head"], parts)

    experts = {name: nn.Linear(6, 4) for name in ("one", "two", "rest")}
    model, example = settled(Written(forward, a=nn.Linear(5, 6), head=nn.Linear(4, 3), **experts)), flat(5)
    found = sites(model, example)
    assert [(site.name, site.units) for site in found] == [("layers.a", 6), ("layers.one", 4)]
    assert shrink(model, half(found), found, example=example).difference <= 1e-9


def test_nan_arrives_where_the_slots_say_behind_a_mask():
    def forward(of, x):
        x = F.relu(of["a"](x))
        return of["head"](F.relu(of["b"](x.movedim(1, -1)[x.sum(1) * 0 > -1])))

    model = settled(Written(lambda of, x: forward(of, x), a=conv(3, 6), b=nn.Linear(6, 5), head=nn.Linear(5, 3)))
    found = sites(model, image(size=4))
    assert {site.name for site in found} >= {"layers.b"}
    keep = half([site for site in found if site.name == "layers.b"])
    confirmed(model, image(size=4), [site for site in found if site.name == "layers.b"], keep)


# ---- the guard around each rule ----


def broken(ties, call):
    raise IndexError("list index out of range")


def broken_halfway(ties, call):
    """Ids have been given away by then: those of later runs must still mean the same."""
    ties.fresh(7)
    raise AssertionError


def of_other_shape(ties, call):
    return torch.zeros((), dtype=torch.int64).expand(2, 2)


def broken_when_sure(ties, call):
    """A rule that fails in a later run only, after an earlier one has gone well."""
    if not ties.looking:
        raise ZeroDivisionError("integer modulo by zero")
    return ties.now(call.ids(ties))


@pytest.mark.parametrize("rule", [broken, broken_halfway, of_other_shape, broken_when_sure])
def test_a_rule_that_fails_pins_what_its_operator_touches_and_nothing_else(rule, monkeypatch):
    def forward(of, x):
        q, k = (of[name](x).view(3, 2, 4).transpose(0, 1) for name in ("q", "k"))
        y = (q @ k.mT @ of["v"](x).view(3, 2, 4).transpose(0, 1)).transpose(0, 1).flatten(1)
        return of["head"](F.relu(of["b"](torch.tanh(of["a"](y)))))

    parts = {name: nn.Linear(5, 8) for name in "qkv"}
    model = settled(Written(forward, a=nn.Linear(8, 6), b=nn.Linear(6, 4), head=nn.Linear(4, 3), **parts))
    whole = {site.name: site.units for site in sites(model, flat(5))}
    monkeypatch.setitem(RULES, "tanh", rule)
    found = couplings(model, flat(5))
    assert {site.name: site.units for site in found.sites} == {n: u for n, u in whole.items() if n != "layers.a"}
    (because,) = (pin.because for pin in found.pinned if pin.name == "layers.a")
    assert because.startswith("aten.tanh is more than its rule can follow: ")
    assert f"{__file__}:" in because
    assert shrink(model, half(found.sites), found.sites, example=flat(5)).difference <= 1e-9


def test_an_operator_of_another_library_does_not_get_the_rule_of_one_called_alike():
    model, example = network(lambda of, x, h: torch.ops.capture_tests.hardswish(h))
    (pin,) = (pin for pin in couplings(model, example).pinned if pin.name == "layers.a")
    assert pin.because.startswith("capture_tests.hardswish has no rule")


# ---- lines ----

Node = namedtuple("Node", "name meta all_input_nodes")
Held = namedtuple("Held", "op target")


@pytest.mark.parametrize(
    ("meta", "reads", "says"),
    [
        ({"stack_trace": f'File "net.py", line 12, in f\nFile "{torch.__file__}", line 3, in g'}, (), "net.py:12"),
        ({"nn_module_stack": {"0": ("", "net.Net"), "1": ("body.2", "torch.nn.Linear")}}, (), "in module 'body.2'"),
        ({"nn_module_stack": {"0": ("", "net.Net")}}, (), "in Net.forward"),
        ({}, (Held("placeholder", "p_head_weight"),), "reads 'p_head_weight'"),
        ({}, (), "'add_1' in the exported graph"),
    ],
)  # fmt: skip
def test_where_an_operator_stands_is_always_said(meta, reads, says):
    assert graphs.line(Node("add_1", meta, reads)) == says


def test_a_package_whose_name_begins_like_torchs_is_not_torch():
    folder = torch.__file__.removesuffix("__init__.py").rstrip("/\\")
    assert graphs.of_torch(f"{folder}/nn/modules/linear.py")
    assert not graphs.of_torch(f"{folder}vision/models/resnet.py")


# ---- layers without outputs, and of one unit ----


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("middle", [0, 1])
def test_layers_of_no_unit_or_one_are_no_sites_and_disturb_no_other(middle):
    model = nn.Sequential(
        nn.Linear(5, middle), nn.ReLU(), nn.Linear(middle, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)
    ).double()
    found = couplings(model, flat(5))
    assert {"4": 4}.items() <= {site.name: site.units for site in found.sites}.items()
    assert {site.name for site in found.sites} <= {"2", "4"}
    assert [pin.because for pin in found.pinned if pin.name == "0"] == [
        "it makes one unit, and one unit must stay"
    ] * middle
    assert shrink(model, half(found.sites), found.sites, example=flat(5)).difference <= 1e-9
    assert compact(model, example=flat(5)).difference <= 1e-9


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_images_of_no_channels_are_refused_as_torch_cannot_make_them():
    model = nn.Sequential(conv(3, 0), nn.ReLU(), nn.Flatten(), nn.Linear(0, 3)).double()
    with pytest.raises(InputError, match="cannot be exported"):
        sites(model, image())
