"""Laws of solvers: the same bits twice, sparsity 0 changes nothing, no worse than magnitude, and at a minimum."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from sapwood.checks.law import Laws, Result, demand, demand_refused, tried
from sapwood.reconstruction.normal import output_error

Solver = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]  # (w_OI, gram_II, sparsity) -> (w_OI, keep)
Of = Literal["weights", "units", "ranks"]  # what is removed: keep is [O, I], [I] or [min(O, I)]
Refitted = Literal["nothing", "weights", "scales"]  # what is at its minimum: all weights kept, or one scale a column
SPARSITIES = (0.2, 0.5, 0.7)
OUTPUTS, INPUTS, SAMPLES = 12, 20, 300


def check_solver(name: str, solver: Solver, *, of: Of = "weights", refitted: Refitted = "nothing") -> list[Result]:
    """The laws of solvers, tried on `solver(w_OI, gram_II, sparsity) -> (w_OI, keep)`.

    `of` says what it removes, and so the shape of `keep`; `refitted` what it brings to the minimum of the error.
    """
    return tried(laws(name, solver, of=of, refitted=refitted))


def laws(name: str, solver: Solver, *, of: Of = "weights", refitted: Refitted = "nothing") -> Laws:
    """The laws of solvers about `solver`, not yet tried."""
    bodies: dict[str, Callable[[Solver, Of], None]] = {
        "the weights' shape and type, and a keep that says what went": _form,
        "exactly as many go as asked": _exact,
        "sparsity 0 gives the weights back, bit by bit": _identity,
        "the same bits twice": _twice,
        "what is given is not changed": _pure,
        "the error is at most magnitude's at the same sparsity": _no_worse,
        "weights in float32 are solved in float64": _wide,
        "four times the samples change nothing": _scaled,
        "inputs that are always 0, or always the same, do no harm": _degenerate,
        "what cannot be used is refused": _refuses,
    }
    if refitted != "nothing":
        bodies["the gradient of the error is 0 at what is refitted"] = partial(_stationary, refitted)
    return {f"solver {name}: {law}": partial(body, solver, of) for law, body in bodies.items()}


def removed_by(solver: Solver) -> Of:
    """What a solver removes, by the shape of its keep; "weights" where that says nothing, which a law will tell."""
    w_OI, gram_II = layer_to_solve()
    try:
        shape = tuple(solver(w_OI, gram_II, 0.5)[1].shape)
    except Exception:  # a stranger's code: the laws say what is wrong with it
        return "weights"
    return "units" if shape == (INPUTS,) else "ranks" if shape == (OUTPUTS,) else "weights"


def layer_to_solve(seed: int = 0, samples: int = SAMPLES) -> tuple[Tensor, Tensor]:
    """Weights [12, 20] and the Gram matrix of inputs that depend on one another and are of different sizes."""
    luck = torch.Generator().manual_seed(seed)
    w_OI = torch.randn(OUTPUTS, INPUTS, generator=luck, dtype=torch.float64)
    mix = torch.eye(INPUTS, dtype=torch.float64) + 0.5 * torch.randn(INPUTS, INPUTS, generator=luck).double()
    size_I = torch.linspace(0.5, 2.0, INPUTS, dtype=torch.float64)[torch.randperm(INPUTS, generator=luck)]
    x_NI = torch.randn(samples, INPUTS, generator=luck, dtype=torch.float64) @ mix * size_I
    return w_OI, x_NI.T @ x_NI


def _form(solver: Solver, of: Of) -> None:
    given, gram_II = layer_to_solve()
    shape = {"weights": (OUTPUTS, INPUTS), "units": (INPUTS,), "ranks": (OUTPUTS,)}[of]
    for dtype in (torch.float64, torch.float32):
        w_OI, keep = solver(given.to(dtype), gram_II, 0.5)
        demand(w_OI.shape == given.shape and w_OI.dtype is dtype, f"weights of {w_OI.dtype}, {tuple(w_OI.shape)}")
        demand(keep.dtype is torch.bool and tuple(keep.shape) == shape, f"keep of {keep.dtype}, {tuple(keep.shape)}")
        if of == "ranks":
            demand(int(torch.linalg.matrix_rank(w_OI)) <= int(keep.sum()), "the rank is above that of keep")
        else:
            demand(not bool((w_OI * ~keep).any()), "what went is not 0")


def _exact(solver: Solver, of: Of) -> None:
    w_OI, gram_II = layer_to_solve()
    for sparsity in SPARSITIES:
        _, keep = solver(w_OI, gram_II, sparsity)
        gone, asked = int((~keep).sum()), round(sparsity * keep.numel())
        demand(gone == asked, f"sparsity {sparsity} of {keep.numel()}: {gone} went, not {asked}")


def _identity(solver: Solver, of: Of) -> None:
    for seed in range(3):
        w_OI, gram_II = layer_to_solve(seed)
        same, keep = solver(w_OI, gram_II, 0.0)
        demand(bool(keep.all()), "something went")
        demand(torch.equal(same, w_OI), f"weights moved by {float((same - w_OI).abs().max()):.1e}")


def _twice(solver: Solver, of: Of) -> None:
    w_OI, gram_II = layer_to_solve()
    found = []
    for seed in (17, 4711):  # what others have drawn before must not matter
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            found.append(solver(w_OI.clone(), gram_II.clone(), 0.5))
    demand(all(torch.equal(one, other) for one, other in zip(*found, strict=True)), "two calls differ")


def _pure(solver: Solver, of: Of) -> None:
    w_OI, gram_II = layer_to_solve()
    before, random = (w_OI.clone(), gram_II.clone()), torch.get_rng_state()
    solver(w_OI, gram_II, 0.5)
    demand(torch.equal(w_OI, before[0]), "the weights that were given changed")
    demand(torch.equal(gram_II, before[1]), "the Gram matrix changed")
    demand(torch.equal(random, torch.get_rng_state()), "the global random state was advanced")


def _no_worse(solver: Solver, of: Of) -> None:
    for seed in range(6):
        w_OI, gram_II = layer_to_solve(seed)
        for sparsity in SPARSITIES:
            found = output_error(solver(w_OI, gram_II, sparsity)[0], w_OI, gram_II)
            plain = output_error(_by_magnitude(w_OI, sparsity, of), w_OI, gram_II)
            demand(
                found <= plain * (1 + 1e-9),
                f"seed {seed}, sparsity {sparsity}: error {found:.4f}, by magnitude {plain:.4f}",
            )


def _by_magnitude(w_OI: Tensor, sparsity: float, of: Of) -> Tensor:
    """The same removed by size alone, and nothing else changed."""
    if of == "ranks":
        left, sigma, right = torch.linalg.svd(w_OI, full_matrices=False)
        sigma[len(sigma) - round(sparsity * len(sigma)) :] = 0
        truncated: Tensor = left * sigma @ right
        return truncated
    scores = w_OI.abs().flatten() if of == "weights" else w_OI.norm(dim=0)
    keep = torch.ones_like(scores, dtype=torch.bool)
    keep[scores.argsort(stable=True)[: round(sparsity * len(scores))]] = False
    return w_OI * (keep.view_as(w_OI) if of == "weights" else keep)


def _wide(solver: Solver, of: Of) -> None:
    w_OI, gram_II = layer_to_solve()
    narrow = w_OI.float()
    found, keep = solver(narrow, gram_II, 0.5)
    wide, keep_too = solver(narrow.double(), gram_II, 0.5)
    demand(torch.equal(keep, keep_too), "another choice")
    demand(torch.equal(found, wide.float()), f"off by {float((found - wide.float()).abs().max()):.1e}")


def _scaled(solver: Solver, of: Of) -> None:
    w_OI, gram_II = layer_to_solve()
    for one, four in zip(solver(w_OI, gram_II, 0.5), solver(w_OI, 4 * gram_II, 0.5), strict=True):
        demand(torch.equal(one, four), "a sum over more samples of the same kind is solved otherwise")


def _degenerate(solver: Solver, of: Of) -> None:
    w_OI, gram_II = layer_to_solve(samples=1)
    _demand_sound(solver, w_OI, gram_II, "of one sample")
    w_OI, gram_II = layer_to_solve()
    gram_II[:, [3, 7]] = gram_II[:, [7, 7]]
    gram_II[[3, 7]] = gram_II[[7, 7]]
    _demand_sound(solver, w_OI, gram_II, "with two inputs alike")
    gram_II[:5], gram_II[:, :5] = 0, 0
    _demand_sound(solver, w_OI, gram_II, "with five inputs of 0")
    _demand_sound(solver, w_OI, torch.zeros_like(gram_II), "of zeros")


def _demand_sound(solver: Solver, w_OI: Tensor, gram_II: Tensor, what: str) -> None:
    found, keep = solver(w_OI, gram_II, 0.5)
    demand(bool(torch.isfinite(found).all()), f"a Gram matrix {what} gives NaN or infinite weights")
    demand(int((~keep).sum()) == round(0.5 * keep.numel()), f"a Gram matrix {what} gives another number")
    demand(float(found.abs().max()) < 100 * float(w_OI.abs().max()), f"a Gram matrix {what} lets weights explode")


def _refuses(solver: Solver, of: Of) -> None:
    w_OI, gram_II = layer_to_solve()
    for sparsity in (-0.1, 1.0, float("nan")):
        demand_refused(partial(solver, w_OI, gram_II, sparsity), f"sparsity {sparsity}")
    for value in (float("nan"), float("inf")):
        bad_w, bad_gram = w_OI.clone(), gram_II.clone()
        bad_w[2, 3], bad_gram[2, 3] = value, value
        demand_refused(partial(solver, bad_w, gram_II, 0.5), f"a weight of {value}")
        demand_refused(partial(solver, w_OI, bad_gram, 0.5), f"a Gram matrix with {value}")
    demand_refused(partial(solver, w_OI, gram_II[:-1, :-1], 0.5), "a Gram matrix of fewer inputs")
    demand_refused(partial(solver, w_OI, gram_II + torch.triu(gram_II, 1), 0.5), "a matrix that is not symmetric")
    demand_refused(partial(solver, w_OI[0], gram_II, 0.5), "weights of one dimension")


def _stationary(refitted: Refitted, solver: Solver, of: Of) -> None:
    for seed in range(3):
        w_OI, gram_II = layer_to_solve(seed)
        found, _ = solver(w_OI, gram_II, 0.5)
        slope_OI = (found - w_OI) @ gram_II  # half the gradient of |found x - w x|²
        at_stake = slope_OI * (found != 0) if refitted == "weights" else (slope_OI * found).sum(0)
        largest = float((w_OI @ gram_II).abs().max())
        demand(float(at_stake.abs().max()) < 1e-6 * largest, f"gradient {float(at_stake.abs().max()):.1e}")
