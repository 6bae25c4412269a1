"""The verbs shrink and export: from a finished trial to a file that somebody else can use."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from sapwood import codec
from sapwood import masks as mask
from sapwood.cli.trained import trained
from sapwood.errors import InputError
from sapwood.export import load
from sapwood.methods import METHODS
from sapwood.tasks import TASKS
from sapwood.tasks.recipe import with_recipe
from sapwood.training.run import start
from sapwood.trials.execution import run_into
from sapwood.trials.trial import Trial, id_of

OPTIONS = {"epochs": 4, "cycles": 2, "first": 0.01, "target": 0.02, "stop": "epochs", "plateau": 1, "sparsity": 0.7}
TRIAL = Trial.make("global_activation", "mlp_digits", 0, "G7", **OPTIONS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The results of a trial that pruned neurons."""
    results = tmp_path_factory.mktemp("results")
    run_into(results, TRIAL)
    return results


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    """A copy of them, and a place to be in."""
    shutil.copytree(finished, tmp_path / "results" / "mine")
    monkeypatch.chdir(tmp_path)
    return Path("results/mine") / TRIAL.id


def make():
    return TASKS["mlp_digits"]().model()


def answers(model):
    with torch.no_grad():
        return model.eval()(TASKS["mlp_digits"]().data.test.inputs)


def same(a, b):
    return bool((a - b).abs().max() <= 1e-5 * b.abs().max())


def test_shrink_writes_a_smaller_network_that_answers_alike_and_says_so(sapwood, folder):
    status, out, err = sapwood("shrink", folder, "--to", "small.safetensors")
    assert (status, err) == (0, "")
    small, before = load("small.safetensors", make), trained(folder).masked()
    assert same(answers(small), answers(before))
    numbers = [sum(p.numel() for p in model.parameters()) for model in (before, small)]
    assert numbers[1] < 0.7 * numbers[0]
    macs = [sum(p.numel() for p in model.parameters() if p.dim() > 1) for model in (before, small)]
    assert re.search(rf"^parameters +{numbers[0]:,} +{numbers[1]:,} +\d+\.\d\d times smaller$", out, re.MULTILINE)
    assert re.search(rf"^MACs +{macs[0]:,} +{macs[1]:,} +{macs[0] / macs[1]:.2f} times smaller$", out, re.MULTILINE)
    assert re.search(rf"^bytes +{4 * numbers[0]:,} +{4 * numbers[1]:,} ", out, re.MULTILINE)
    right = float((answers(small).argmax(1) == TASKS["mlp_digits"]().data.test.targets).double().mean())
    assert re.search(rf"^test accuracy +{right:.4f} +{right:.4f}$", out, re.MULTILINE)
    assert re.search(r"^largest difference of the outputs: \d\.\de[-+]\d\d \(relative, float64\)$", out, re.MULTILINE)
    assert out.splitlines()[-1].startswith("written: small.safetensors (for sapwood.export.load, ")


def test_export_writes_the_same_network_file(sapwood, folder):
    sapwood("shrink", folder, "--to", "one.safetensors")
    status, out, err = sapwood("export", folder, "--to", "two.safetensors")
    assert (status, out, err) == (0, "written: two.safetensors\n", "")
    assert Path("one.safetensors").read_bytes() == Path("two.safetensors").read_bytes()


def test_masked_is_the_network_at_its_full_size(sapwood, folder):
    assert sapwood("export", folder, "--masked", "--to", "full.safetensors")[0] == 0
    full = load("full.safetensors", make)
    assert mask.zeros(dict(full.named_parameters())) > 5_000
    assert str(full) == str(make())
    assert torch.equal(answers(full), answers(trained(folder).masked()))


@pytest.mark.parametrize("batch", [None, 3])
def test_export_to_a_program(sapwood, folder, batch):
    status, out, err = sapwood("export", folder, "--to", "n.pt2", *(() if batch is None else ("--batch", batch)))
    assert (status, err) == (0, "")
    assert re.match(
        r"largest difference between torch.export and the network: \S+ \(relative\)\nwritten: n.pt2\n$", out
    )
    again = torch.export.load("n.pt2").module()
    x = TASKS["mlp_digits"]().data.test.inputs[:3]
    assert same(again(x), answers(trained(folder).masked())[:3])
    if batch is None:
        assert again(x[:1]).shape == (1, 10)
    else:
        with pytest.raises(AssertionError, match="Guard failed"):
            again(x[:2])


