"""ONNX and torch.export: what is written answers like the network, or is not written."""

import sys

import nets
import pytest
import torch
from torch import nn

from sapwood.errors import InputError
from sapwood.export import agreement, onnx, program, to_onnx, to_program
from sapwood.export.onnx import running

NEEDED = ("onnx", "onnxscript", "onnxruntime")


@pytest.fixture
def with_onnx():
    """Skips where the extra is not installed."""
    for name in NEEDED:
        pytest.importorskip(name)


def answer(model, x):
    with torch.no_grad():
        return model.eval()(x)


def more(x):
    """Other samples, and more of them."""
    return torch.cat([x, x, x])[:5] * 0.5 if x.is_floating_point() else torch.cat([x + 1, x, x, x])


def near(found, wanted):
    return bool((found - wanted).abs().max() <= 1e-5 * wanted.abs().max())


@pytest.mark.usefixtures("with_onnx")
@pytest.mark.parametrize("any_batch", [False, True])
def test_onnx_runtime_gives_the_networks_answers(case, any_batch, tmp_path):
    found = to_onnx(case.small, case.x, tmp_path / "n.onnx", batch=None if any_batch else len(case.x))
    assert 0 <= found <= 1e-5
    run = running((tmp_path / "n.onnx").read_bytes())
    x = more(case.x) if any_batch else case.x
    [given] = run(x)
    assert near(given, answer(case.small, x))
    assert [path.name for path in tmp_path.iterdir()] == ["n.onnx"], "the weights are in the file itself"
    if not any_batch:
        with pytest.raises(InputError, match="ONNX Runtime does not run the network: "):
            run(more(case.x))


