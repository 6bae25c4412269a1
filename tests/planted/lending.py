"""Bugs planted in the lending of weights to a proof."""

from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from unittest.mock import patch

import torch
import torch.nn.functional as F
from planted.mutant import bugs, instead
from planted.shrinking import running
from shrinking.zoo import Written, flat, settled
from torch import nn

from sapwood import shrink, sites
from sapwood.checks.law import Laws, demand
from sapwood.shrinking import depth, fold, shrunk
from sapwood.shrinking.cutting import lent
from sapwood.shrinking.tracing.anatomy import Anatomy

ONE_TRY = "a proof on lent weights finds the difference that widened ones have"
WRITTEN = "code that writes to a weight gets all weights"
SHORTER = "a proof without branches lends weights, and finds what widened ones have"
FOLDED = "constants that go into biases are those of float64, without widening the model"
ROOM = "no more numbers are held than may be"
NUMBERS = count(1000)
CHANGED, MADE = lent.Loan._changed, lent.Loan.made


def plain(of, x):
    return of["b"](F.relu(of["a"](x)))


def writing(of, x):
    of["a"].weight.data[0].mul_(0.5)
    return plain(of, x)


@contextmanager
def all_lent(tried):
    original = shrunk._Proof._seen

    def seen(proof, examples, zeroed, awake, loans=None):
        tried.append(loans is not None)
        return original(proof, examples, zeroed, awake, loans)

    with ExitStack() as stack:
        for name, value in {"ENOUGH": 0, "LEAST": 0, "BLOCK": 16}.items():
            stack.enter_context(patch.object(lent, name, value))
        stack.enter_context(patch.object(shrunk._Proof, "_seen", seen))
        yield


def tries(how):
    """For each try of a proof whether it lent weights."""
    model = settled(Written(plain, a=nn.Linear(8, 12), b=nn.Linear(12, 3))).float()
    anatomy, tried = Anatomy(model, flat(8).float()), []
    (site,) = sites(anatomy)
    model.how = how
    with all_lent(tried):
        shrink(anatomy, {site.name: torch.arange(12) % 2 == 0})
    return tried


@running()
def one_try():
    found = tries(plain)
    demand(found == [True, True], f"tried {found}")


@running()
def given_up():
    found = tries(writing)
    demand(found == [True, False, True, False], f"tried {found}")


@running()
def held():
    with all_lent([]):
        model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(6)))
        loans = lent.Lent(model, torch.float64)
        loans.take_(model, ())
        loans.most = 2 * 64 * 8
        for layer in model:
            loans.given(torch.ops.aten.t.default, (layer.weight,), {})
        found = sum(tensor.numel() * 8 for tensor in loans._made.values())
    demand(found <= loans.most, f"{found} bytes are held, {loans.most} may be")


@running()
def shorter():
    """For each try of a proof without a branch whether it lent weights."""

    def adding(of, x):
        x = of["c"](x)
        return x + plain(of, x)

    layers = {"a": nn.Linear(8, 12), "b": nn.Linear(12, 8), "c": nn.Linear(8, 8)}
    anatomy, tried, original = Anatomy(settled(Written(adding, **layers)).float(), flat(8).float()), [], depth.raised_
    (branch,) = depth.branches(anatomy)

    def raised_(copy, dtype, loans, **more):
        tried.append(loans is not None)
        return original(copy, dtype, loans, **more)

    with all_lent([]), patch.object(depth, "raised_", raised_):
        depth.remove_branches(anatomy, [branch.name])
    demand(tried == [True, True], f"tried {tried}")


@running()
def folded():
    """What a silent unit sends, 1/3 as bfloat16 has it, times weights of 1/3 likewise, in float64."""
    with all_lent([]):
        model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3)).bfloat16().eval()
        for p in model.parameters():
            p.data.fill_(1 / 3)
        model[0].weight.data[6:] = 0
        anatomy, tried, original = Anatomy(model, torch.ones(2, 8, dtype=torch.bfloat16)), [], fold._seen
        seen = patch.object(fold, "_seen", lambda of, loans: tried.append(loans is not None) or original(of, loans))
        with seen:
            _, shifts, _ = fold.folding(anatomy, sites(anatomy), {"0": torch.arange(12) < 6})
    third = torch.tensor(1 / 3).bfloat16().double()
    demand(tried == [True], f"tried {tried}")
    demand(
        torch.allclose(shifts.get("2.bias", third).double(), 6 * third * third, rtol=1e-15, atol=0), f"added {shifts}"
    )


def narrow_shifts(shifts, model, sites, kept, tensors, readers):
    found = shifts(model, sites, kept, tensors, readers)
    return {name: shift.to(tensors[name].dtype) for name, shift in found.items()}


def noise_of_its_own(loan, block, start, number):
    shift = len(loan.staying) * 1000
    return CHANGED(loan, block, start, number + shift)


def noise_of_another(loan, block, start, number):
    return CHANGED(loan, block, start, number + next(NUMBERS))


def nothing_zeroed(loan, block, start, number):
    zeroed, loan.zeroed = loan.zeroed, []
    try:
        return CHANGED(loan, block, start, number)
    finally:
        loan.zeroed = zeroed


CLAIMS = {
    ONE_TRY: (
        one_try,
        {
            "the smaller network has noise of its own": instead(lent.Loan, "_changed", noise_of_its_own),
            "what goes is lent as it was": instead(lent.Loan, "_changed", nothing_zeroed),
            "what stays is a little off": instead(
                lent.Loan, "made", lambda loan, dtype: MADE(loan, dtype) * (1 + 1e-6 * bool(loan.staying))
            ),
        },
    ),
    WRITTEN: (given_up, {"writing into a part of a weight is not seen": instead(lent, "_is_lent", lambda _: False)}),
    SHORTER: (
        shorter,
        {
            "all weights are widened": instead(depth, "lending", lambda model, dtype, run: run(None)),
            "what is shorter has noise of its own": instead(lent.Loan, "_changed", noise_of_another),
            "a network without branches reads the empty weights": instead(
                lent.Lent, "given", lambda self, func, args, kwargs: (args, kwargs)
            ),
        },
    ),
    FOLDED: (
        folded,
        {
            "constants are as narrow as the weights": instead(fold, "_shifts", partial(narrow_shifts, fold._shifts)),
            "operators read the empty weights": instead(
                lent.Lent, "given", lambda self, func, args, kwargs: (args, kwargs)
            ),
        },
    ),
    ROOM: (held, {"what was made is kept": instead(lent.Lent, "_make_room", lambda *_: None)}),
}


def of(claim) -> Laws:
    return {f"lending: {claim}": CLAIMS[claim][0]}


MUTANTS = tuple(
    mutant for claim, (_, planted) in CLAIMS.items() for mutant in bugs("lending", partial(of, claim), {claim: planted})
)
