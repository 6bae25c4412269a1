"""Bugs planted in Wanda, in SparseGPT's columns, and in the pass over the blocks of a pretrained model."""

from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.checks.solver import layer_to_solve
from sapwood.checks.tiny import seeded
from sapwood.criteria import CRITERIA
from sapwood.export import block_by_block, removal, turns
from sapwood.export.block_by_block import one_shot
from sapwood.reconstruction import columnwise, flow
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import gram
from sapwood.selection import select

NAMES = [f"blocks.{n}.{name}" for n in range(3) for name in ("up", "down")]
observed, upper, swept, error = flow.Flow.observed, columnwise._upper, columnwise._swept, block_by_block.output_error
n_of_m = select.n_of_m
solving_one, ratios_of, run = block_by_block._Pass._solved, block_by_block._Pass._ratios, block_by_block._Pass.run


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = torch.nn.LayerNorm(4), torch.nn.Linear(4, 8), torch.nn.Linear(8, 4)

    def forward(self, x, mask):
        return x + self.down(self.up(self.norm(x)).relu()) * mask[..., None]


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.blocks = torch.nn.Embedding(7, 4), torch.nn.ModuleList([Block(), Block(), Block()])

    def forward(self, input_ids, attention_mask):
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x, mask=attention_mask)
        return x


def model():
    with seeded(0):
        made = Model().double().eval()
    for block in made.blocks:
        block.norm.weight.data.copy_(torch.tensor([0.1, 1.0, 3.0, 0.5]))
    made.blocks[1].up.weight.data[0] *= 40  # outliers
    made.blocks[2].up.weight.data[:2] *= 10
    return made


def batches(padding=0):
    ids = torch.arange(30).view(5, 6) * 5 % 7
    inside = torch.ones(5, 6 + padding)
    inside[:, 6:] = 0
    return [{"input_ids": torch.nn.functional.pad(ids, (0, padding), value=3), "attention_mask": inside}]


def wanda_laws() -> Laws:
    return {"wanda: each row loses the lowest of |w| times its input's norm": _rows_lose_the_lowest}


def group_laws() -> Laws:
    return {"groups: of every m inputs in a row each output keeps the n best": _groups_keep_the_best}


def columns_laws() -> Laws:
    return {"columns: weights and mask are those of exact inverses, column by column": _exact_inverses}


def pass_laws() -> Laws:
    return {
        "pass: each block is judged on what the pruned ones before it give": _on_the_pruned,
        "pass: padding is not counted": _without_padding,
        "pass: errors are those of the weights that are written": _errors_of_what_is_written,
        "pass: interrupted, a block is pruned whole or not at all, and it goes on to the same bits": _whole_blocks,
        "pass: hooks are on one block at a time, and none is left": _few_hooks,
    }


