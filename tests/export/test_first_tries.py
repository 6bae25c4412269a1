"""First tries: what people type at first with a network of their own, and what they are told when it is not right."""

import re

import pytest
import torch
from torch import nn

from sapwood import Batch, InputError, compact, export, prune, remove_branches, shrink, sites
from sapwood.ancestry import is_smaller
from sapwood.checks.tiny import tiny_conv_task
from sapwood.export import pruning
from sapwood.export.pruned import Times, _hardest, _timed
from sapwood.export.targets import target_of
from sapwood.measure.clock import Ratio, Timing
from sapwood.training.run import start

X = {"image": torch.rand(4, 3, 6, 6), "meta": torch.rand(4, 5)}
Y = torch.arange(4)


class Net(nn.Module):
    """A dict in, a dict out."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16)
        self.body, self.table = nn.Conv2d(16, 32, 3), nn.Linear(5, 32)
        self.head = nn.Linear(32, 3)

    def forward(self, batch):
        x = torch.relu(self.body(torch.relu(self.norm(self.stem(batch["image"])))))
        return {"logits": self.head(x.mean((2, 3)) + torch.relu(self.table(batch["meta"])))}


@pytest.fixture(scope="module")
def twice():
    """The network, it pruned, and that pruned again."""
    torch.manual_seed(0)
    net = Net()
    first = prune(net, X, macs=0.7, keep=["stem"], recalibrate=[(X, Y)], timing=0)
    return net, first, prune(first.model, X, macs=0.7, timing=0, recalibrate=[Batch(X, Y)])


def test_batches_are_tried_and_the_network_judged_before_anything_is_cut(monkeypatch):
    done = []
    monkeypatch.setattr(pruning, "_found", lambda *given: done.append("cut") or 1 / 0)
    with pytest.raises(InputError, match=r"Net fails when called with .*KeyError: 'meta'; a batch may be"):
        prune(Net(), X, macs=0.5, recalibrate=[({"image": X["image"]}, Y)], evaluate=lambda model: 1 / 0)
    with pytest.raises(InputError, match=r"evaluate\(model\) gave a str"):
        prune(Net(), X, macs=0.5, evaluate=lambda model: "good")
    with pytest.raises(InputError, match=r"unknown name in keep 'stm'"):
        prune(Net(), X, macs=0.5, keep=["stm"], evaluate=lambda model: done.append("judged"))
    assert done == []


def test_what_keep_names_is_in_keep_and_whole(twice):
    net, first, second = twice
    assert list(first.keep) == [site.name for site in sites(net, X)]
    assert first.keep["stem"].all()
    assert not first.keep["body"].all()
    assert all(len(kept) == site.units for kept, site in zip(first.keep.values(), first.sites, strict=True))
    assert re.search(r"^hardest  body 32 -> \d+$", str(first), re.M)
    assert "hardest" in second._repr_html_()


def test_the_original_is_the_network_that_code_builds(twice, tmp_path):
    net, first, second = twice
    assert "of=model), model being the one before" in str(first)
    assert "of=original), original being the first, which your code builds" in str(second)
    file = tmp_path / "small.safetensors"
    for write in (export.save, lambda model, path, of: export.to_timm(model, X, path, of=of)):
        with pytest.raises(InputError, match=r"of= is a Net that was made smaller itself.*give the first network"):
            write(second.model, file, of=first.model)
    assert not file.exists()
    export.save(second.model, file, of=net)
    again = export.load(file, Net).eval()
    assert torch.equal(again(X)["logits"], second.model.eval()(X)["logits"])
    with pytest.raises(InputError, match="made smaller itself"):
        export.save(second.model, file, of=again)
    export.save(net, tmp_path / "whole.safetensors", of=net)
    assert not is_smaller(export.load(tmp_path / "whole.safetensors", Net))
    assert not is_smaller(net)


class Two(nn.Module):
    """A layer, a branch beside it, and the answer."""

    def __init__(self):
        super().__init__()
        self.first, self.beside, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(x + self.beside(x))


ROWS = torch.rand(3, 4)
KEEP = torch.arange(6) < 4


def plain():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


def shrunk(net, keep=KEEP, **how):
    return shrink(net, {"0": keep}, sites(net, ROWS), example=ROWS, **how).model


def with_zeros():
    net = plain()
    net[0].weight.data[4:] = 0
    return net


def run_shrunk():
    run = start(tiny_conv_task())
    site = sites(run.apart.one)[0]
    run.shrink({site.name: torch.arange(site.units) > 0}, [site])
    return run.model


SMALLER = {  # what makes a network smaller, and what makes one that it was made of
    "shrink": (lambda: shrunk(plain()), plain),
    "shrink, of a smaller one, without removing more": (lambda: shrunk(shrunk(plain()), KEEP[:4]), plain),
    "shrink, folding": (lambda: shrunk(with_zeros(), removed="folded"), plain),
    "compact": (lambda: compact(with_zeros(), example=ROWS).model, plain),
    "compact, of a smaller one that has no zeros": (lambda: compact(shrunk(plain()), example=ROWS).model, plain),
    "remove_branches": (lambda: remove_branches(Two(), ["beside"], example=ROWS).model, Two),
    "a run": (run_shrunk, tiny_conv_task().model),
}


@pytest.mark.parametrize(("small", "make"), SMALLER.values(), ids=SMALLER)
def test_whatever_made_it_smaller_a_network_is_no_original(small, make, tmp_path):
    """Not for `save`, nor for `load`, nor what `load` gives; and `prune` says so."""
    small, file = small(), tmp_path / "small.safetensors"
    with pytest.raises(InputError, match=r"^of= is a \w+ that was made smaller itself, .*; give the first network"):
        export.save(small, file, of=small)
    assert not file.exists()
    export.save(small, file, of=make())
    assert is_smaller(export.load(file, make))
    if isinstance(small, Two):
        return  # of which a file takes no more than went already
    with pytest.raises(InputError, match=r"small\.safetensors is not of .*, a \w+ that was made smaller itself, and"):
        export.load(file, lambda: small)


def test_what_nothing_was_removed_from_may_be_an_original():
    for same in (shrunk(plain(), KEEP | True), compact(plain(), example=ROWS).model):
        assert not is_smaller(same)
    assert not is_smaller(remove_branches(Two(), [], example=ROWS).model)
    assert prune(shrunk(plain()), ROWS, macs=0.9, multiple=1, timing=0).first is False
    assert prune(plain(), ROWS, macs=0.9, multiple=1, timing=0).first is True


def test_a_file_of_torch_save_is_called_that(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"one of torch\.save; torch\.load and load_state_dict read it"):
        export.load(tmp_path / "w.pt", Net)


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ({"macs": 1.5}, " (a number of multiply-adds, as it is above 1; half of them is macs=0.5)"),
        ({"parameters": 50}, " (a number of parameters, as it is above 1; half of them is parameters=0.5)"),
        ({"bytes": 100.0}, " (a number of bytes, as it is above 1; half of them is bytes=0.5)"),
        ({"bytes": 101}, ""),
        ({"macs": 0.5}, ""),
        ({"ms": 3.0}, ""),
    ],
)
def test_a_number_that_may_be_meant_as_a_share_is_explained(target, hint):
    ((kind, value),) = target.items()
    assert str(target_of(**target)) == f"{kind}={value:g}{hint}"


def test_an_example_that_does_not_fit_is_told_apart_from_code_that_cannot_be_exported():
    says = r"does not run: KeyError: 'meta' \(.*py:\d+\); the example has the keys 'image'; forward takes \(batch\)"
    with pytest.raises(InputError, match=says):
        prune(Net(), {"image": X["image"]}, macs=0.5)
    with pytest.raises(InputError, match=r"does not run: IndexError: .*; forward takes \(batch\)"):
        prune(Net(), X["image"], macs=0.5)


@pytest.mark.parametrize(("lower", "upper", "apart"), [(0.5, 0.7, True), (0.8, 1.3, False), (1.1, 1.4, True)])
def test_times_that_cannot_be_told_apart_are_no_result(lower, upper, apart):
    one = Timing(0.01, 0.01, 0.01, 0.01, 4, 1, (0.01,) * 4)
    said = _timed(Times(one, one, Ratio((lower + upper) / 2, lower, upper, 4, 1), "cpu"))[-1]
    assert ("not told apart" not in said) is apart
    assert f"quartiles {100 * lower:.0f} to {100 * upper:.0f}" in said


def test_the_hardest_cut_sites_are_named():
    def keep(**left):
        return {name: torch.arange(8) < some for name, some in left.items()}

    assert _hardest(keep(a=4, b=8, c=2)) == "c 8 -> 2, a 8 -> 4"
    assert _hardest(keep(a=2)) == _hardest(keep(a=8, b=8)) == ""
    assert _hardest(keep(**dict.fromkeys("abcdefgh", 2), i=4)).endswith("f 8 -> 2 and 2 more as hard")
    assert "more" not in _hardest(keep(**dict.fromkeys("abcdef", 2), i=4))


def test_onnx_names_are_the_keys(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    net = Net()
    export.to_onnx(net, X, tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    assert [(each.name, each.shape[1:]) for each in session.get_inputs()] == [("image", [3, 6, 6]), ("meta", [5])]
    assert [each.name for each in session.get_outputs()] == ["logits"]
    (got,) = session.run(["logits"], {name: x.numpy() for name, x in X.items()})
    assert torch.allclose(torch.from_numpy(got), net.eval()(X)["logits"], atol=1e-5)