def test_export_to_onnx(sapwood, folder):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    status, out, err = sapwood("export", folder, "--to", "n.onnx")
    assert (status, err) == (0, "")
    assert re.match(
        r"largest difference between ONNX Runtime and the network: \S+ \(relative\)\nwritten: n.onnx\n$", out
    )
    session = runtime.InferenceSession("n.onnx")
    x = TASKS["mlp_digits"]().data.test.inputs
    [given] = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert same(torch.from_numpy(given), answers(trained(folder).masked()))
    assert sapwood("export", folder, "--masked", "--to", "m.onnx")[0] == 0
    assert Path("n.onnx").stat().st_size < 0.8 * Path("m.onnx").stat().st_size


@pytest.mark.parametrize("more", [(), ("--masked",)])
def test_export_to_the_fewest_bytes(sapwood, folder, more):
    status, out, err = sapwood("export", folder, "--to", "n.swz", *more)
    assert (status, err) == (0, "")
    before, again = trained(folder).masked(), codec.load("n.swz", make)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), again.parameters(), strict=True))
    assert torch.equal(answers(again), answers(before))
    written, dense = Path("n.swz").stat().st_size, 4 * sum(p.numel() for p in before.parameters())
    assert written < 0.4 * dense, "seven tenths of the weights are gone"
    assert re.search(rf"^the file +{written:,} +{dense / written:.2f} times smaller than {dense:,}$", out, re.MULTILINE)
    rows = re.findall(r"^(\S+\.\w+) +([\d,]+) +([\d,]+)  ", out, re.MULTILINE)
    assert [name for name, *_ in rows] == list(before.state_dict())
    others = re.search(r"^names and the like +([\d,]+)$", out, re.MULTILINE).group(1)
    assert sum(int(size.replace(",", "")) for size in (others, *(size for *_, size in rows))) == written
    assert re.search(
        r"^Codes take [\d,]+ of these bytes, where the entropy of their symbols is [\d,]+; tables", out, re.MULTILINE
    )
    assert out.splitlines()[-1] == (
        "written: n.swz (for sapwood.codec.load, whose make is TASKS['mlp_digits']().model)"
    )


