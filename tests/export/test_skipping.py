"""Skipping: the gated network's outputs, alone and in batches, for what is open only, counted twice; refusals."""

from copy import deepcopy

import pytest
import torch
from planted import leaving_out
from torch import nn

from sapwood import InputError, points, sites
from sapwood.export import Skipping, open_channels
from sapwood.gates import Clamp, Gated, Saliency

LAWS = leaving_out.laws()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_skipping(law):
    law()


def test_in_single_precision_outputs_are_within_one_in_ten_thousand():
    for gated, found, x in leaving_out.networks():
        gated, x = deepcopy(gated).float(), x.float()
        skipping = Skipping(gated, found, x)
        for inputs in (x, x[:1]):
            assert (skipping(inputs) - gated(inputs)).abs().max() < 1e-4


def test_it_stays_in_evaluation_mode_and_leaves_the_gated_network_alone():
    gated, found, x = next(leaving_out.networks())
    before = gated(x)
    skipping = Skipping(gated, found).train()
    skipping(x)
    assert not any(module.training for module in skipping.modules())
    assert torch.equal(gated(x), before)
    assert all("forward" not in vars(module) for module in gated.modules())


def test_asleep_everything_is_computed():
    gated, found, x = next(leaving_out.networks())
    for gate in gated.gates.values():
        gate.set_(awake=False, noise=1.0)
    assert torch.allclose(Skipping(gated, found)(x), gated.model(x), atol=1e-10)


class Sized(nn.Module):
    """Its code goes by the number of channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        x = self.b(self.a(x).relu()).relu()
        return self.c(x / 2 if x.shape[1] < 6 else x)


def test_code_that_goes_by_the_number_of_channels_is_run_at_full_size():
    model, x = Sized().double().eval(), torch.randn(2, 2, 4, 4, dtype=torch.float64)
    found = [site for site in sites(model, x[:1]) if site.name == "b"]
    gated = Gated(model, {"b": Saliency(6, reads=4, start=0.0)}, points(model, found, x[:1])).double().eval()
    small = Skipping(gated, found, x)
    assert not small.compact
    assert torch.allclose(small(x[:1]), gated(x[:1]), atol=1e-10)
    assert int(small.executed) < 16 * (2 * 4 + 4 * 6 + 6 * 2) + gated.by_site()["b"].macs


def test_layers_that_are_slower_in_parts_are_run_whole(monkeypatch):
    """Timed for every sample of the example; the clock here says that one layer is slower in parts, and no other."""
    gated, found, x = next(leaving_out.networks())
    ways = []

    def seconds(run):
        whole, (layer,) = run.args[0], {run.func.__self__.layer}
        ways.append(whole)
        run()
        return 1.0 + (whole is (tuple(layer.weight.shape) != (10, 6, 3, 3)))

    monkeypatch.setattr(open_channels, "shortest", seconds)
    fast = Skipping(gated, found, x[:2], whole="measured")
    assert fast.whole == ("a",)
    assert ways == [False, True] * 5 * 2  # five layers, two samples
    assert (fast(x) - gated(x)).abs().max() < 1e-10


def test_the_clock_takes_the_shortest_of_a_few_runs(monkeypatch):
    now = iter([0.0, 5.0, 10.0, 11.0, 20.0, 24.0, 30.0, 33.0, 40.0, 42.0])
    monkeypatch.setattr(open_channels, "perf_counter", lambda: next(now))
    runs = []
    assert open_channels.shortest(lambda: runs.append(1)) == 1.0
    assert len(runs) == 1 + open_channels.REPEATS


def test_whole_layers_are_named_or_measured():
    gated, found, x = next(leaving_out.networks())
    with pytest.raises(InputError, match="unknown layer 'z'"):
        Skipping(gated, found, x, whole=["z"])
    with pytest.raises(InputError, match="whole='measured' times layers on an example; give one"):
        Skipping(gated, found, whole="measured")


def test_what_cannot_be_skipped_is_refused_by_name():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1)).eval()
    x = torch.randn(1, 1, 5, 5)
    found = sites(model, x)
    gated = Gated(model, {"0": Saliency(4, reads=1)}, points(model, found, x))
    with pytest.raises(InputError, match="units of site '0' cannot be skipped at '1'"):
        Skipping(gated, found)
    with pytest.raises(InputError, match="not among the sites given"):
        Skipping(gated, ())
    with pytest.raises(InputError, match="site '0' has a Clamp gate"):
        Skipping(Gated(model, {"0": Clamp(4)}, points(model, found, x)), found)