def _rows_lose_the_lowest() -> None:
    net = model()
    seen = observe(net, batches(), gram, only=NAMES[:2])
    shot = one_shot(net, batches(), sparsity=0.5)
    for name in NAMES[:2]:
        w, norm = model().get_submodule(name).weight.detach(), seen[name][gram].diagonal().sqrt()
        for row, keep in zip(w, shot.masks[f"{name}.weight"], strict=True):
            low = (row.abs() * norm).argsort()[: len(row) // 2].sort().values.tolist()
            gone = (~keep).nonzero().flatten().tolist()
            demand(gone == low, f"{name} lost {gone} of a row, the lowest are {low}")


def _groups_keep_the_best() -> None:
    net = model()
    seen = observe(net, batches(), gram, only=NAMES[:2])
    shot = one_shot(net, batches(), pattern="1:4")
    for name in NAMES[:2]:
        w, norm = model().get_submodule(name).weight.detach(), seen[name][gram].diagonal().sqrt()
        best, keep = (w.abs() * norm).view(-1, 4).argmax(1), shot.masks[f"{name}.weight"].view(-1, 4)
        demand(bool(keep.sum(1).eq(1).all()), f"{name}: groups keep {sorted(set(keep.sum(1).tolist()))}")
        demand(torch.equal(keep.int().argmax(1), best), f"{name}: not the best of each group is kept")


def _exact_inverses() -> None:
    w, g = layer_to_solve()
    h, work, stay = g + 0.01 * g.diagonal().mean() * torch.eye(20).double(), w.clone(), torch.ones(12, 20).bool()
    inverses = [torch.linalg.inv(h[j:, j:]) for j in range(20)]
    for j in range(20):
        if j % 5 == 0:
            scores = torch.stack([work[:, i].square() / inverses[i][0, 0] for i in range(j, j + 5)], 1).flatten()
            stay[:, j : j + 5] = scores.ge(scores.sort().values[30]).view(12, 5)
        error = torch.where(stay[:, j], 0, work[:, j]) / inverses[j][0, 0]
        work[:, j:] -= error[:, None] * inverses[j][0]
    found, keep = columnwise.sparsegpt(w, g, sparsity=0.5, block=5)
    demand(torch.equal(keep, stay), f"{int((keep != stay).sum())} weights of another mask")
    demand(float((found - work * stay).abs().max()) < 1e-8, "other weights")


def _on_the_pruned() -> None:
    net = model()
    shot = one_shot(net, batches(), sparsity=0.5)
    half = model()  # its first block pruned, the second whole
    for name in NAMES[:2]:
        half.get_submodule(name).weight.data.copy_(net.get_submodule(name).weight)
    seen = observe(half, batches(), gram, only=NAMES[2:4])
    for name in NAMES[2:4]:
        w = half.get_submodule(name).weight.detach()
        wanted = select.per_row({"": CRITERIA["magnitude"].score(w, {}) * seen[name][gram].diagonal().sqrt()}, 0.5)[""]
        demand(torch.equal(shot.masks[f"{name}.weight"], wanted), f"{name} was judged on other inputs")


def _without_padding() -> None:
    nets = model(), model()
    for net, padding in zip(nets, (0, 20), strict=True):
        one_shot(net, batches(padding), sparsity=0.5, by="sparsegpt")
    gap = max(
        float((p - q).detach().abs().max()) for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True)
    )
    demand(gap < 1e-9, f"padding moves weights by {gap:.3f}")


def _errors_of_what_is_written() -> None:
    net, before = model(), model()
    seen = observe(net, batches(), gram, only=NAMES[:2])
    shot = one_shot(net, batches(), sparsity=0.5, by="sparsegpt")
    for each in shot.layers[:2]:
        g, w = seen[each.layer][gram], before.get_submodule(each.layer).weight.detach()
        lost = net.get_submodule(each.layer).weight.detach() - w
        wanted = float((lost @ g * lost).sum() / (w @ g * w).sum())
        demand(abs(each.error - wanted) < 1e-9, f"{each.layer}: error {each.error:.4f}, it is {wanted:.4f}")


def _whole_blocks() -> None:
    whole, net, calls = model(), model(), []
    one_shot(whole, batches(), sparsity=0.5, by="sparsegpt", ratios="owl")
    before, solving = {name: p.clone() for name, p in net.named_parameters()}, removal.Removal.solved

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return solving(*args)

    with patch.object(removal.Removal, "solved", interrupted):
        try:
            one_shot(net, batches(), sparsity=0.5, by="sparsegpt", ratios="owl")
        except KeyboardInterrupt as error:
            left = error.pruned
    now = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    demand(now == {f"{name}.weight" for name in NAMES[:4]}, f"changed are {sorted(now)}")
    one_shot(net, batches(), sparsity=0.5, by="sparsegpt", ratios="owl", after=left)
    same = all(torch.equal(p, q) for p, q in zip(net.parameters(), whole.parameters(), strict=True))
    demand(same, "going on gives other weights")


