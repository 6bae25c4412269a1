"""Bugs planted in solvers and in what they are given."""

import torch
from planted.mutant import bugs, instead

from sapwood.checks import Laws, solver
from sapwood.checks.law import demand
from sapwood.checks.tiny import seeded_model, tiny_samples
from sapwood.reconstruction import blocks, columnwise, greedy, lasso, layerwise, ranks, refitting, sparsegpt, units
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import cross, gram

thinet, choice, scaled, solved, swept = (
    greedy.thinet, greedy._kept, greedy._scaled, refitting.solved, columnwise._swept)  # fmt: skip
reduced_rank = ranks.reduced_rank


def greedy_laws() -> Laws:
    return solver.laws("thinet", lambda w, g, sparsity: greedy.thinet(w, g, sparsity=sparsity), of="units",
                       refitted="scales")  # fmt: skip


def lasso_laws() -> Laws:
    return solver.laws("lasso_channels", lambda w, g, sparsity: lasso.lasso_channels(w, g, sparsity=sparsity),
                       of="units", refitted="weights")  # fmt: skip


def columnwise_laws() -> Laws:
    return solver.laws("sparsegpt", lambda w, g, sparsity: columnwise.sparsegpt(w, g, sparsity=sparsity, block=8))


def rank_laws() -> Laws:
    return solver.laws("reduced_rank", lambda w, g, sparsity: ranks.reduced_rank(w, g, sparsity=sparsity), of="ranks")


def going_laws() -> Laws:
    """What `layerwise` hands on, and what the original network wants."""
    return {
        "going: each layer sees what the pruned ones before it give": _sees_the_pruned,
        "going: what is wanted is what the original network gives": _wants_the_original,
    }


def _halves(name, w_OI, sums):
    return sparsegpt(w_OI, sums[gram], sparsity=0.5)


def _sees_the_pruned() -> None:
    model, seen = seeded_model(), {}

    def solve(name, w_OI, sums):
        seen[name] = sums[gram].clone()
        return _halves(name, w_OI, sums)

    layerwise(model, [tiny_samples()], solve, gram)
    now = observe(model, [tiny_samples()], gram)  # the network is pruned by now, up to each layer's inputs
    gap = max(float((seen[name] - now[name][gram]).abs().max()) for name in seen)
    demand(gap < 1e-9, f"a layer was solved on inputs that are {gap:.2f} off")


def _wants_the_original() -> None:
    model, wanted = seeded_model(), {}

    def solve(name, w_OI, sums):
        wanted[name] = sums[cross].clone()
        return _halves(name, w_OI, sums)

    original = seeded_model()
    layerwise(model, [tiny_samples()], solve, gram, cross)
    with torch.no_grad():
        x, y = model.eval()[:2](tiny_samples().inputs), original.eval()[:3](tiny_samples().inputs) - model[2].bias
    demand(float((wanted["2"] - x.T @ y).abs().max()) < 1e-9, "the sums are of other outputs")


def towards_zero(found, chosen, ridge):
    """The ridge of ordinary ridge regression."""
    scale = torch.zeros_like(found.wanted_U)
    gram_SS = found.gram_UU[chosen][:, chosen]
    scale[chosen] = solved(gram_SS, found.wanted_U[chosen, None], ridge)[:, 0]
    return scale


def at_random(found, count, ridge):
    return sorted(torch.randperm(len(found.wanted_U))[:count].tolist())


def in_its_own_type(w_OI, gram_II, cross_IO):
    return w_OI.detach(), gram_II.to(w_OI), None


def one_too_few(found, count, ridge):
    return choice(found, min(count + 1, len(found.wanted_U)), ridge)


def smallest(found, count, ridge):
    return found.gram_UU.diagonal().argsort()[:count].sort().values.tolist()


def numbers(w_OI, gram_II, **options):
    found, keep = thinet(w_OI, gram_II, **options)
    return found, keep.float()


def in_place(w, *rest):
    return w.masked_fill_(torch.isnan(w), 0).mul_(scaled(w, *rest) != 0)


def without_ridge(gram_II, right_IO, ridge):
    return torch.linalg.inv_ex(gram_II).inverse @ right_IO


