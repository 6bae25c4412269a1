"""Bugs planted in what is found out once: who is tied to whom, who sits where, what is kept, what runs bare."""

import itertools
from traceback import FrameSummary, StackSummary
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from planted.shrinking import running
from shrinking.zoo import flat
from torch import nn

from sapwood.checks.law import Laws, demand
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import sites
from sapwood.shrinking.fit import whole_of
from sapwood.shrinking.rules.union import Union
from sapwood.shrinking.tracing import anatomy, bare, graph, lean, reads, reused, site, training
from sapwood.shrinking.tracing.reads import seeing_reads

SMALLEST = "tied ids are known by the smallest of them, however long the chain"
PLACES = "units of one site sit in the same places, and no others do"
ONCE = "what has been found out is not found out again"
FRESH = "a copy that is used again is as it was"
ASKED = "what is noted of an operator is what it gives for the same question"
ALIKE = "neighbours that sit in as many places sit in their own"
INPUTS = "code that looks at its inputs runs without the numbers of parameters"
LINES = "operators have the lines that torch's own export gives them"
READS = "numbers that code reads are seen, as what modules hold"


class Looks(nn.Module):
    """Asks its mask, made where its weight is, whether it hides anything."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = torch.relu(self.a(x))
        seen = torch.ones(len(x), dtype=torch.bool, device=self.a.weight.device)
        every = torch.compiler.is_compiling() or bool((seen & (x[:, 0] > -99)).all())
        return self.b(h) if every else h


class Headed(nn.Module):
    """Reads one of its numbers."""

    heads = 7  # a class may have some for all, too

    def __init__(self):
        super().__init__()
        self.heads, self.other, self.a = 2, 2, nn.Linear(4, 4)

    def forward(self, x):
        return self.a(x).view(len(x), self.heads, -1)


@running()
def lines():
    model, x = Headed(), flat(4).float()
    torchs = [node.meta.get("stack_trace") for node in torch.export.export(model, (x,), strict=False).graph.nodes]
    found = [node.meta.get("stack_trace") for node in graph.exported(model, x).module.graph.nodes]
    demand(found == torchs and any(found), f"{found}")


@running()
def seen_reads():
    model = Headed()
    with seeing_reads([(Headed, "heads"), (Headed, "other")]) as read:
        demand(model(flat(4).float()).shape[1] == 2, "a module's own number is not what its code reads")
    demand(read == {(Headed, "heads")}, f"{read}")
    demand(Headed.heads == 7, "the class has lost a number")


@running()
def smallest():
    ids, links = torch.arange(40), torch.randperm(40, generator=torch.Generator().manual_seed(0))
    union, classes = Union(), {number: {number} for number in range(40)}
    for a, b in [*zip(ids[1:].tolist(), ids[:-1].tolist(), strict=True)][:20] + links.view(-1, 2).tolist()[:8]:
        low, high = sorted(union.find(torch.tensor([a, b])).tolist())
        if low != high:
            union.join(torch.tensor([low]), torch.tensor([high]))
        both = classes[a] | classes[b]
        classes |= dict.fromkeys(both, both)
    wanted = [min(classes[number]) for number in range(40)]
    demand(union.find(ids).tolist() == wanted == union.flat()[:40].tolist(), f"{union.find(ids).tolist()}")
    chain = Union()
    chain.join(ids[:-1], ids[1:])
    demand(chain.find(ids).tolist() == [0] * 40, "a chain is not followed to its end")


@running()
def places():
    root = torch.tensor([0, 1, 2, 3, 4, 4])
    blocks = [
        site._Block("w", dim, ids, 1, False) for dim, ids in enumerate(map(torch.tensor, ([0, 1, 2, 3], [2, 3, 5])))
    ]
    found = [(seats, roots.tolist()) for seats, roots in site._alike(blocks, root, torch.tensor([2, 0, 3, 1, 4]))]
    demand(found == [([0, 1], [2, 3]), ([0], [0, 1]), ([1], [4])], str(found))


@running()
def once():
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    made, counter = anatomy.Anatomy(model, flat(5).float()), itertools.count()
    with patch.object(training, "exported", lambda *given, **mode: (next(counter) and None) or graph.exported(*given)):
        for _ in range(2):
            macs_of(made, sites(made))
    first, second = made.runs()[0], made.runs()[0]
    demand(next(counter) == 1, "it was exported again")
    demand(first is second, "it was traced again")


@running()
def inputs():
    made = anatomy.Anatomy(Looks(), flat(5).float())
    demand(made.graph.plain and made.plain, "it is said to run graphs of its own")
    found = whole_of(made)
    demand(found.numbers == "inputs", f"it ran with {found.numbers}")
    demand(found.shapes == [torch.Size((3, 3))], str(found.shapes))


@running()
def fresh():
    again = reused.Reused(lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6)))
    for _ in range(2):
        with again.fresh() as copy:
            demand(copy[0].weight.shape == (6, 5) and copy[0].in_features == 5, "it is cut as the one before was")
            demand(not bool(copy[1].running_mean.any()), "its statistics are those of the run before")
            copy[0].weight.data, copy[0].in_features = torch.zeros(6, 3), 3
            copy[1].running_mean += 1


@running()
def asked():
    x = torch.ones(3, dtype=torch.int64, device="meta")
    with torch.no_grad(), bare.Meeting():
        found = [(x * n).dtype for n in (1, 1.0, 1)] + [(x[:n] * 1).shape[0] for n in (1, 2)]
    demand(found == [torch.int64, torch.float32, torch.int64, 1, 2], str(found))


@running()
def alike():
    root, blocks = torch.arange(6), [([0, 1, 2], 1), ([3, 4, 5], 1), ([0, 1], 0), ([2, 3], 0)]
    blocks = [site._Block("w", n, torch.tensor(ids), made, not made) for n, (ids, made) in enumerate(blocks)]
    found = [(seats, roots.tolist()) for seats, roots in site._alike(blocks, root, torch.arange(6))]
    demand(found == [([0, 2], [0, 1]), ([0, 3], [2]), ([1, 3], [3]), ([1], [4, 5])], str(found))


def laws() -> Laws:
    claims = {SMALLEST: smallest, PLACES: places, ONCE: once, INPUTS: inputs}
    claims |= {FRESH: fresh, ASKED: asked, ALIKE: alike, LINES: lines, READS: seen_reads}
    return {f"anatomising: {claim}": law for claim, law in claims.items()}


def one_link(union, ids):
    return union._link[ids]


def all_in_one(parts):
    whole, _ = laid_out(parts)
    return whole, torch.zeros_like(whole)


def as_given(mode, func, types, args=(), kwargs=None):
    return func(*args, **(kwargs or {}))


def shapes_only(given, seen):
    seen.add(True)
    return given.shape if isinstance(given, torch.Tensor) else len(given) if isinstance(given, tuple) else None


def by_count(places, starts, counts):
    before = torch.tensor([-1, *counts[:-1].tolist()]).numpy()
    return before != counts


laid_out = site._laid_out


def one_for_all(kind, name, read):
    return property(lambda module: read.add((kind, name)) or 4)


def inside_out(frames, skip):
    return StackSummary.from_list([FrameSummary(f["filename"], f["line"], f["name"]) for f in frames[skip:]])


PLANTED = {
    LINES: {"no frame is kept": instead(lean, "_few", lambda frames, skip: StackSummary()),
            "the innermost frame comes first": instead(lean, "_few", inside_out)},
    READS: {"nothing is seen": instead(reads, "_watched", lambda kind, name, read: property(lambda m: vars(m)[name])),
            "all of a class have one number": instead(reads, "_watched", one_for_all)},
    SMALLEST: {"one link is followed": instead(Union, "find", one_link)},
    PLACES: {"all places are the first": instead(site, "_laid_out", all_in_one)},
    ONCE: {"nothing is kept": instead(anatomy.Anatomy, "once", lambda _, what, make: make())},
    FRESH: {"nothing is put back": instead(reused.Notes, "put_back", lambda notes: None),
            "statistics are shared": instead(reused.Notes, "lend", lambda notes: None)},
    ASKED: {"only the operator counts": instead(bare, "_told", shapes_only)},
    ALIKE: {"as many places are the same places": instead(site, "_unlike_before", by_count)},
    INPUTS: {"what meets no numbers keeps its own": instead(bare.Meeting, "__torch_dispatch__", as_given)},
}  # fmt: skip
MUTANTS = bugs("anatomising", laws, PLANTED)
