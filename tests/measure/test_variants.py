"""Variants: compared in turns; sparse storage and ONNX Runtime compute the same."""

import pytest
import torch
from test_clock import Clock
from torch import nn

from sapwood.errors import InputError
from sapwood.measure.clock import latency
from sapwood.measure.variants import compared, in_onnxruntime, sparse


def network():
    model = nn.Sequential(
        nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 64, bias=False), nn.Tanh(), nn.Linear(64, 3)
    ).double()
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight[torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(1)) < 0.8] = 0
    return model


def test_ratios_are_taken_round_by_round_to_the_first():
    clock = Clock()
    cases = {"dense": clock.case("a", [1.0, 2.0, 4.0, 8.0]), "half": clock.case("b", [0.5, 1.0, 2.0, 4.0])}
    found = compared(cases, torch.ones(6, 2), rounds=4, warmup=0, clock=clock)
    assert clock.calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    timing, ratio = found["half"]
    assert (timing.median, timing.lower, timing.upper) == (1.5, 0.875, 2.5)
    assert (ratio.median, ratio.lower, ratio.upper) == (0.5, 0.5, 0.5)
    assert found["dense"][1].median == 1
    assert list(found) == ["dense", "half"]


@pytest.mark.parametrize("layout", ["csr", "bsr"])
def test_sparse_storage_computes_the_same(layout):
    model = network()
    weights = {name: p.clone() for name, p in model.named_parameters()}
    other = sparse(model, layout)
    kinds = {"csr": torch.sparse_csr, "bsr": torch.sparse_bsr}
    assert [m.weight.layout for m in (other[0], other[2])] == [kinds[layout]] * 2
    assert (type(other[4]) is nn.Linear) == (layout == "bsr")  # blocks of 16 rows do not divide 3
    for shape in ((7, 32), (1, 32), (2, 5, 32), (32,)):
        x = torch.randn(shape, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(other(x), model(x), rtol=0, atol=1e-13)
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert type(model[0]) is nn.Linear
    assert set(latency({"dense": model, layout: other}, x[None], rounds=4, warmup=1)) == {"dense", layout}


def test_a_layer_alone_and_blocks_of_another_size():
    layer = nn.Linear(6, 4).double()
    x = torch.randn(3, 6, dtype=torch.float64)
    with torch.no_grad():
        for other in (sparse(layer, "csr"), sparse(layer, "bsr", block=2)):
            torch.testing.assert_close(other(x), layer(x))
            assert other.weight.layout != torch.strided


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="unknown layout 'coo'"):
        sparse(network(), "coo")
    with pytest.raises(InputError, match="1 Linear layers, none of which can be stored as bsr in blocks of 16 x 16"):
        sparse(nn.Linear(6, 4), "bsr")
    with pytest.raises(InputError, match="0 Linear layers"):
        sparse(nn.ReLU(), "csr")
    with pytest.raises(InputError, match="no ONNX file"):
        in_onnxruntime(tmp_path / "none.onnx")


@pytest.mark.filterwarnings("ignore")  # the exporter's own, of versions to come
def test_onnxruntime_gives_the_same(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    model, x = network().float().eval(), torch.randn(5, 32)
    torch.onnx.export(model, (x,), tmp_path / "model.onnx", dynamo=True, verbose=False)
    run = in_onnxruntime(tmp_path / "model.onnx")
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(run(x)[0]), model(x), rtol=0, atol=1e-5)
    assert compared({"torch": model, "onnxruntime": run}, x, rounds=4)["onnxruntime"][1].median > 0
