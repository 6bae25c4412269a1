"""Laws of what a network is stored as, and bugs planted in it: codes, gaps, files, shared values."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import torch
from planted.mutant import bugs, instead
from torch import nn
from torch.optim import SGD

from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.codec import arithmetic, file, huffman, kmeans, mask, network, places, sharing, stream, tensors
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.training.run import Run

decode, gaps, matrix, clustered, clusters = (
    tensors.decode, places.gaps, tensors._matrix, sharing.clustered, sharing._clusters)  # fmt: skip
code_lengths, walk, remember = huffman.code_lengths, huffman._walk, Run.remember
finish, masks_walk, by_huffman = arithmetic.Encoder.finish, mask._walk, stream._huffman
LUCK = np.random.default_rng(0)
SYMBOLS = np.minimum(LUCK.geometric(0.1, 100_000) - 1, 63)  # more bits than are decoded together
PLACES = np.array([0, 1, 31, 32, 33, 65, 97, 98, 161, 162, 300])


def huffman_laws() -> Laws:
    """A code for many symbols, of which some are rare."""
    counts = np.bincount(SYMBOLS)
    lengths = huffman.code_lengths(counts)
    return {
        "huffman: what is decoded is what was encoded": lambda: _decoded(lengths),
        "huffman: no code begins another": lambda: _prefix_free(lengths),
        "huffman: less than 2 % above the entropy": lambda: demand(
            0 <= (counts * lengths).sum() / huffman.entropy(counts) - 1 < 0.02, "the code is too long or too short"
        ),
    }


def _decoded(lengths) -> None:
    again = huffman.decode(huffman.encode(SYMBOLS, lengths), lengths, len(SYMBOLS))
    demand(np.array_equal(again, SYMBOLS), "other symbols come back")


def _prefix_free(lengths) -> None:
    codes = huffman.codes(lengths).tolist()
    words = sorted(f"{code:0{n}b}" for code, n in zip(codes, lengths.tolist(), strict=True) if n)
    demand(not any(b.startswith(a) for a, b in pairwise(words)), "a code begins another")


def adaptive_laws() -> Laws:
    """Symbols and places without a table."""
    return {
        "adaptive: what is decoded is what was encoded": _adaptively,
        "adaptive: less than 1 % and three bytes above the entropy": _as_likely,
        "adaptive: bytes that no decision needs are refused": _left_over,
        "adaptive: places of a matrix with empty rows and columns come back, well below their entropy": _in_contexts,
        "adaptive: the shorter of both codes is taken, the table counted": _shorter_taken,
    }


def _adaptively() -> None:
    likely, bits = [1, arithmetic.MOST - 2], [1] * 2_000 + [0, 1, 1, 0]
    for begin in range(0, 2_000, 50):  # carries that run through bytes of 255
        encoder = arithmetic.Encoder()
        for bit in bits[begin:]:
            encoder.write(bit, likely.copy())
        decoder = arithmetic.Decoder(encoder.finish())
        demand([decoder.read(likely.copy()) for _ in bits[begin:]] == bits[begin:], "other decisions come back")
    for symbols, alphabet in ((SYMBOLS[:9_000], 64), (np.ones(3_000, np.int64), 2), (SYMBOLS[:40], 100)):
        content = arithmetic.encode(symbols.tolist(), alphabet)
        demand(np.array_equal(arithmetic.decode(content, alphabet, len(symbols)), symbols), "other symbols come back")


def _as_likely() -> None:
    for symbols in (SYMBOLS[:20_000], SYMBOLS[:20_000] % 4):
        counts = np.bincount(symbols)
        bits, bound = 8 * len(arithmetic.encode(symbols.tolist(), len(counts))), huffman.entropy(counts)
        demand(bound < bits < 1.01 * bound + 24, f"{bits} bits where {bound:.0f} are the entropy")
    demand(len(arithmetic.encode([1], 2)) == 1, "one decision takes more than a byte")


def _left_over() -> None:
    content = arithmetic.encode(SYMBOLS[:50].tolist(), 64)
    try:
        arithmetic.decode(content + bytes(9), 64, 50)
    except ValueError:
        return
    demand(False, "nothing was noticed")


def _in_contexts() -> None:
    luck = np.random.default_rng(1)
    there = luck.random((120, 200)) < 0.2
    there[luck.permutation(120)[:80]] = False
    there[:, luck.permutation(200)[:120]] = False
    found = np.flatnonzero(there)
    content, _ = mask.encode(found, 120, 200)
    try:
        demand(np.array_equal(mask.decode(content, there.size, 200, len(found)), found), "other places come back")
    except ValueError as error:
        raise AssertionError("no places come back") from error
    alone = huffman.entropy(np.bincount(there.reshape(-1)))
    demand(8 * len(content) < 0.75 * alone, f"{8 * len(content)} bits where each place by itself has {alone:.0f}")


def _shorter_taken() -> None:
    halves = np.random.default_rng(1).permutation(np.repeat(np.arange(4), [40_000, 20_000, 10_000, 10_000]))
    for symbols, alphabet in ((SYMBOLS[:200], 64), (SYMBOLS[:1_000], 64), (halves, 4)):
        alone = [stream.write(symbols, alphabet, coders=(coder,)) for coder in stream.CODERS]
        sizes, both = [len(each.pack()) for each in alone], len(stream.write(symbols, alphabet).pack())
        demand(both == min(sizes), f"{both} bytes where the codes have {sizes}")


def storing_laws() -> Laws:
    """Tensors and files."""
    return {
        "storing: gaps lead to every place, by steps within reach": _places_found,
        "storing: a tensor comes back bit by bit": _same_bits,
        "storing: a file with any bit flipped, or cut short, is refused": _flips_noticed,
    }


def _places_found() -> None:
    for reach in (1, 32, 256):
        found, filled = places.gaps(PLACES, reach)
        demand(set(PLACES) <= set(np.cumsum(found) - 1) == set(filled), f"reach {reach}: places are lost")
        demand(bool((found <= reach).all() and (found > 0).all()), f"reach {reach}: a step is longer or none")


def _same_bits() -> None:
    w = torch.randn(7, 50, generator=torch.Generator().manual_seed(0)) * (torch.arange(50) % 7 == 0)  # -0.0 too
    for layout in places.LAYOUTS:
        for tensor in (w, w.t().contiguous()):
            coded = tensors.encode(tensor, layout=layout)
            again = tensors.decode(coded.said(), [part.pack() for part in coded.streams])
            demand(torch.equal(again.view(torch.int32), tensor.view(torch.int32)), f"{layout}: other bits come back")


def _flips_noticed() -> None:
    good, _ = network.encode(nn.Linear(3, 1))
    for at in range(8, len(good)):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 16]) + good[at + 1 :]):
            try:
                file.unpack(bad, "f")
            except InputError:
                continue
            demand(False, f"byte {at}: nothing was noticed")


def sharing_laws() -> Laws:
    """Few values for many weights, and their training."""
    return {
        "sharing: every weight is with the nearest value, every value the mean of its weights": _means,
        "sharing: what is removed belongs to no value": _nowhere,
        "sharing: a value moves by the sum of its weights' gradients, and they stay equal": _moved,
    }


def _means() -> None:
    w = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centroids, labels = kmeans.kmeans(w, 16)
    demand(torch.equal(labels, (w[:, None] - centroids).abs().argmin(1)), "a weight is with another value")
    means = torch.stack([w[labels == label].mean() for label in range(16)])
    demand(torch.allclose(centroids, means, atol=1e-12), "a value is not the mean")


def _nowhere() -> None:
    w, keep = torch.arange(12.0).view(3, 4), torch.arange(12).view(3, 4) % 3 > 0
    values, labels = sharing.clustered(w, keep, 3)
    demand(torch.equal(labels == sharing.NOWHERE, ~keep), "labels are where nothing is kept, or are missing")
    demand(torch.equal(values, w[keep]), "values of weights that are not kept")


def _moved() -> None:
    model = nn.Linear(5, 4, bias=False).double()
    clusters = {"weight": sharing.clustered(model.weight, torch.ones(4, 5, dtype=torch.bool), 2)}
    optimizer = SGD(model.parameters(), lr=0.1)
    with sharing.Sharing(model, optimizer, clusters):
        before = model.weight.detach().clone()
        gradient = torch.arange(20.0, dtype=torch.float64).view(4, 5)
        model.weight.grad = gradient.clone()
        optimizer.step()
    labels = clusters["weight"][1]
    for label in labels.unique():
        step = (model.weight - before)[labels == label]
        demand(torch.allclose(step, -0.1 * gradient[labels == label].sum()), f"value {label} moved by something else")


def compression_laws() -> Laws:
    """What is shared is decided once, from trained weights."""
    options = {"rounds": 1, "first_epochs": 1, "round_epochs": 1, "share_epochs": 2, "bits": "2", "sparsity": 0.5}
    return method.laws("deep_compression", METHODS["deep_compression"], **options)


def shorter(counts):
    lengths = code_lengths(counts)
    return np.where(lengths == lengths.max(), lengths - 1, lengths)


def all_alike(counts):
    return np.full(len(counts), 6, np.int64)


def begins_anew(steps, at, most):
    return walk(steps, 0, most)


def numbered(lengths):
    return np.cumsum(lengths > 0) - 1


def without_carry(encoder, more):
    encoder._low = encoder._low + more & arithmetic.WHOLE - 1


def cut_off(encoder):
    return finish(encoder)[:-1]


def in_full(encoder):
    return bytes(encoder._out) + encoder._low.to_bytes(4, "big") + b"\1"


def never_counted(odds, bit):
    return None


def to_the_last(odds, bit):
    odds[:] = (9, 1) if bit == 0 else (1, 9)


def alike(rows, columns, count, decide):
    """Every place in one context."""
    odds = defaultdict(arithmetic.fresh)
    masks_walk(rows, columns, count, lambda place, _: decide(place, odds[0]))


def one_too_few(rows, columns, count, decide):
    masks_walk(rows, columns, max(0, count - 1), decide)


def without_tables(symbols, counts):
    written = by_huffman(symbols, counts)
    return written._replace(stream=written.stream._replace(size=written.stream.size - written.table))


def far_too_few(decided):
    return 0.0


def one_filler_more(positions, reach):
    steps = np.diff(positions, prepend=-1)
    fillers = steps // reach
    found = np.full(len(steps) + int(fillers.sum()), reach)
    found[np.cumsum(fillers + 1) - 1] = steps % reach
    return found, np.cumsum(found) - 1


def without_fillers(positions, reach):
    return np.minimum(np.diff(positions, prepend=-1), reach), positions


def row_by_row(said, parts):
    return decode([*said[:3], "rows", *said[4:]], parts)


def of_streams(head, rest):
    return file.blake2b(rest[-8:], digest_size=16).digest()


def of_nothing(head, rest):
    return bytes(16)


def by_largest_below(values, centroids):
    return (torch.searchsorted(centroids, values, right=True) - 1).clamp(min=0)


def unmoved(values, k):
    return torch.linspace(float(values[0]), float(values[-1]), k, dtype=torch.float64)


def zeros_too(w, keep, bits):
    return clustered(w, torch.ones_like(keep), bits)


def mean(gradients, labels, k):
    return torch.bincount(labels, gradients.double(), minlength=k) / torch.bincount(labels, minlength=k).clamp(min=1)


def of_another(weight, values, labels):
    found = clusters(weight, values, labels)
    return found._replace(first=tuple(index.roll(1) for index in found.first))


def clusters_forgotten(run, name, compute):
    return compute() if name == "clusters" else remember(run, name, compute)


MUTANTS = (
    *bugs("huffman", huffman_laws, {
        "what is decoded is what was encoded": {
            "a code that runs into the next block is begun anew": instead(huffman, "_walk", begins_anew),
        },
        "no code begins another": {
            "the longest codes are a bit too short": instead(huffman, "code_lengths", shorter),
            "codes are numbered, whatever their length": instead(huffman, "codes", numbered),
        },
        "less than 2 % above the entropy": {
            "all symbols have equally long codes": instead(huffman, "code_lengths", all_alike),
        },
    }),
    *bugs("adaptive", adaptive_laws, {
        "what is decoded is what was encoded": {
            "a carry is lost": instead(arithmetic.Encoder, "_add", without_carry),
            "the last byte is left out": instead(arithmetic.Encoder, "finish", cut_off),
        },
        "less than 1 % and three bytes above the entropy": {
            "no decision is counted": instead(arithmetic, "_count", never_counted),
            "only the last decision counts": instead(arithmetic, "_count", to_the_last),
            "the end takes all of the interval's bytes": instead(arithmetic.Encoder, "finish", in_full),
        },
        "bytes that no decision needs are refused": {
            "what is left is not looked at": instead(arithmetic.Decoder, "end", lambda decoder: None),
        },
        "places of a matrix with empty rows and columns come back, well below their entropy": {
            "all places are in one context": instead(mask, "_walk", alike),
            "the last place is not asked for": instead(mask, "_walk", one_too_few),
        },
        "the shorter of both codes is taken, the table counted": {
            "the table is not counted": instead(stream, "_huffman", without_tables),
            "an adaptive code is thought to take nothing": instead(arithmetic, "ideal", far_too_few),
        },
    }),
    *bugs("storing", storing_laws, {
        "gaps lead to every place, by steps within reach": {
            "a gap of exactly the reach is given a filler": instead(places, "gaps", one_filler_more),
            "a gap beyond the reach is cut": instead(places, "gaps", without_fillers),
        },
        "a tensor comes back bit by bit": {
            "what was written by columns is read by rows": instead(tensors, "decode", row_by_row),
            "-0.0 is nothing": instead(tensors, "_matrix", lambda tensor: matrix(tensor + 0.0)),
        },
        "a file with any bit flipped, or cut short, is refused": {
            "the digest leaves the header out": instead(file, "_digest", of_streams),
            "the digest is the same for all files": instead(file, "_digest", of_nothing),
        },
    }),
    *bugs("sharing", sharing_laws, {
        "every weight is with the nearest value, every value the mean of its weights": {
            "weights belong to the next value below": instead(kmeans, "nearest", by_largest_below),
            "values stay where they were put at first": instead(kmeans, "_moved", unmoved),
        },
        "what is removed belongs to no value": {
            "zeros are clustered as well": instead(sharing, "clustered", zeros_too),
        },
        "a value moves by the sum of its weights' gradients, and they stay equal": {
            "the mean of the gradients is taken": instead(sharing, "gathered", mean),
            "values are taken from another cluster's weight": instead(sharing, "_clusters", of_another),
        },
    }),
    *bugs("method deep_compression", compression_laws, {
        "interrupted before any step and resumed: the same bits": {
            "which weights share is worked out anew after a restart": instead(Run, "remember", clusters_forgotten),
        },
    }),
)  # fmt: skip