def _few_hooks() -> None:
    net, most, called = model(), [], flow.Flow._called

    def counting(*args):
        most.append(len({n.split(".")[1] for n, m in net.named_modules() if "." in n and m._forward_hooks}))
        return called(*args)

    with patch.object(flow.Flow, "_called", counting):
        one_shot(net, batches(), sparsity=0.5)
    demand(max(most) == 1, f"hooks in {max(most)} blocks at a time")
    demand(not any(m._forward_hooks for m in net.modules()), "hooks are left")


def as_it_was(this, number):
    """The next block reads what it read in the whole network."""
    block = model().blocks[number]
    for batch, beside in enumerate(this.beside):
        this.now[batch] = this._called(block, this.now[batch], beside[number])


def at_once(this, each, gram_II, block, sparsity):
    """Each layer is written as soon as it is solved."""
    solved, change = solving_one(this, each, gram_II, block, sparsity)
    each.tensor.detach().copy_(change[1])
    return solved, change


def leaving_hooks(this, number, statistics, layers, **options):
    this.blocks[number].up.register_forward_hook(lambda *_: None)
    return observed(this, number, statistics, layers, **options)


def ratios_anew(this, after, tell):
    """Outliers are counted again in what is pruned in part."""
    return run(this, after and replace(after, ratios=ratios_of(this)), tell)


def in_all_rows(scores, sparsity):
    return select.everywhere(scores, sparsity)


def untold(w, keep, upper, dead_I, block, pattern):
    return torch.zeros_like(swept(w, keep, upper, dead_I, block, pattern))


def by_size(w, upper, dead_I, begin, end):
    return w[:, begin:end].square()


def scoring(rule):
    return partial(patch.dict, CRITERIA, {"wanda": replace(CRITERIA["wanda"], score=rule)})


MUTANTS = (
    *bugs("wanda", wanda_laws, {
        "each row loses the lowest of |w| times its input's norm": {
            "the square of the input's norm counts": scoring(lambda w, seen: w.abs() * seen["input_square"]),
            "inputs do not count": scoring(lambda w, seen: w.abs()),
            "rows are compared with one another": instead(removal.select, "per_row", in_all_rows),
        },
    }),
    *bugs("groups", group_laws, {
        "of every m inputs in a row each output keeps the n best": {
            "groups run along the outputs": instead(removal.select, "n_of_m", lambda s, n, m: n_of_m(s, n, m, dim=0)),
            "n of m are removed": instead(removal.select, "n_of_m", lambda s, n, m: n_of_m(s, m - n, m)),
            "n of m are kept of the row, not of each group": instead(
                removal.select, "n_of_m", lambda s, n, m: select.per_row(s, 1 - n / m)),
        },
    }),
    *bugs("columns", columns_laws, {
        "weights and mask are those of exact inverses, column by column": {
            "columns behind a block are not told of its errors": instead(columnwise, "_swept", untold),
            "the mask is chosen by size": instead(columnwise, "_scores", by_size),
            "the ridge is a number, not a share": instead(columnwise, "size_of", lambda gram, share: share),
            "no weight makes up for another": instead(columnwise, "_upper", lambda *a: upper(*a).diagonal().diag()),
        },
    }),
    *bugs("pass", pass_laws, {
        "each block is judged on what the pruned ones before it give": {
            "the second block reads what the first gave before": instead(flow.Flow, "forward", as_it_was),
        },
        "padding is not counted": {
            "all tokens count": instead(turns, "tokens_in", lambda arguments: None),
        },
        "errors are those of the weights that are written": {
            "errors of weights stand for those of outputs": instead(
                block_by_block, "output_error", lambda w, was, gram: error(w, was, torch.eye(len(gram)))),
        },
        "interrupted, a block is pruned whole or not at all, and it goes on to the same bits": {
            "layers are written one by one": instead(block_by_block._Pass, "_solved", at_once),
            "a pass that goes on counts outliers anew": instead(block_by_block._Pass, "run", ratios_anew),
        },
        "hooks are on one block at a time, and none is left": {
            "hooks of earlier blocks stay": instead(flow.Flow, "observed", leaving_hooks),
        },
    }),
)  # fmt: skip
