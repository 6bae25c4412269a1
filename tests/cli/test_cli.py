"""The command line, used as people use it: help, lists, runs, errors in one line, and verbs that stay as they are."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from enum import Enum
from functools import partial
from pathlib import Path
from typing import get_args, get_type_hints
from unittest import mock

import pytest
from typer.main import get_command

from sapwood.cli import describing, pools, verbs
from sapwood.cli.listing import KINDS
from sapwood.criteria import CRITERIA, UNIT_CRITERIA
from sapwood.data import DATASETS
from sapwood.methods import METHODS
from sapwood.scoring.statistics import STATISTICS
from sapwood.selection.allocate import ALLOCATIONS
from sapwood.selection.schedule import SCHEDULES, SHARES
from sapwood.tasks import TASKS
from sapwood.training.stopping import RULES
from sapwood.trials.trial import option_types

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / "golden" / "cli.txt"
COMMAND = [sys.executable, "-c", "from sapwood.cli import main; main()"]

STUDY = '''
"""Tiny: two rows with two seeds."""
from sapwood.study.study import Study
from sapwood.trials.trial import Trial

EPOCHS = {"smoke": 1, "small": 2, "paper": 3}

def trials(scale):
    length = {"epochs": EPOCHS[scale], "stop": "epochs"}
    for seed in (0, 1):
        yield Trial.make("dense", "mlp_digits", seed, "S", **length)
        yield Trial.make("global_activation", "mlp_digits", seed, "G1", sparsity=0.5, plateau=1, **length)

STUDY = Study("tiny", "A tiny study", "nobody's", trials, control="S")
'''

PAIR = '''
"""Pair: a trial and one that goes on from it."""
from sapwood.study.study import Study
from sapwood.trials.trial import Trial

def trials(scale):
    first = Trial.make("dense", "mlp_digits", 0, "first", epochs=1, stop="epochs")
    yield Trial.make("dense", "mlp_digits", 0, "second", epochs=1, stop="epochs").after(start=first)
    yield Trial.make("dense", "mlp_digits", 1, "other", epochs=1, stop="epochs")
    yield first

STUDY = Study("pair", "A pair of trials", "nobody's", trials)
'''


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """A folder with studies, to be in."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "tiny.py").write_text(STUDY)
    (tmp_path / "studies" / "pair.py").write_text(PAIR)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def surface() -> str:
    """Every verb with its arguments and options: names, values, defaults."""
    callbacks = {info.name or info.callback.__name__: info.callback for info in verbs.app.registered_commands}
    lines = []
    for verb, command in sorted(get_command(verbs.app).commands.items()):
        types = get_type_hints(callbacks[verb])
        for each in command.params:
            name, value = "/".join((*each.opts, *each.secondary_opts)), values(types[each.name], each.metavar)
            many = " ..." if each.nargs == -1 or each.multiple else ""
            usual = "" if each.default in (None, False) else f" = {getattr(each.default, 'value', each.default)}"
            lines.append(f"{verb} {name} {value}{many}{usual}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def values(annotation, metavar) -> str:
    """What may follow an option's name."""
    kinds = [kind for kind in (*get_args(annotation), annotation) if isinstance(kind, type)]
    choices = [each.value for kind in kinds if issubclass(kind, Enum) for each in kind]
    return "|".join(choices) or metavar or ("" if bool in kinds else kinds[0].__name__)


def test_verbs_and_options_are_frozen():
    assert surface() == GOLDEN.read_text("utf-8"), (
        "the command line changed, which people and scripts rely on. If it is meant: say why in a new record "
        "docs/decisions/NNNN-*.md (context, choice, what lost), then bring tests/golden/cli.txt up to date"
    )


def test_help_needs_no_torch_and_names_every_verb():
    code = "import atexit, sys\natexit.register(lambda: print('torch' in sys.modules))\n" + COMMAND[-1]
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert done.stderr == ""
    for verb in ("run", "report", "list", "check"):
        assert f"\n  {verb} " in done.stdout
    assert done.stdout.startswith("Usage: sapwood ")


@pytest.mark.parametrize("verb", ["run", "report", "list", "check"])
def test_every_verb_has_help(sapwood, verb):
    status, out, _ = sapwood(verb, "--help")
    assert status == 0
    assert f"sapwood {verb} [OPTIONS]" in out


def test_list_names_everything(sapwood, at_home):
    status, out, err = sapwood("list")
    assert (status, err) == (0, "")
    listed = {line.split()[0] for line in out.splitlines() if line.startswith("  ")}
    tables = (CRITERIA, UNIT_CRITERIA, METHODS, TASKS, DATASETS, STATISTICS, SCHEDULES, SHARES, RULES, ALLOCATIONS)
    files = [*(ROOT / "studies").glob("[!_]*.py"), *(ROOT / "studies").glob("[!_]*/__init__.py")]
    ours = [path for path in files if "\nSTUDY" in path.read_text("utf-8")]
    studies = {path.parent.name if path.name == "__init__.py" else path.stem for path in ours}
    assert listed == {name for table in tables for name in table} | studies | {"tiny", "pair"}
    assert all(len(line.split()) > 3 for line in out.splitlines() if line.startswith("  "))


def test_one_list(sapwood):
    status, out, _ = sapwood("list", "criteria")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(CRITERIA)
    assert "the absolute value of the weight" in out


@pytest.mark.parametrize("name", METHODS)
def test_one_method_says_its_options_equation_paper_and_differences(name):
    said = describing.method(name)
    assert said.startswith(f"{name}(\n    run,\n    *,\n")
    assert all(f"\n    {option}: " in said for option in option_types(name))
    assert "Paper" in said or "arXiv" in said
    assert "iffers" in said


@pytest.mark.parametrize("kind", KINDS)
def test_of_every_list_one_thing_can_be_asked_about(kind, at_home, capsys):
    for name in KINDS[kind]():
        describing.print_one(kind, name)
        assert len(capsys.readouterr().out.split()) > 3


def test_what_is_listed_by_name_is_all_there_is_about_it(sapwood):
    status, out, err = sapwood("list", "methods", "gradual_magnitude")
    assert (status, err) == (0, "")
    assert "    power: float = 3.0,\n" in out
    assert "(1 - (t - begin) / (end - begin))^power" in out
    assert "arXiv:1710.01878" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list", "criterea"], "unknown list 'criterea'; did you mean 'criteria'?"),
        (["list", "method", "dense"], "unknown list 'method'; did you mean 'methods'?"),
        (["list", "methods", "dens"], "unknown name in list methods: 'dens'; did you mean 'dense'?"),
        (["run", "tinny"], "unknown study 'tinny'; did you mean 'tiny'?"),
        (["report", "tinny"], "unknown study 'tinny'; did you mean 'tiny'?"),
        (["run", "nowhere.py"], "there is no study file 'nowhere.py'"),
        (["run", "tiny", "--only", "arm=G9"], "unknown value of 'arm' in --only: 'G9'; known: G1, S"),
        (["run", "tiny", "--only", "arms=G1"], "unknown key in --only 'arms'; did you mean 'arm'?"),
        (["run", "tiny", "--set", "sparsty=0.5"], "unknown option in --set 'sparsty'; did you mean 'sparsity'?"),
        (["run", "tiny", "--set", "epochs=few"], "--set epochs='few': give a whole number, such as 3"),
        (["run", "gradual_magnitude", "--task", "x"], "'gradual_magnitude' is a method, not a study; see sapwood list"),
        (["run", "tiny", "--task", "x"], "unknown option of sapwood run: '--task'"),
        (["run", "tiny", "--pool", "serial", "--workers", "2"], "--pool serial runs one trial at a time"),
        (["run", "tiny", "--gpus", "0.5"], "--gpus 0.5 says what a trial takes of a Ray cluster; add --pool ray, or"),
        (["run", "tiny", "--pool", "ray", "--cpus", "-1"], "cpus is -1.0; give a finite number of 0 or more"),
        (
            ["run", "tiny", "--device", "gpu"],
            "--device 'gpu' cannot be used here: torch has no such device; did you mean '",
        ),
        (
            ["run", "tiny", "--set", "sparsity=1.5"],
            "--set sparsity=1.5: option 'sparsity' of method 'global_activation' is 1.5; give the fraction",
        ),
        (["run", "tiny", "--set", "plateau=-1"], "--set plateau=-1: "),
        (["report", "tiny"], "no trial of study 'tiny' is finished"),
        (["report", "tiny", "--keep", "kept"], "no trial of study 'tiny' is finished"),
        (["report", "tiny", "--from", "kept"], f"cannot read {Path('kept/tiny/trials.csv')}: "),
        (["run", "tiny", "--from", "kept"], f"cannot read {Path('kept/tiny/trials.csv')}: "),
        (["check", "nowhere.py"], "there is no file nowhere.py; check the path"),
        (["check", "nowhere.txt"], "nowhere.txt is not a Python file"),
    ],
)
def test_bad_input_ends_in_one_line_and_status_2(sapwood, at_home, words, says):
    status, out, err = sapwood(*words)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1
    assert not (at_home / "results").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rum"], "unknown command 'rum'; did you mean 'run'?"),
        (["run"], "sapwood run needs STUDY: A study's name (see: sapwood list), or a file; see sapwood run --help"),
        (["run", "tiny", "--scale", "medium"], "--scale is 'medium'; give smoke, small or paper"),
        (["run", "tiny", "--scale", "smal"], "--scale is 'smal'; give smoke, small or paper; did you mean 'small'?"),
        (["run", "tiny", "--pool", "proceses"],
         "--pool is 'proceses'; give serial, processes, together or ray; did you mean 'processes'?"),
        (["run", "tiny", "--workers", "0"], "--workers is '0'; give a whole number, 1 or more"),
        (["run", "tiny", "--workers", "2.5"], "--workers is '2.5'; give a whole number, 1 or more"),
        (["run", "tiny", "--scal", "smoke"], "unknown option of sapwood run: '--scal'; did you mean '--scale'?"),
        (["run", "tiny", "more"], "sapwood run: got unexpected extra argument"),
        (["run", "tiny", "--only"], "--only needs a value after it; see sapwood "),
        (["export", "trial"], "sapwood export needs --to: What to write; its ending says how; see sapwood export"),
        (["export", "trial", "--to", "x.onnx", "--batch", "-2"], "--batch is '-2'; give a whole number, 1 or more"),
        (["--verson"], "unknown option of sapwood: '--verson'; did you mean '--version'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_usage_is_one_line_and_status_2(sapwood, at_home, words, says):
    status, out, err = sapwood(*words)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1
    assert not (at_home / "results").exists()


def test_a_terminal_of_few_letters_gets_question_marks():
    ended = subprocess.run([*COMMAND, "list", "methods", "svd_training"], capture_output=True, text=True, check=False,
                           env={**os.environ, "PYTHONIOENCODING": "ascii"})  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "?" in ended.stdout


def test_too_little_memory_is_no_fault_of_ours(sapwood, monkeypatch):
    def greedy(words, **_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes")

    monkeypatch.setattr(verbs, "app", mock.Mock(side_effect=greedy, registered_commands=verbs.app.registered_commands))
    status, _, said = sapwood("list")
    assert status == 2
    assert said == "error: there is not enough memory for this; give a smaller example, or free some\n"


def test_without_words_there_is_help_and_status_2(sapwood):
    status, out, err = sapwood()
    assert status == 2
    assert "Usage: sapwood" in out + err


def broken_inside(*_):
    raise RuntimeError("first line\nsecond line")


def test_a_fault_is_one_line_and_status_1_and_the_switch_says_where(sapwood, monkeypatch):
    monkeypatch.setattr("sapwood.cli.listing.print_lists", broken_inside)
    status, out, err = sapwood("list")
    assert (status, out) == (1, "")
    assert err == "error: RuntimeError: first line (a fault of sapwood's; with --traceback it says where)\n"
    for words in (("--traceback", "list"), ("list", "--traceback")):
        status, _, err = sapwood(*words)
        assert status == 1
        assert "in broken_inside" in err
    status, _, err = sapwood("run", "nowhere.py", "--traceback")
    assert status == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: there is no study file 'nowhere.py'")


def test_ctrl_c_before_anything_runs_is_status_130(sapwood, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sapwood.cli.listing.print_lists", stopped)
    status, out, err = sapwood("list")
    assert (status, out) == (130, "")
    assert "Traceback" not in err


def test_run_makes_results_a_table_and_a_report_once(sapwood, at_home):
    words = ("run", "tiny", "--scale", "smoke", "--pool", "serial", "--results", "out")
    status, out, err = sapwood(*words)
    assert status == 0, err
    assert out.splitlines()[-1] == f"report: {Path('out/tiny/report.html')}"
    assert "G1" in out
    assert "\n- Test accuracy minus that of S, points: " in out  # as on the report's first screen
    assert "[4/4]" in err
    made = {path: path.stat().st_mtime_ns for path in (at_home / "out" / "tiny").glob("*/done")}
    assert len(made) == 4
    status, out, err = sapwood(*words)
    assert status == 0
    assert err.startswith("4 trials were finished before and are not run again")
    assert {path: path.stat().st_mtime_ns for path in (at_home / "out" / "tiny").glob("*/done")} == made
    status, out, _ = sapwood("report", "tiny", "--results", "out")
    assert (status, out) == (0, f"report: {Path('out/tiny/report.html')}\n")


def test_only_one_that_goes_on_from_another_runs_that_too(sapwood, at_home):
    words = ("--results", "out", "--pool", "serial", "--only")
    status, _, err = sapwood("run", "pair", *words, "arm=second")
    assert status == 0, err
    assert over_by(at_home / "out" / "pair") == {"first": "done", "second": "done"}
    assert [line.partition(" done")[0] for line in err.splitlines() if line.startswith("[")] == [
        "[1/2] first seed 0",
        "[2/2] second seed 0",
    ]
    status, _, err = sapwood("run", "pair", *words, "arm=second")
    assert status == 0
    assert err.startswith("1 trials were finished before and are not run again")


def test_results_are_kept_and_gone_on_from_when_asked(sapwood, at_home):
    run = ("run", "tiny", "--scale", "smoke", "--pool", "serial")
    assert sapwood(*run, "--results", "out")[0] == 0
    kept, page = Path("studies/results"), Path("out/tiny/report.html")
    status, out, _ = sapwood("report", "tiny", "--results", "out", "--keep", kept)
    assert (status, out) == (0, f"report: {page}\nkept: 4 trials in {kept / 'tiny'}\n")
    assert {path.name for path in (at_home / kept / "tiny").iterdir()} == {
        "trials.csv", "rows.csv", "speed.txt", "digests.txt",
    }  # fmt: skip
    status, _, err = sapwood("report", "tiny", "--results", "new")
    assert status == 2, "nothing is restored unless it is asked for"
    status, out, err = sapwood("report", "tiny", "--results", "new", "--from", kept)
    assert (status, out) == (0, f"report: {Path('new/tiny/report.html')}\n")
    assert err.splitlines() == [
        f"restoring what is kept in {kept / 'tiny'} ...",
        f"4 trials restored from {kept / 'tiny'}",
        "reading 4 trials, drawing 0 figures ...",
    ]
    assert _speed(at_home / "new") == _speed(at_home / "out"), "it was measured where the networks are, and kept"
    status, out, err = sapwood(*run, "--results", "newer", "--from", kept)
    assert status == 0
    assert err.startswith(
        f"restoring what is kept in {kept / 'tiny'} ...\n4 trials restored from {kept / 'tiny'}\n"
        "4 trials were finished before and are not run again"
    )
    assert over_by(at_home / "newer" / "tiny") == {"S": "kept", "G1": "kept"}


def _speed(results):
    """What a report says about time."""
    page = (results / "tiny" / "report.html").read_text()
    return re.search(r"Measured: .* times as long .*", page)[0]


def test_kept_rows_that_were_edited_are_refused_and_those_of_earlier_versions_told(sapwood, at_home):
    assert sapwood("run", "tiny", "--scale", "smoke", "--pool", "serial", "--results", "out")[0] == 0
    assert sapwood("report", "tiny", "--results", "out", "--keep", "kept")[0] == 0
    rows = at_home / "kept" / "tiny" / "rows.csv"
    rows.write_text(re.sub(r"(,test,accuracy,0\.\d*)(\d)\n", r"\g<1>\g<2>1\n", rows.read_text(), count=1))
    status, _, err = sapwood("report", "tiny", "--results", "new", "--from", "kept")
    assert status == 2
    assert f"\nerror: {Path('kept/tiny/rows.csv')} is not what was kept: digests.txt" in err
    assert not (at_home / "new").exists()
    (at_home / "kept" / "tiny" / "digests.txt").unlink()
    status, _, err = sapwood("report", "tiny", "--results", "new", "--from", "kept")
    assert status == 0
    assert f"{Path('kept/tiny')} has no digests.txt, so nothing says whether a number in it was edited" in err


def test_a_kept_trial_is_run_again_for_one_that_goes_on_from_it(sapwood, at_home):
    assert sapwood("run", "pair", "--pool", "serial", "--only", "arm=first", "--only", "arm=other")[0] == 0
    assert sapwood("report", "pair", "--keep", "kept")[0] == 0
    words = ("run", "pair", "--pool", "serial", "--results", "new", "--from", "kept")
    status, _, err = sapwood(*words)
    assert status == 0, err
    assert f"\n2 trials restored from {Path('kept/pair')}\n1 trials were finished before" in err
    assert over_by(at_home / "new" / "pair") == {"first": "done", "second": "done", "other": "kept"}


def over_by(results):
    """Row -> the file that says that its trial is over."""
    found = {json.loads(path.read_text())["row"]: path.parent for path in results.glob("*/trial.json")}
    return {row: " ".join(n for n in ("done", "kept") if (folder / n).exists()) for row, folder in found.items()}


def test_a_run_says_what_its_trials_took(sapwood, at_home):
    words = ("run", "tiny", "--scale", "smoke", "--pool", "serial", "--only", "seed=0")
    says = re.compile(r"^2 trials, (\d+) s of computing; this command took (\d+) s with 1 worker$", re.MULTILINE)
    assert says.search(sapwood(*words)[1])
    for path in (at_home / "results" / "tiny").glob("*/done"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 5430.0}))
    assert "\n2 trials, 3 h 1 min of computing; this command took " in sapwood(*words)[1]


def test_only_and_set_reach_the_trials(sapwood, at_home):
    status, _, err = sapwood("run", "tiny", "--pool", "serial", "--only", "arm=G1", "--only", "seed=1",
                             "--set", "sparsity=0.25", "--set", "epochs=1")  # fmt: skip
    assert status == 0, err
    [made] = (at_home / "results" / "tiny").glob("*/trial.json")
    trial = json.loads(made.read_text())
    assert (trial["row"], trial["seed"]) == ("G1", 1)
    assert (trial["options"]["sparsity"], trial["options"]["epochs"]) == (0.25, 1)


def test_a_failed_trial_is_status_1_and_the_others_are_reported(sapwood, at_home):
    (at_home / "broken.py").write_text(
        STUDY.replace("sparsity=0.5", "sparsity=0.5, cycles=0").replace("tiny", "broken")
    )
    status, out, err = sapwood("run", "broken.py", "--pool", "serial", "--scale", "smoke", "--only", "seed=0")
    assert status == 1
    assert "G1 seed 0 FAILED" in err
    assert "G1 seed 0 failed: see results" in err
    assert "report: " in out


@pytest.mark.parametrize(("words", "cores", "workers"), [
    ([], 8, 4), ([], 2, 2), (["--only", "arm=S"], 8, 2), (["--workers", "3"], 2, 3), (["--workers", "9"], 2, 4),
    ([], 1, "serial"), (["--pool", "serial"], 8, "serial"), (["--pool", "processes", "--workers", "1"], 8, "serial"),
])  # fmt: skip
def test_a_worker_for_each_core_and_none_without_a_trial(sapwood, at_home, monkeypatch, words, cores, workers):
    chosen = []

    def pool(job, items, tell):
        for item in items:
            yield item, chosen.append(item)

    monkeypatch.setattr(pools, "serial", lambda *given, ready: (chosen.append("serial"), pool(*given))[1])
    monkeypatch.setattr(pools, "processes", lambda n, ready: (chosen.append(n), pool)[1])
    monkeypatch.setattr(pools.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    sapwood("run", "tiny", *words)
    assert chosen[0] == workers


def test_a_cluster_without_ray_is_refused_before_anything_is_said(sapwood, at_home, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    status, out, err = sapwood("run", "tiny", "--pool", "ray")
    assert (status, out) == (2, "")
    assert err == 'error: --pool ray needs ray; run: pip install "sapwood[ray]"\n'


def test_ctrl_c_says_how_to_go_on_and_is_status_130(sapwood, at_home, monkeypatch):
    def stopped(job, items, tell, ready):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(pools, "serial", stopped)
    status, out, err = sapwood("run", "tiny", "--pool", "serial", "--only", "arm=G1")
    assert (status, out) == (130, "")
    assert err.endswith("To go on: sapwood run tiny --pool serial --only arm=G1\n")


@pytest.mark.slow
def test_a_real_ctrl_c_can_be_gone_on_from(sapwood, at_home):
    words = ["run", "tiny", "--only", "seed=0", "--set", "epochs=5"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell makes its background jobs ignore it
    stopped = subprocess.Popen(
        [*COMMAND, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=heard
    )
    assert stopped.stderr is not None
    assert stopped.stderr.readline().startswith("2 trials (2 arms, 1 seed) to run, ")
    assert "starting" in stopped.stderr.readline()
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate()
    assert stopped.returncode == 130
    assert "To go on: sapwood run tiny --only seed=0 --set epochs=5\n" in err
    status, _, err = sapwood(*words, "--pool", "serial")
    assert status == 0, err
    assert len(list((at_home / "results" / "tiny").glob("*/done"))) == 2


def test_check_tries_the_laws_on_what_a_file_defines(sapwood, tmp_path):
    (tmp_path / "neighbour.py").write_text("FACTOR = 2\n")
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom neighbour import FACTOR\nfrom sapwood.criteria import apoz\n"
        "from sapwood.scoring.criterion import Criterion\nfrom sapwood.scoring.evidence import Statistic\n"
        "from sapwood.training.loop import train\n"
        "good = Criterion(lambda w, seen: w.abs() * FACTOR)\n"
        "total = Statistic('total', lambda s: s.y_NO.double().sum(0))\n"
        "from torch import nn\nfrom sapwood.gates import UnitGate\n"
        "class Soft(UnitGate):\n"
        "    def __init__(self, units):\n        super().__init__(units)\n"
        "        self.logit = nn.Parameter(torch.full((units,), 2.0))\n"
        "    def open(self):\n        return torch.sigmoid(self.logit)\n"
        "    def keep(self):\n        return self.open().detach() > 0.1\n"
        "    def draw(self, x):\n        return self.open() * self.keep()\n"
        "def once(run, *, epochs=1):\n    yield from train(run, epochs=epochs)\n"
        "def not_a_method(run, needed):\n    raise AssertionError\n"
    )
    status, out, err = sapwood("check", tmp_path / "mine.py")
    assert (status, err) == (0, "")
    assert {line.split(":")[0] for line in out.splitlines()[:-1]} == {
        "pass  criterion good", "pass  statistic total", "pass  unit gate Soft", "pass  method once"}  # fmt: skip
    assert out.splitlines()[-1].endswith("laws tried, 0 failed")


def test_check_says_which_law_is_broken_and_why(sapwood, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom sapwood.scoring.criterion import Criterion\n"
        "luck = Criterion(lambda w, seen: torch.rand_like(w))\n"
    )
    status, out, _ = sapwood("check", tmp_path / "mine.py")
    assert status == 1
    assert "FAIL  criterion luck: the same bits twice\n      " in out
    assert "pass  criterion luck: scores are finite" in out


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("from sapwood.criteria import apoz", "defines no Criterion, no Statistic and no method"),
    ],
)
def test_a_file_that_cannot_be_checked_is_status_2(sapwood, tmp_path, code, says):
    (tmp_path / "mine.py").write_text(code)
    status, out, err = sapwood("check", tmp_path / "mine.py")
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {tmp_path / 'mine.py'} {says}")
    assert err.count("\n") == 1
    assert str(tmp_path) not in sys.path


def test_without_its_libraries_the_command_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None; from sapwood.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == 'error: the command line needs typer; run: pip install "sapwood[study]"\n'


def test_what_only_a_report_needs_is_asked_for_before_the_first_trial(tmp_path):
    """In children of one process that has imported what all of them need."""
    needed = ("matplotlib", "jinja2", "scipy")
    code = (
        "import os, sys, torch\n"
        f"for missing in {needed}:\n"
        "    if os.fork() == 0:\n"
        "        sys.modules[missing] = None; from sapwood.cli import main; main()\n"
        "    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)"
    )
    words = ("run", "quickstart", "--results", str(tmp_path / "results"))
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2"] * len(needed)
    says = 'error: a report needs {}; run: pip install "sapwood[study]"\n'
    assert done.stderr == "".join(map(says.format, needed))
    assert not list(tmp_path.iterdir())


def test_listing_imports_nothing_that_only_a_report_needs():
    """Each of these takes from a quarter of `import torch` to half of it."""
    code = (
        "import sys; sys.argv[1:] = ['list']; from sapwood.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert "sapwood_study_lenet300.figures" in modules
    assert not {"matplotlib.figure", "matplotlib.ticker", "scipy.stats", "scipy.optimize", "sklearn"} & set(modules)


@pytest.mark.slow
def test_help_takes_less_than_half_of_importing_torch():
    """Of the time worked, not the time waited: a busy machine changes little in it."""
    seconds = runpy.run_path(str(ROOT / "benchmarks" / "help.py"))["medians"](2)
    assert seconds["sapwood --help"] < seconds["import torch"] / 2