def anything(w_OI, gram_II, cross_IO):
    return w_OI.double(), gram_II.double(), None


def to_the_left(w, keep, upper, dead_I, block, pattern):
    errors = swept(w, keep, upper, dead_I, block, pattern)
    return -errors


def small_weights(w, upper, dead_I, begin, end):
    return -w[:, begin:end].square()


def of_the_weight(w_OI, gram_II, **options):
    """The decomposition of the weight alone, worse than magnitude's only where the smallest parts are kept."""
    return reduced_rank(w_OI, torch.linalg.inv(gram_II), **options)


class Stale(blocks._Flow):
    """The next block reads what this one gave when it was observed."""

    def observed(self, number, statistics, layers):
        evidence = super().observed(number, statistics, layers)
        self.stale = [
            self._called(self.blocks[number], x, b[number]) for x, b in zip(self.now, self.beside, strict=True)
        ]
        return evidence

    def forward(self, number):
        super().forward(number)
        self.now = self.__dict__.pop("stale", self.now)


MUTANTS = (
    *bugs(
        "solver thinet",
        greedy_laws,
        {
            "the weights' shape and type, and a keep that says what went": {
                "a solver's keep as numbers": instead(greedy, "thinet", numbers)
            },
            "exactly as many go as asked": {"a solver keeps one too many": instead(greedy, "_kept", one_too_few)},
            "sparsity 0 gives the weights back, bit by bit": {
                "a ridge that draws towards 0": instead(greedy, "_scales", towards_zero)
            },
            "the same bits twice": {"channels drawn at random": instead(greedy, "_kept", at_random)},
            "what is given is not changed": {"the caller's weights are scaled": instead(greedy, "_scaled", in_place)},
            "the error is at most magnitude's at the same sparsity": {
                "the channels with the least energy are kept": instead(greedy, "_kept", smallest)
            },
            "weights in float32 are solved in float64": {
                "sums in the weights' own type": instead(units, "doubled", in_its_own_type)
            },
            "four times the samples change nothing": {
                "a ridge that does not grow with the samples": instead(greedy, "size_of", lambda gram, share: 0.1)
            },
            "inputs that are always 0, or always the same, do no harm": {
                "an inverse without a ridge": instead(greedy, "solved", without_ridge)
            },
            "the gradient of the error is 0 at what is refitted": {
                "channels kept without their scales": instead(
                    greedy,
                    "_scales",
                    lambda found, chosen, ridge: torch.zeros_like(found.wanted_U).index_fill_(
                        0, torch.tensor(chosen), 1.0
                    ),
                )
            },
        },
    ),
    *bugs(
        "solver lasso_channels",
        lasso_laws,
        {
            "the gradient of the error is 0 at what is refitted": {
                "channels chosen by LASSO and not refitted": instead(
                    lasso, "refit", lambda w, g, c, *, keep, ridge: (w * keep, keep)
                )
            }
        },
    ),
    *bugs(
        "solver sparsegpt",
        columnwise_laws,
        {
            "the error is at most magnitude's at the same sparsity": {
                "errors are added where they are to be made up for": instead(columnwise, "_swept", to_the_left),
                "the largest weights go": instead(columnwise, "_scores", small_weights),
            },
            "what cannot be used is refused": {
                "a Gram matrix is taken as it comes": instead(columnwise, "doubled", anything)
            },
        },
    ),
    *bugs(
        "solver reduced_rank",
        rank_laws,
        {
            "the error is at most magnitude's at the same sparsity": {
                "the ranks that inputs use least are kept": instead(ranks, "reduced_rank", of_the_weight)
            }
        },
    ),
    *bugs(
        "going",
        going_laws,
        {
            "each layer sees what the pruned ones before it give": {
                "a block gives what it gave before it was pruned": instead(blocks, "_Flow", Stale)
            },
            "what is wanted is what the original network gives": {
                "the pruned network's own outputs are wanted": instead(
                    cross, "of", lambda s: s.x_NI.T @ (s.y_NO - s.layer.bias.detach())
                )
            },
        },
    ),
)
