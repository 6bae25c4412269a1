"""The verb `new`: a small file that works, to be changed into a criterion, a gate or a method, and a test of it."""

import keyword
from pathlib import Path

from sapwood.errors import InputError, picked

CRITERION = '''"""{name}: the weight times the root mean square of its input. Say here what yours computes.

*Paper:* authors, year, title. *Differs:* what differs from the paper, or "nothing known".
"""

from collections.abc import Mapping

from torch import Tensor

from sapwood import Criterion
from sapwood.scoring.statistics import count, input_square


def score(w_OI: Tensor, seen: Mapping[str, Tensor]) -> Tensor:
    """Scores [O, I] of one layer's weight; the highest are kept. `seen` has the sums that `needs` names."""
    return w_OI.abs() * (seen[input_square] / seen[count]).sqrt()


{name} = Criterion(score, needs=(input_square, count))
'''

CRITERION_TEST = '''"""{name}: the laws of criteria, and one case worked by hand."""

import torch
from {name} import {name}

from sapwood.checks import broken, check_criterion
from sapwood.scoring.statistics import count, input_square


def test_it_keeps_the_laws():
    assert broken(check_criterion("{name}", {name})) == []


def test_a_case_worked_by_hand():
    seen = {{input_square: torch.tensor([8.0, 18.0]), count: torch.tensor(2.0)}}  # root mean squares 2 and 3
    assert torch.equal({name}.score(torch.tensor([[1.0, -1.0]]), seen), torch.tensor([[2.0, 3.0]]))
'''

GATE = '''"""{name}: a gate that is open by a sigmoid. Say here what yours does.

*Paper:* authors, year, title. *Differs:* what differs from the paper, or "nothing known".
"""

import torch
from torch import Tensor, nn

from sapwood import UnitGate


class {kind}(UnitGate):
    """How far each unit of a site is open, from 0 to 1; a unit below 0.1 is removed in the end."""

    def __init__(self, units: int) -> None:
        super().__init__(units)
        self.logit = nn.Parameter(torch.full((units,), 2.0))

    def open(self) -> Tensor:
        """[U] in [0, 1], with gradients: what costs read."""
        return torch.sigmoid(self.logit)

    def keep(self) -> Tensor:
        """bool [U]: which units stay when the gates are baked."""
        return torch.sigmoid(self.logit.detach()) > 0.1

    def draw(self, x: Tensor | None) -> Tensor:
        """What the units are multiplied with in one pass; in evaluation mode, removed units count as 0."""
        return self.open() if self.training else self.open() * self.keep()
'''

GATE_TEST = '''"""{name}: the laws of gates, and which units it removes."""

import torch
from {name} import {kind}

from sapwood.checks import broken, check_unit_gate


def test_it_keeps_the_laws():
    assert broken(check_unit_gate("{name}", {kind})) == []


def test_units_that_are_nearly_closed_are_removed():
    gate = {kind}(2).eval()
    gate.logit.data.copy_(torch.tensor([4.0, -4.0]))
    assert gate.keep().tolist() == [True, False]
    assert gate.draw(None)[1] == 0
'''

METHOD = '''"""{name}: train, remove the smallest weights once, train on. Say here what yours does.

*Paper:* authors, year, title. *Differs:* what differs from the paper, or "nothing known".
"""

from collections.abc import Iterator

from sapwood import CRITERIA, Moment, Run, declares, hidden, score, select, train


@declares("masks")
def {name}(run: Run, *, sparsity: float = 0.5, epochs: int = 2) -> Iterator[Moment]:
    """Prune to `sparsity` after `epochs`, then train as long again."""
    yield from train(run, epochs=epochs)
    run.prune(select.everywhere(score(run.model, CRITERIA["magnitude"], only=hidden(run.model)), sparsity))
    yield from train(run, epochs=epochs)
'''

METHOD_TEST = '''"""{name}: the laws of methods, interruptions among them, and how much it removes."""

from {name} import {name}

from sapwood import masks, start
from sapwood.checks import broken, check_method, tiny_task


def test_it_keeps_the_laws():
    assert broken(check_method("{name}", {name})) == []


def test_it_removes_as_much_as_it_is_told():
    run = start(tiny_task())
    for _ in {name}(run, sparsity=0.5, epochs=1):
        pass
    assert abs(masks.sparsity(run.masks) - 0.5) < 0.02  # of the hidden weights
'''

TEXTS = {"criterion": (CRITERION, CRITERION_TEST), "gate": (GATE, GATE_TEST), "method": (METHOD, METHOD_TEST)}


def begin(kind: str, name: str, folder: Path) -> None:
    """Write NAME.py and test_NAME.py into `folder`, and say what to type next. InputError: nothing is overwritten."""
    texts = picked("kind", kind, TEXTS)
    if not name.isidentifier() or keyword.iskeyword(name) or name.lower() != name:
        raise InputError(f"name is {name!r}; give a name as Python's modules have, such as my_{kind}")
    paths = (folder / f"{name}.py", folder / f"test_{name}.py")
    if there := [str(path) for path in paths if path.exists()]:
        raise InputError(f"{', '.join(there)} is there already; give another name, or another folder with --to")
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; make it first, or give another with --to")
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text.format(name=name, kind=name.title().replace("_", "")), "utf-8")
        print(f"wrote {path}")
    print(f"next: change it; sapwood check {paths[0]}; python -m pytest {paths[1]}")