class Biased(nn.Module):
    """Attention whose scores get a trained number for each distance."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.bias = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Embedding(5, 2)

    def forward(self, x):
        q, k, v = (of(x).view(1, 5, 2, 4).transpose(1, 2) for of in (self.q, self.k, self.v))
        far = (torch.arange(5)[:, None] - torch.arange(5)).abs()
        y = nn.functional.scaled_dot_product_attention(q, k, v, self.bias(far).permute(2, 0, 1)[None])
        return y.transpose(1, 2).reshape(1, 5, 8)


@pytest.mark.usefixtures("with_onnx")
def test_onnx_takes_attention_with_trained_biases(tmp_path):
    assert to_onnx(Biased(), torch.randn(1, 5, 8), tmp_path / "n.onnx", batch=1) <= 1e-5


@pytest.mark.parametrize("any_batch", [False, True])
def test_the_program_gives_the_networks_answers(case, any_batch, tmp_path):
    found = to_program(case.small, case.x, tmp_path / "n.pt2", batch=None if any_batch else len(case.x))
    assert 0 <= found <= 1e-5
    again = torch.export.load(tmp_path / "n.pt2").module()
    x = more(case.x) if any_batch else case.x
    assert near(again(x), answer(case.small, x))
    assert [path.name for path in tmp_path.iterdir()] == ["n.pt2"]


def test_one_sample_is_example_enough_for_any_batch(case, tmp_path):
    to_program(case.small, case.x[:1], tmp_path / "n.pt2")
    again = torch.export.load(tmp_path / "n.pt2").module()
    for x in (case.x[:1], more(case.x)):
        assert near(again(x), answer(case.small, x))


class Counting(nn.Module):
    """A number of samples written into it."""

    def __init__(self, samples):
        super().__init__()
        self.samples = samples

    def forward(self, x):
        return x.view(self.samples, 3).sum(1)


class Two(nn.Module):
    def forward(self, x, y):
        return {"sum": x + y, "twice": (2 * x, y)}


def test_several_inputs_and_outputs(tmp_path):
    x = (torch.ones(2, 3), torch.full((2, 3), 2.0))
    assert to_program(Two(), x, tmp_path / "n.pt2") == 0.0


@pytest.mark.usefixtures("with_onnx")
def test_several_inputs_and_outputs_in_onnx(tmp_path):
    x = (torch.ones(2, 3), torch.full((2, 3), 2.0))
    assert to_onnx(Two(), x, tmp_path / "n.onnx") == 0.0


@pytest.mark.parametrize("samples", [1, 2])
def test_a_batch_written_into_the_code_is_named(samples, tmp_path):
    fixed, x = Counting(samples), torch.ones(samples, 3)
    says = rf"Counting cannot be exported for any number .* fixes the batch at {samples}; batch={samples} writes it"
    with pytest.raises(InputError, match=says):
        to_program(fixed, x, tmp_path / "n.pt2")
    assert list(tmp_path.iterdir()) == []
    assert to_program(fixed, x, tmp_path / "n.pt2", batch=samples) == 0.0


class Unexportable(nn.Module):
    def forward(self, x):
        return x * float(x.sum().item() > 0 and len(str(x.sum().item())))


def test_what_cannot_be_exported_at_all_does_not_blame_the_batch(tmp_path):
    with pytest.raises(InputError, match="Unexportable cannot be exported: "):
        to_program(Unexportable(), torch.ones(2, 3), tmp_path / "n.pt2")


@pytest.mark.parametrize("x", [(torch.ones(2, 3), torch.ones(3, 3)), torch.tensor(1.0), torch.ones(0, 3)])
def test_an_open_batch_needs_samples(x, tmp_path):
    with pytest.raises(InputError, match="an open batch is for inputs whose first dimension counts the same samples"):
        to_program(Two(), x, tmp_path / "n.pt2")


def test_inputs_of_different_sizes_are_written_as_they_are(tmp_path):
    x = (torch.ones(2, 3), torch.ones(1, 3))
    assert to_program(Two(), x, tmp_path / "n.pt2", batch=2) == 0.0
    with pytest.raises(InputError, match=r"batch=4 is for inputs .*or batch=2 for the sizes that it has"):
        to_program(Two(), x, tmp_path / "n.pt2", batch=4)
    for bad in (0, True, 2.0):
        with pytest.raises(InputError, match=f"batch is {bad!r}; give a whole number of samples"):
            to_program(Two(), x, tmp_path / "n.pt2", batch=bad)


@pytest.mark.parametrize("batch", [1, 5])
def test_a_batch_is_fixed_where_it_is_asked_for(batch, tmp_path):
    model, x = nets.plain().eval(), nets.image()
    to_program(model, x, tmp_path / "n.pt2", batch=batch)
    again = torch.export.load(tmp_path / "n.pt2").module()
    several = torch.cat([x, x, x])[:batch]
    assert near(again(several), answer(model, several))
    with pytest.raises((RuntimeError, AssertionError)):
        again(torch.cat([x, x]))


def test_the_old_name_of_the_option_says_the_new_one(tmp_path):
    x = (torch.ones(2, 3), torch.ones(2, 3))
    with pytest.warns(DeprecationWarning, match="any_batch=False is now batch=N; the old name goes"):
        to_program(Two(), x, tmp_path / "n.pt2", any_batch=False)
    with pytest.warns(DeprecationWarning, match="any_batch=True is now batch=None, the default"):
        to_program(Two(), x, tmp_path / "more.pt2", any_batch=True)
    more = (torch.ones(3, 3), torch.ones(3, 3))
    assert torch.equal(torch.export.load(tmp_path / "more.pt2").module()(*more)["sum"], more[0] * 2)
    with pytest.raises((RuntimeError, AssertionError)):
        torch.export.load(tmp_path / "n.pt2").module()(*more)


def test_nothing_about_the_network_changes(tmp_path):
    model = nets.plain()
    model.train()
    model[1].eval()
    before = ([m.training for m in model.modules()], torch.get_rng_state().tolist(), model[1].running_mean.tolist())
    to_program(model, nets.image(), tmp_path / "n.pt2")
    after = ([m.training for m in model.modules()], torch.get_rng_state().tolist(), model[1].running_mean.tolist())
    assert before == after


def off_by(amount):
    """Stands in for a runtime that computes something else."""
    return lambda *x: nets.plain()(*x) * 0 + amount


@pytest.mark.parametrize("amount", [float("nan"), 3.0])
def test_other_answers_are_an_error(amount):
    with pytest.raises(InputError, match=r"the runtime answers differently from the network: by (inf|\d.*) of the lar"):
        agreement.disagreement(nets.plain(), off_by(amount), nets.image(), any_batch=False, tolerance=0.5,
                               what="the runtime")  # fmt: skip


@pytest.mark.parametrize("any_batch", [False, True])
def test_any_batch_is_tried_with_another_one(any_batch):
    model, x = nets.plain().eval(), nets.image()
    seen = []

    def run(given):
        seen.append(len(given))
        return answer(model, given) * (len(given) == len(x))

    def compared():
        return agreement.disagreement(model, run, x, any_batch=any_batch, tolerance=1e-5, what="it")

    if any_batch:
        with pytest.raises(InputError, match=r"by 1\.0e\+00 of the largest output"):
            compared()
    else:
        assert compared() == 0.0
    assert seen == [2, 2, 3][: 2 + any_batch]


def test_answers_of_another_shape_or_number_are_an_error():
    for run in (lambda x: [], lambda x: x, lambda x: [x, x]):
        with pytest.raises(InputError, match="by inf of the largest output"):
            agreement.disagreement(nets.plain(), run, nets.image(), any_batch=False, tolerance=1e9, what="it")


@pytest.mark.usefixtures("with_onnx")
def test_what_answers_differently_is_not_written_unless_that_is_good_enough(tmp_path, monkeypatch):
    (tmp_path / "n.onnx").write_bytes(b"old")
    model, exact = nets.plain().eval(), running

    def tilted(content):
        run = exact(content)
        return lambda *x: [y * (1 + 1e-3) for y in run(*x)]

    monkeypatch.setattr(onnx, "running", tilted)
    with pytest.raises(InputError, match=r"the network in ONNX Runtime answers differently .*: by 1\.0e-03"):
        to_onnx(model, nets.image(), tmp_path / "n.onnx")
    assert (tmp_path / "n.onnx").read_bytes() == b"old"
    assert to_onnx(model, nets.image(), tmp_path / "n.onnx", tolerance=1e-2) == pytest.approx(1e-3, rel=0.01)
    assert (tmp_path / "n.onnx").read_bytes() != b"old"


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_what_to_run(name, tmp_path, monkeypatch):
    for each in NEEDED:
        monkeypatch.setitem(sys.modules, each, None if each == name else sys.modules["torch"])
    with pytest.raises(InputError, match=rf'ONNX export needs {name}; run: pip install "sapwood\[onnx\]"$'):
        to_onnx(nets.plain(), nets.image(), tmp_path / "n.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_runtime_it_is_written_and_not_compared(tmp_path, monkeypatch):
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert to_onnx(nets.plain(), nets.image(), tmp_path / "n.onnx") is None
    assert (tmp_path / "n.onnx").stat().st_size > 1_000


@pytest.mark.usefixtures("with_onnx")
def test_what_onnx_cannot_say_is_refused(tmp_path):
    class Strange(nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x)

    with pytest.raises(InputError, match=r"^Strange cannot be written as ONNX: .*to_program may do$") as caught:
        to_onnx(Strange(), torch.eye(3)[None], tmp_path / "n.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_program_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "n.pt2").write_bytes(b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        to_program(nets.plain(), nets.image(), tmp_path / "n.pt2")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("n.pt2", b"old")]


def test_the_programs_answers_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "disagreement", lambda *given, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        to_program(nets.plain(), nets.image(), tmp_path / "n.pt2")
    assert list(tmp_path.iterdir()) == []
