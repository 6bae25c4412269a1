"""`sapwood prune` and `sapwood look`: a network of the user's own, from a file of Python."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import save_file

import sapwood as package
from sapwood import export

FILE = '''
"""A network of somebody's own."""
import torch
from torch import nn

print("imported")

def make():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.LayerNorm(4), nn.Flatten(),
                         nn.Linear(512, 40), nn.ReLU(), nn.Linear(40, 2))

def with_example():
    return make(), torch.zeros(2, 3, 8, 8)

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.hidden, self.out = nn.Embedding(9, 16), nn.Linear(16, 64), nn.Linear(64, 2)
    def forward(self, ids, scale):
        return self.out(self.hidden(self.table(ids)).relu() * scale)

class Read(Words):
    def forward(self, batch):
        return batch["image"].sum() + self.out(batch["meta"])

def number():
    return 3

def raises():
    raise OSError(2, "first line\\nsecond line")

def ends():
    raise SystemExit(4)

def needs(width):
    return make()

def unfit():
    return make(), torch.zeros(2, 1, 8, 8)
'''
SHAPE = ("--example", "1,3,8,8")


@pytest.fixture
def mine(tmp_path, monkeypatch, capfd):
    """A folder with mine.py and its weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)
    make = runpy.run_path("mine.py")["make"]
    torch.manual_seed(1)
    model = make().eval()
    save_file(model.state_dict(), "w.safetensors")
    torch.save({"state_dict": model.state_dict()}, "w.pt")
    assert capfd.readouterr().out == "imported\n"
    return model


@pytest.mark.parametrize("weights", ["w.safetensors", "w.pt"])
def test_a_network_is_made_smaller_and_written(sapwood, mine, weights):
    words = ("--weights", weights, *SHAPE, "--macs", "0.5", "--to", "small.safetensors")
    status, out, err = sapwood("prune", "mine.py:make", *words)
    assert (status, err) == (0, "")
    x = torch.rand(1, 3, 8, 8)
    pruned = package.prune(mine, x, macs=0.5, timing=0)
    assert f"{pruned.after.macs:,}" in out
    assert re.search(r"milliseconds +\d+\.\d+ +\d+\.\d+ .*quartiles", out)
    assert out.splitlines()[-1] == "written: small.safetensors, for sapwood.export.load('small.safetensors', make)"
    again = export.load("small.safetensors", runpy.run_path("mine.py")["make"]).eval()
    assert torch.equal(again(x), pruned.model(x))


def test_a_function_may_give_a_network_that_was_made_smaller_before(sapwood, mine):
    small = ["prune", "mine.py:Words", "--example", "ids=2,5:int", "--example", "scale=1"]
    assert sapwood(*small, "--macs", "0.8", "--to", "first.safetensors")[0] == 0
    lines = ["from mine import Words", "from sapwood import export", "def make():"]
    Path("next.py").write_text("\n".join([*lines, "    return export.load('first.safetensors', Words)\n"]))
    small[1] = "next.py:make"
    assert sapwood(*small, "--macs", "0.6", "--to", "second.safetensors")[0] == 0
    make = runpy.run_path("next.py")["make"]
    assert export.load("second.safetensors", make).hidden.out_features < make().hidden.out_features < 64


def test_a_program_for_any_batch(sapwood, mine):
    words = ("--parameters", "0.6", "--multiple", "1", "--keep", "0", "--uniform", "--to", "small.pt2")
    status, out, err = sapwood("prune", "mine.py:with_example", "--weights", "w.pt", *words)
    assert (status, err) == (0, "")
    assert "written: small.pt2, for any batch; compared: " in out
    program = torch.export.load("small.pt2").module()
    assert program(torch.rand(5, 3, 8, 8)).shape == (5, 2)
    assert program.get_parameter("0.weight").shape[0] == 16


def test_by_a_criterion_of_units(sapwood, mine):
    status, out, err = sapwood("prune", "mine.py:make", *SHAPE, "--macs", "0.6", "--by", "group_l2")
    assert (status, err) == (0, "")
    assert "MACs" in out


def test_inputs_by_name_and_whole_numbers(sapwood, mine):
    words = ("--example", "ids=2,5:int", "--example", "scale=2,5,1", "--bytes", "0.7")
    status, out, err = sapwood("prune", "mine.py:Words", *words)
    assert (status, err) == (0, "")
    assert "no --weights: the numbers are those that Words gives" in out
    assert "hidden" in sapwood("look", "mine.py:Words", "--example", "2,5:int", "--example", "2,5,1")[1]


def test_what_can_go_and_what_stays(sapwood, mine):
    status, out, err = sapwood("look", "mine.py:make", *SHAPE, "--to", "look.html")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert any(re.match(r"0 +16 .*2\.weight", line) for line in lines)
    assert any(line.startswith("stays: 2 units: it is the network's answer [7]") for line in lines)
    page = Path("look.html").read_text("utf-8")
    for words in ("5.weight", "it is the network&#x27;s answer", "<svg", "prefers-color-scheme: dark"):
        assert words in page
    assert "http" not in page
    assert "<script" not in page
    picture = ElementTree.fromstring(re.search("<div role=.group.*?</svg></div></div>", page, re.S)[0])
    assert [each.text for each in picture.iter("span")] == ["0.weight", "2.weight", "5.weight", "7.weight"]
    bars = {each.get("fill") for each in picture.iter("rect")}
    assert len(bars) == 1 + len(package.sites(mine, torch.rand(1, 3, 8, 8)))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prune", "mine.py:make", *SHAPE], "no target was given"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "1"], "macs is 1.0; give the share"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "0.5", "--ms", "2"], "macs=0.5 and ms=2.0 are 2 targets"),
        (["prune", "mine.py", *SHAPE, "--macs", "0.5"], "'mine.py' is not FILE.py:NAME"),
        (["prune", "yours.py:make", *SHAPE, "--macs", "0.5"], "there is no Python file 'yours.py'; check the path"),
        (["look", "yours.py:make", *SHAPE], "there is no Python file 'yours.py'"),
        (["prune", "mine.py:make", "--weights", "no.pt", *SHAPE, "--macs", "0.5"], "there is no file of weights"),
        (["prune", "mine.py:make", "--weights", "mine.py", *SHAPE, "--macs", "0.5"], "--weights mine.py ends in '.py'"),
        (["prune", "mine.py:make", "--example", "3xa", "--macs", "0.5"], "--example '3xa' is no shape; write"),
        (["prune", "mine.py:Read", "--example", "image=1,3,8,8", "meta=1,4", "--macs", "0.5"],
         "sapwood prune takes meta=1,4 no more; write --example once for each input: --example meta=1,4\n"),
        (["look", "mine.py:Words", "--example", "1,3:int", "1,3"], "sapwood look takes 1,3 no more; write"),
        (["look", "mine.py:make", *SHAPE, "again"], "sapwood look: got unexpected extra argument"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "0.5", "--by", "apoz"], "--by apoz looks at data"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "0.5", "--by", "taylor_unit"], "--by taylor_unit looks at data"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "0.5", "--by", "magnitud"], "unknown criterion 'magnitud'"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "0.5", "--to", "small.zip"], "--to small.zip ends in '.zip'"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "0.5", "--to", "no/small.pt2"], "--to no/small.pt2: there is no"),
        (["look", "mine.py:make", *SHAPE, "--to", "look.txt"], "--to look.txt ends in '.txt'"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "half"], "--macs is 'half'; give a number, for example 0.5"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "nan"], "macs is nan; give the share"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "-2"], "macs is -2.0; give the share"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "0.5", "--multiple", "0"], "--multiple is '0'; give a whole"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "0.5", "--threads", "99999"], "--threads is '99999'; give"),
        (["prune", "yours.py", *SHAPE, "--macs", "0.5"], "there is no Python file 'yours.py'; check the path"),
        (["prune", "w.pt:make", *SHAPE, "--macs", "0.5"], "'w.pt' is not a Python file; give one that ends in .py"),
        (["prune", ".:make", *SHAPE, "--macs", "0.5"], "'.' is a folder; give a Python file"),
        (["prune", "mine.py:make", "--weights", ".", *SHAPE, "--macs", "0.5"], "'.' is a folder; give a file of weig"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_is_typed_wrongly_is_said_before_the_file_is_imported(sapwood, mine, words, says):
    status, out, err = sapwood(*words)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prune", "mine.py:mke", *SHAPE, "--macs", "0.5"], "unknown function in mine.py: 'mke'; did you mean 'make'?"),
        (["prune", "mine.py:number", *SHAPE, "--macs", "0.5"], "mine.py:number gives a int; it must return a torch.nn"),
        (["prune", "mine.py:make", "--macs", "0.5"], "no example of the input; give --example 1,3,224,224"),
        (["prune", "mine.py:raises", *SHAPE, "--macs", "0.5"], "mine.py:raises fails: FileNotFoundError: [Errno 2] fi"),
        (["prune", "mine.py:ends", *SHAPE, "--macs", "0.5"], "mine.py:ends fails: SystemExit: 4; mend it"),
        (["look", "mine.py:needs", *SHAPE], "mine.py:needs fails: TypeError: needs() missing 1 required"),
        (["look", "mine.py:unfit"], "Sequential does not take the example that comes with it: RuntimeError: "),
        (["look", "mine.py:make", "--example", "1,4,8,8"], "Sequential does not take --example 1,4,8,8: RuntimeError"),
        (["look", "mine.py:Read", "--example", "1,3,8,8"],
         "Read does not take --example 1,3,8,8: IndexError: too many indices for tensor of dimension 4; forward takes "
         "(batch); for a dict, or arguments by name, write --example NAME=SHAPE once for each\n"),
        (["look", "mine.py:Read", "--example", "image=1,3,8,8"],
         "Read does not take --example image=1,3,8,8: KeyError: 'meta'; forward takes (batch); the example has the "
         "keys 'image'\n"),
        (["look", "mine.py:make", "--weights", "kept.pt", *SHAPE],
         "kept.pt holds no state dict but the entries 'm', 'o', of which 'm' looks like one: "
         "torch.save(torch.load(...)['m'], ...); save model.state_dict()\n"),
        (["look", "mine.py:make"], "no example of the input"),
        (["prune", "mine.py:Words", "--weights", "w.pt", "--example", "1,3:int", "--macs", "0.5"],
         "the weights in w.pt are not this network's: Missing key(s)"),
        (["prune", "mine.py:make", "--weights", "bad.safetensors", *SHAPE, "--macs", "0.5"],
         "bad.safetensors cannot be read as weights"),
        (["prune", "mine.py:make", "--weights", "bad.pt", *SHAPE, "--macs", "0.5"], "bad.pt cannot be read as weights"),
        (["prune", "mine.py:make", *SHAPE, "--macs", "0.5", "--keep", "9"], "unknown name in keep '9'"),
        (["prune", "mine.py:Words", "--example", "ids=1,3:int", "--example", "3", "--macs", "0.5"],
         "--example gives some inputs with a name and some without"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_only_the_file_can_say_is_one_line(sapwood, mine, words, says):
    torch.save({"m": {"0.bias": torch.zeros(2)}, "o": {"state": {}}}, "kept.pt")
    for name in ("bad.safetensors", "bad.pt"):
        Path(name).write_bytes(b"no weights")
    status, _, err = sapwood(*words)
    assert status == 2
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1


def test_the_version_and_python_m(sapwood):
    assert sapwood("--version") == (0, f"sapwood {package.__version__}\n", "")
    done = subprocess.run([sys.executable, "-m", "sapwood", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"sapwood {package.__version__}\n"


@pytest.mark.parametrize(("typed", "meant"), [("prnue", "prune"), ("loook", "look"), ("rn", "run")])
def test_a_mistyped_verb_gets_a_suggestion(sapwood, typed, meant):
    status, _, err = sapwood(typed)
    assert status == 2
    assert err == f"error: unknown command '{typed}'; did you mean '{meant}'?\n"