def test_without_onnx_one_line_says_what_to_install(sapwood, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    status, out, err = sapwood("export", folder, "--to", "n.onnx")
    assert (status, out) == (2, "")
    assert err == 'error: ONNX export needs onnx; run: pip install "sapwood[onnx]"\n'
    assert not Path("n.onnx").exists()


def test_a_runs_checkpoint_will_do(sapwood, folder):
    run = start(TASKS["mlp_digits"](), 0)
    for _ in METHODS["global_activation"](run, **OPTIONS):
        pass
    run.save(Path("run.safetensors"))
    assert sapwood("export", "run.safetensors", "--to", "a.safetensors")[0] == 0
    assert sapwood("export", folder / "weights.safetensors", "--to", "b.safetensors")[0] == 0
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()


def test_a_network_of_another_width_says_what_makes_it(sapwood, tmp_path, monkeypatch):
    trial = Trial.make("dense", "mlp_digits", 0, stop="epochs", epochs=1).under(hidden="9 8 7 6")
    run_into(tmp_path, trial)
    monkeypatch.chdir(tmp_path)
    status, out, err = sapwood("export", tmp_path / trial.id, "--to", "n.swz")
    assert (status, err) == (0, "")
    make = re.search(r"whose make is (.*)\)$", out).group(1)
    assert make == "sapwood.tasks.recipe.with_recipe(TASKS['mlp_digits'](), hidden='9 8 7 6').model"
    again = codec.load("n.swz", with_recipe(TASKS["mlp_digits"](), hidden="9 8 7 6").model)
    assert torch.equal(answers(again), answers(trained(tmp_path / trial.id).masked()))


def unfinished(folder):
    (folder / "done").unlink()


def restored(folder):
    (folder / "done").rename(folder / "kept")
    (folder / "weights.safetensors").unlink()


def on_its_way(folder):
    unfinished(folder)
    (folder / "state.safetensors").write_bytes(b"")


def changed(folder, **words):
    path = folder / "trial.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | words))


def of_another(folder, *, task="mlp_digits", **recipe):
    """All of trial.json says that it is a trial of this task, under this recipe."""
    about = json.loads((folder / "trial.json").read_text())
    identity = about["identity"] | {"task": f"{task}@1", "recipe": recipe}
    options = about["options"] | recipe
    changed(folder, task=task, identity=identity, id=id_of(identity), options=options)


def damaged(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def test_a_trial_under_a_recipe_of_its_own_is_read_as_it_was_run(tmp_path):
    trial = Trial.make("dense", "mlp_digits", 0, stop="epochs", epochs=1).under(batch_size=64, learning_rate=0.01)
    run_into(tmp_path, trial)
    found = trained(tmp_path / trial.id)
    assert found.task.batch_size == 64
    assert torch.isfinite(answers(found.masked())).all()
    run = start(found.task, 0)  # the same folder while the trial runs, with what it would go on from
    run.save(tmp_path / trial.id / "state.safetensors")
    assert trained(tmp_path / trial.id / "state.safetensors").task.batch_size == 64


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (unfinished, "has no final network: it is not finished; run it"),
        (
            on_its_way,
            "has no final network: it is not finished; run it .*, or give .*state.safetensors for the network",
        ),
        (restored, "has no final network: only its rows were kept, not its weights; run it"),
        (lambda folder: of_another(folder, task="mine"), "is of task 'mine', which is not in sapwood's table"),
        (
            lambda folder: changed(folder, data="mlp_digits:0"),
            "the data or the recipe of task 'mlp_digits' is not what",
        ),
        (lambda folder: changed(folder, identity={"recipe": 3}), "trial.json is damaged"),
        (
            lambda folder: of_another(folder, speed=1),
            "unknown option of a task's recipe: 'speed'",
        ),
        (
            lambda folder: of_another(folder, batch_size="many"),
            "option 'batch_size' of the recipe is 'many'; it must be",
        ),
        (damaged, "weights.safetensors is not a readable checkpoint"),
    ],
)
def test_a_trial_that_cannot_be_used_is_refused(sapwood, folder, spoil, says):
    spoil(folder)
    status, out, err = sapwood("shrink", folder, "--to", "small.safetensors")
    assert (status, out) == (2, "")
    assert re.match(rf"error: .*{says}", err)
    assert err.count("\n") == 1
    assert not Path("small.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["shrink", "nowhere", "--to", "s.safetensors"], "there is no nowhere; give the folder of a finished trial"),
        (["shrink", "results", "--to", "s.safetensors"], "results is not the folder of a trial; give results/STUDY/ID"),
        (["shrink", "results/mine", "--to", "s.safetensors"],
         rf"results/mine is a folder of trials; give one of them: results/mine/{TRIAL.id} \(G7, seed 0\)$"),
        (["export", "note.txt", "--to", "s.onnx"], "note.txt is no whole checkpoint of a run: note.txt is not"),
        (["shrink", "HERE", "--to", "s.onnx"], "--to s.onnx ends in '.onnx'; give a name that ends in .safetensors$"),
        (["export", "HERE", "--to", "s"], "--to s ends in 'nothing'; .* .safetensors or .onnx or .pt2 or .swz$"),
        (["export", "HERE", "--to", "not/there.pt2"], "--to not/there.pt2: there is no folder not; make it first"),
        (["export", "HERE", "--to", "folder.pt2"], "--to folder.pt2 is a folder; give the name of a file"),
        (["export", "HERE", "--to", "s.safetensors", "--batch", "2"], "--batch 2 is for .onnx and .pt2; s.safetensors"),
        (["export", "HERE", "--to", "s.swz", "--batch", "2"], "--batch 2 is for .onnx and .pt2; s.swz takes any batch"),
    ],
)  # fmt: skip
def test_bad_words_end_in_one_line_and_nothing_is_written(sapwood, folder, words, says):
    Path("note.txt").write_text("a note, no network")
    Path("folder.pt2").mkdir()
    before = sorted(Path().rglob("*"))
    status, out, err = sapwood(*(folder if word == "HERE" else word for word in words))
    assert (status, out) == (2, "")
    assert re.match(f"error: {says}", err), err
    assert err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_a_network_file_is_no_checkpoint_and_nobody_is_told_to_delete_it(sapwood, folder):
    sapwood("export", folder, "--to", "small.safetensors")
    status, _, err = sapwood("shrink", "small.safetensors", "--to", "smaller.safetensors")
    assert status == 2
    assert "small.safetensors is no whole checkpoint of a run" in err
    assert "delete" not in err


def test_a_network_that_its_method_rebuilt_is_refused(tmp_path):
    trial = Trial.make("low_rank", "mlp_digits", 0, "L", ranks="5 5 5 5", epochs=1)
    run_into(tmp_path, trial)
    with pytest.raises(InputError, match="holds another network than task 'mlp_digits' begins with, so its method has"):
        trained(tmp_path / trial.id)


@pytest.mark.parametrize("verb", ["shrink", "export"])
def test_help_and_wrong_usage(sapwood, verb):
    status, out, _ = sapwood(verb, "--help")
    assert (status, f"sapwood {verb} [OPTIONS]" in out) == (0, True)
    status, _, err = sapwood(verb, "somewhere")
    assert (status, "--to" in err) == (2, True)
