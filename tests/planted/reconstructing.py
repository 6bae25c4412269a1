"""Bugs planted in the choice of channels by LASSO, and in what layers are solved for."""

from functools import cache

import numpy as np
import torch
from planted.mutant import bugs, instead

from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.checks.solver import layer_to_solve
from sapwood.checks.tiny import tiny_conv_task
from sapwood.methods import METHODS
from sapwood.methods.parts import reconstructing
from sapwood.reconstruction import lasso, normal, refitting
from sapwood.reconstruction.refitting import refit
from sapwood.scoring.statistics import cross, gram
from sapwood.training.loop import train
from sapwood.training.run import Run, start

tiny = tiny_conv_task()
observe, solved, staying, remember = reconstructing.observe, normal.solved, lasso.staying, Run.remember


def path_laws() -> Laws:
    return {
        "lasso: the scales are at the minimum for their penalty": _at_its_minimum,
        "lasso: of two inputs alike one makes up for the other": _twins,
        "lasso: least squares is that of the samples to 1e-8, whatever the ridge": _exact,
    }


def method_laws() -> Laws:
    return {
        "reconstructing: no change of the last layer brings the original's outputs nearer": _stationary,
        "reconstructing: as many channels stay as were asked for": _counts,
    }


def interrupted_laws() -> Laws:
    return method.laws("lasso_channels", METHODS["lasso_channels"], task=tiny, epochs=10, tune=0)


def _at_its_minimum():
    """Off the minimum some slope would say so: α times the sign where β is not 0, at most α where it is."""
    w, g = layer_to_solve(3)
    gram, wanted = ((w.T @ w) * g).numpy(), ((w.T @ w) * g).sum(1).numpy()
    for count in (4, 9, 15):
        beta = lasso._beta(gram, wanted, count)
        slope, on = wanted - gram @ beta, beta != 0
        demand(int(on.sum()) == count, f"{int(on.sum())} scales are not 0, {count} were asked for")
        alpha = float(np.abs(slope[on]).mean())
        off = float(np.abs(slope[on] - alpha * np.sign(beta[on])).max()) / alpha
        demand(off < 1e-5, f"slopes of scales that are not 0 differ by {off:.1e} of the penalty")
        demand(float(np.abs(slope).max()) <= alpha * (1 + 1e-5), "a scale of 0 would be another one at the minimum")


def _twins():
    w, g = layer_to_solve()
    w[:, 1] = w[:, 0] = 5 * w[:, 0]
    g[:, 1], g[1] = g[:, 0], g[0]
    g[1, 1] = g[0, 0]
    _, keep = lasso.lasso_channels(w, g, sparsity=0.7)
    demand(int(keep[:2].sum()) == 1, f"{int(keep[:2].sum())} of two large channels that are alike stay")


def _exact():
    luck = torch.Generator().manual_seed(0)
    x = torch.randn(200, 12, generator=luck, dtype=torch.float64) * torch.logspace(0, -2, 12, dtype=torch.float64)
    w, keep = torch.randn(5, 12, generator=luck, dtype=torch.float64), torch.arange(12) % 3 > 0
    best = np.linalg.lstsq(x[:, keep].numpy(), (x @ w.T).numpy(), rcond=None)[0].T
    far = float(np.abs(refit(w, x.T @ x, keep=keep)[0][:, keep].numpy() - best).max())
    demand(far < 1e-8, f"weights are {far:.1e} from those of the samples")


@cache
def _original():
    run = start(tiny)
    list(train(run, epochs=2))
    return run.model.eval()


def _solved(**options):
    run = start(tiny)
    list(METHODS["lasso_channels"](run, epochs=2, tune=0, **options))
    return run


def _stationary():
    """Of the last layer, which comes last: with h what it reads, sums of h times what its outputs lack, and of that."""
    model, original, x = _solved().model.eval(), _original(), tiny.data.train.take(slice(None)).inputs
    with torch.no_grad():
        lacks, h = original(x) - model(x), model[:11](x)
        slopes = torch.cat([lacks.T @ h, lacks.sum(0)[:, None]], 1).abs() / (h.norm() * original(x).norm())
    demand(float(slopes.max()) < 1e-6, f"the outputs could be nearer: slope {float(slopes.max()):.1e}")


def _counts():
    model = _solved(pruned=0.3).model
    found = [len(layer.weight) for layer in (model[0], model[4], model[8])]
    demand(found == [2, 4, 5], f"{found} stay, by hand 2, 4 and 5")


def own_outputs(model, batches, *needs, only, wanted):
    return observe(model, batches, *needs, only=only, wanted=model)


def whole_inputs(model, batches, *needs, only, wanted):
    return observe(wanted, batches, *needs, only=only, wanted=wanted)


def once(gram_II, right_IO, ridge, again):
    return solved(gram_II, right_IO, ridge)


def of_least_squares(gram, wanted, count):
    """The largest scales of all together, without a penalty."""
    beta = np.linalg.solve(gram, wanted)
    return np.where(np.abs(beta) >= np.sort(np.abs(beta))[-count], beta, 0.0)


def one_too_many(units, sparsity):
    return min(units, staying(units, sparsity) + 1)


def solved_anew(run, name, compute):
    """Nothing but the cut itself is remembered."""
    return compute() if name == "keep" else remember(run, name, compute)


MUTANTS = (
    *bugs("lasso", path_laws, {
        "the scales are at the minimum for their penalty": {
            "the largest scales of least squares are taken for LASSO's": instead(lasso, "_beta", of_least_squares),
        },
        "of two inputs alike one makes up for the other": {
            "the channels that add most to the outputs stay": instead(lasso, "_beta", lambda g, w, c: g.diagonal()),
        },
        "least squares is that of the samples to 1e-8, whatever the ridge": {
            "the ridge's share is left in": instead(refitting, "solved", once),
        },
    }),
    *bugs("reconstructing", method_laws, {
        "no change of the last layer brings the original's outputs nearer": {
            "a layer aims at what the pruned network gives": instead(reconstructing, "observe", own_outputs),
            "a layer is solved for what the original reads": instead(reconstructing, "observe", whole_inputs),
            "biases stay as they were": instead(reconstructing, "intercept", lambda w, sums, bias: bias),
            "sums about 0 for weights beside a free bias": instead(
                reconstructing, "centred", lambda sums, bias: (sums[gram], sums[cross])
            ),
        },
        "as many channels stay as were asked for": {
            "LASSO keeps a channel too many": instead(lasso, "staying", one_too_many),
        },
    }),
    *bugs("method lasso_channels", interrupted_laws, {
        "interrupted just before rebuilding and resumed: the same bits": {
            "a resumed run solves untrained layers anew": instead(Run, "remember", solved_anew),
        },
    }),
)  # fmt: skip
