"""Laws of methods that rebuild their network or solve for its weights: what is told is what was built."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sapwood import export
from sapwood.checks.law import demand
from sapwood.checks.life import Make, Method, Seen, Watched, lived, resumed
from sapwood.errors import InputError
from sapwood.masking import masks
from sapwood.scoring.modes import evaluating
from sapwood.shrinking.cutting.cut import positions, sliced
from sapwood.shrinking.cutting.units import spread
from sapwood.training import checkpoint
from sapwood.training.run import Run
from sapwood.training.size import Size

COSTS = ("macs", "parameters")  # options of these names are what share of them may be left
NEAR = 1e-9  # relative, in float64

Bodies = dict[str, Callable[[], None]]


def laws(trial: Make, method: Method, options: Mapping[str, Any]) -> Bodies:
    """The laws of methods that rebuild, by what they claim."""
    asked = {name: share for name, share in _shares(method, options).items() if share}
    return {
        "the network is rebuilt, and costs no more than was asked for": lambda: _met(trial, asked),
        "the network with its units at 0 answers, in evaluation, as the one that is built": lambda: _zeroed(trial),
        "the size that is told is that of the network that was built, also after resuming": lambda: _told(trial),
        "a file of the network loads to the same outputs": lambda: _archived(trial),
        "interrupted just before rebuilding and resumed: the same bits": lambda: _interrupted(trial),
        "interrupted just after rebuilding and resumed: the same bits": lambda: _interrupted_after(trial),
    }


def solving(trial: Make) -> Bodies:
    """The laws of methods that solve for weights; `trial` makes lives in which training moves nothing."""
    return {"weights become what was solved for, even where training moves none": lambda: _solved(trial)}


def _shares(method: Method, options: Mapping[str, Any]) -> dict[str, float]:
    usual = {name: each.default for name, each in inspect.signature(method).parameters.items()}
    found = {name: options.get(name, usual.get(name)) for name in COSTS}
    return {name: share for name, share in found.items() if isinstance(share, float)}


def _met(trial: Make, asked: Mapping[str, float]) -> None:
    run = lived(trial).run
    demand(run.rebuilt, "the network has the shapes it began with")
    now, was = (_counted(model, run) for model in (run.model, run.task.model()))
    for name, share in asked.items():
        left, whole = getattr(now, name), getattr(was, name)
        demand(left <= share * whole, f"{left} of {whole} {name} are left, and {share} of them was asked for")


def _zeroed(trial: Make) -> None:
    watched = lived(trial)
    demand(bool(watched.cuts), "run.shrink was not called, so no units can be put to 0")
    for seen in watched.cuts:
        masks.apply_(dict(seen.before.named_parameters()), spread(seen.before, seen.told.keep, seen.sites))
        one, other = (_answers(model, watched.run) for model in (seen.before, seen.after))
        apart = float((one - other).abs().max() / one.abs().max())
        demand(apart <= NEAR, f"outputs differ by {apart:.1e} of the largest")


def _told(trial: Make) -> None:
    watched = lived(trial)
    again = Watched(trial(saved=checkpoint.decode(watched.saves[-1])))
    for which, each in (("undisturbed", watched), ("resumed", again)):
        run = each.run
        was, now = (_counted(model, run) for model in (run.task.model(), run.model))
        demand(run.reference == was, f"{which}: it is said to have begun with {run.reference}, and began with {was}")
        demand(run.size() == now, f"{which}: it is said to be of {run.size()}, and is of {now}")
        for seen in each.cuts:
            built = _counted(seen.after, run)
            demand(seen.told.size == built, f"{which}: {seen.told.size} is told of a cut, and {built} was built")
        whole = max(was.weights, now.weights)
        gone = (whole - sum(int(p.count_nonzero()) for p in run.model.parameters() if p.dim() > 1)) / whole
        demand(run.sparsity() == gone, f"{which}: sparsity {run.sparsity()} is told, and {gone} of the weights is gone")


def _archived(trial: Make) -> None:
    run = lived(trial).run
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        try:
            export.save(run.model, path, of=run.task.model(), masks=run.masks)
            again = export.load(path, run.task.model)
        except InputError as error:
            raise AssertionError(f"no file of it can be written and loaded: {error}") from error
    demand(torch.equal(_answers(again, run), _answers(run.model, run)), "its outputs are others")


def _interrupted(trial: Make) -> None:
    remedy = "give run.shrink a function, or keep what is computed in run.memory"
    _goes_on(trial, "before", lambda seen: seen.state, remedy)


def _interrupted_after(trial: Make) -> None:
    remedy = "keep in run.memory what is computed between rebuilding and the next call of train"
    _goes_on(trial, "after", lambda seen: seen.left, remedy)


def _goes_on(trial: Make, when: str, state: Callable[[Seen], dict[str, Any]], remedy: str) -> None:
    """Demand that a trial resumed from the state `when` it rebuilt has the end of one that was never interrupted."""
    watched = lived(trial)
    demand(bool(watched.cuts), "run.shrink was not called, so that nothing is known of when it rebuilds")
    for number, seen in enumerate(watched.cuts, start=1):
        end, _ = resumed(trial, state(seen), f"just {when} rebuilding {number}")
        demand(end == watched.end, f"interrupted just {when} rebuilding {number}: another end; {remedy}")


def _solved(trial: Make) -> None:
    life = trial()
    initial = {name: value.clone() for name, value in life.run.model.named_parameters()}
    watched = Watched(life)
    for seen in watched.cuts:
        places = positions(seen.sites, seen.told.keep)
        initial = {name: sliced(value, places.get(name, {})) for name, value in initial.items()}
    now = dict(watched.run.model.named_parameters())
    moved = any(name not in initial or _moved(value, initial[name]) for name, value in now.items())
    demand(moved, "every weight that is not 0 is what it was in the beginning")


def _moved(now: Tensor, before: Tensor) -> bool:
    return now.shape != before.shape or bool(((now != before) & (now != 0)).any())


def _answers(model: nn.Module, run: Run) -> Tensor:
    with evaluating(model), torch.no_grad():
        answers: Tensor = model(run.task.data.test.take(slice(None)).inputs)
    return answers


def _counted(model: nn.Module, run: Run) -> Size:
    """Counted here by other means than a run does."""
    with FlopCounterMode(display=False) as counter, evaluating(model), torch.no_grad():
        model(run.task.example)
    parameters = list(model.parameters())
    weights = sum(p.numel() for p in parameters if p.dim() > 1)
    return Size(sum(p.numel() for p in parameters), weights, counter.get_total_flops() // 2)
