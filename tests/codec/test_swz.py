"""The .swz file: the same network in another process, bit by bit; whatever is not one is refused."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import swz
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sapwood import checkpoint, codec
from sapwood.codec import file
from sapwood.codec.places import LAYOUTS
from sapwood.errors import InputError

HERE = Path(__file__).parent


def digest(model):
    """Of all bits of the state_dict, and of which tensors are one."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def changed(make):
    """A network of make's with other numbers."""
    model = make()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    return model


@pytest.mark.parametrize("make", swz.MAKE.values(), ids=swz.MAKE)
@pytest.mark.parametrize("layout", [None, *LAYOUTS])
def test_a_second_process_gives_the_same_bits_and_answers(make, layout, tmp_path):
    model = changed(make) if make is swz.Tied else make()
    codec.save(model, tmp_path / "n.swz", layout=layout)
    x = torch.randn(5, 20)
    if make is swz.plain and layout is None:
        torch.save(x, tmp_path / "x.pt")
        code = (
            "import sys, torch; sys.path.insert(0, sys.argv[1]); torch.set_num_threads(1); import swz\n"
            "from sapwood import codec; from test_swz import digest\n"
            "model = codec.load(sys.argv[2], swz.plain)\n"
            "print(digest(model), model(torch.load(sys.argv[3])).detach().numpy().tobytes().hex())"
        )
        words = [sys.executable, "-W", "error", "-c", code, HERE, tmp_path / "n.swz", tmp_path / "x.pt"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [digest(model), model(x).detach().numpy().tobytes().hex()]
    again = codec.load(tmp_path / "n.swz", make)
    assert digest(again) == digest(model)
    if make is swz.Tied:
        assert again.out.weight is again.words.weight
        assert digest(model) != digest(make())


def test_masks_are_the_zeros_of_the_file_and_nothing_changes_in_the_network(tmp_path):
    model = swz.plain()
    keep = {"2.weight": torch.rand(10, 30) < 0.1}
    with torch.no_grad():
        model[2].weight[~keep["2.weight"]] *= -0.0  # as holding leaves them
    before = digest(model)
    without, with_ = codec.save(model, tmp_path / "a.swz"), codec.save(model, tmp_path / "b.swz", masks=keep)
    assert with_.bytes < without.bytes - 50
    assert digest(model) == before == digest(codec.load(tmp_path / "a.swz", swz.plain))
    again = codec.load(tmp_path / "b.swz", swz.plain)[2].weight
    assert torch.equal(again.view(torch.int32), model[2].weight.masked_fill(~keep["2.weight"], 0).view(torch.int32))
    with pytest.raises(InputError, match=r"unknown parameter in masks '3\.weight'"):
        codec.save(model, tmp_path / "c.swz", masks={"3.weight": keep["2.weight"]})


def test_everything_in_the_file_counts(tmp_path):
    sizes = codec.save(swz.plain(), tmp_path / "n.swz")
    content = (tmp_path / "n.swz").read_bytes()
    words = int.from_bytes(content[10:14], "little")
    assert sizes.bytes == len(content) == 30 + words + sum(each.bytes for each in sizes.stored)
    assert sizes.dense == 4 * sum(p.numel() for p in swz.plain().parameters())
    assert sizes.fold == sizes.dense / len(content)
    assert {each.name: each.values for each in sizes.stored} == {
        "0.weight": 8, "0.bias": 0, "2.weight": 0, "2.bias": 0}  # fmt: skip
    assert sizes.stored[1].bytes == 4 * 30
    assert sizes.stored[2].bytes == 4 * 300


@pytest.mark.parametrize("density", [0.05, 0.1, 0.3])
def test_huffman_is_within_two_percent_of_the_entropy(density):
    luck = np.random.default_rng(0)
    model = nn.Linear(400, 200, bias=False)
    index = np.clip(luck.normal(32, 10, (200, 400)), 0, 63).astype(int)  # of values, as k-means finds them in weights
    values = torch.linspace(-1, 1.01, 64)[torch.from_numpy(index)]
    with torch.no_grad():
        model.weight.copy_(values.masked_fill(torch.from_numpy(luck.random((200, 400)) > density), 0))
    _, sizes = codec.encode(model, adaptive=False)
    assert 0 <= sizes.over_entropy < 0.02
    [stored] = sizes.stored
    assert 0 < stored.coded - stored.entropy < 0.02 * stored.entropy
    assert stored.coded < 8 * stored.bytes < stored.coded + 8 * 4 * 65 + 8 * (64 + 256) + 100
    assert codec.encode(model, entropy=False)[1].bytes > sizes.bytes
    assert {*stored.coders} == {"huffman"}
    assert 0 < stored.table < stored.bytes


def few_weights():
    """Two weights in a hundred, eight values, most rows and columns empty: where tables cost more than they spare."""
    luck = np.random.default_rng(0)
    model = nn.Linear(200, 100)
    there = luck.random((100, 200)) < 0.08
    there[luck.permutation(100)[:50]] = False
    there[:, luck.permutation(200)[:100]] = False
    with torch.no_grad():
        values = torch.linspace(-1, 1.1, 8)[torch.from_numpy(luck.binomial(7, 0.5, (100, 200)))]
        model.weight.copy_(values.masked_fill(torch.from_numpy(~there), 0))
        model.bias.copy_(torch.linspace(-1, 1, 4)[torch.from_numpy(luck.binomial(3, 0.2, 100))])
    return model


def test_an_adaptive_code_is_taken_where_huffmans_table_outweighs_the_symbols(tmp_path):
    model = few_weights()
    sizes, plain = codec.save(model, tmp_path / "n.swz"), codec.encode(model, adaptive=False)[1]
    assert digest(codec.load(tmp_path / "n.swz", few_weights)) == digest(model)
    by_name = {each.name: each for each in sizes.stored}
    assert by_name["weight"].coders == ("contexts", "adaptive")
    assert by_name["weight"].table == by_name["bias"].table == 0
    assert by_name["weight"].coded < 1.15 * by_name["weight"].entropy + 32, "what is learned on the way costs something"
    assert {coder for each in plain.stored for coder in each.coders} == {"huffman"}
    assert plain.parts()["tables_bytes"] == sum(each.table for each in plain.stored) > 0
    assert sizes.bytes < plain.bytes - plain.parts()["tables_bytes"], "more is spared than the tables"
    said = words((tmp_path / "n.swz").read_bytes())
    assert [stream[0] for stream in said["weight"][4:]] == ["contexts", "raw", "adaptive"]


def test_the_parts_are_the_whole():
    _, sizes = codec.encode(few_weights())
    parts = sizes.parts()
    assert sum(value for name, value in parts.items() if name != "tables_bytes") == sizes.bytes
    weight, bias = sizes.stored
    assert parts["places_bytes"] == weight.places
    assert parts["values_bytes"] == weight.bytes - weight.places
    assert parts["biases_bytes"] == bias.bytes


def test_a_file_of_the_version_before_is_read(tmp_path):
    """It had Huffman's codes and no others, and is the same but for its version and its digest."""
    content, _ = codec.encode(swz.plain(), adaptive=False)
    old = content[:8] + b"\1\0" + content[10:14]
    (tmp_path / "n.swz").write_bytes(old + hashlib.blake2b(old + content[30:], digest_size=16).digest() + content[30:])
    assert digest(codec.load(tmp_path / "n.swz", swz.plain)) == digest(swz.plain())


def test_the_same_network_is_the_same_bytes():
    assert len({codec.encode(swz.plain())[0] for _ in range(3)}) == 1


def test_what_was_on_the_disk_stays_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "n.swz"
    codec.save(swz.plain(), path)
    old = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
        codec.save(changed(swz.plain), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


# What a file may be that is no network; `good` are the bytes of a good file.


def header(good, length):
    return good[:10] + length.to_bytes(4, "little") + good[14:]


def sealed(said, streams=b""):
    """A whole file, with these words."""
    return file.pack(said, streams)


def words(good):
    return json.loads(good[30 : 30 + int.from_bytes(good[10:14], "little")])


def instead(good, **said):
    """A whole file in which the tensors are said to be something else."""
    return sealed(words(good) | said, good[30 + int.from_bytes(good[10:14], "little") :])


GOOD = codec.encode(swz.plain())[0]
FLOATS = ["float32", [10, 30], "dense", "rows"]
BAD = {
    "empty": (lambda good: b"", "is no .swz file"),
    "text": (lambda good: b"a letter to somebody who waits for it", "is no .swz file"),
    "as text": (lambda good: good.replace(b"\r\n", b"\n"), "is no .swz file"),
    "a checkpoint": (lambda good: checkpoint.encode({"model": {}}), "is no .swz file"),
    "cut in the mark": (lambda good: good[:5], "was cut short: it has 5 bytes"),
    "cut in the head": (lambda good: good[:29], "was cut short: it has 29 bytes"),
    "cut in the header": (lambda good: good[:40], "was cut short or is damaged: its header should have"),
    "cut in the streams": (lambda good: good[:-1], "is damaged: its content does not match"),
    "more at the end": (lambda good: good + b"\0", "is damaged: its content does not match"),
    "newer": (lambda good: good[:8] + b"\3\0" + good[10:], "has version 3 of its format .* newer sapwood"),
    "too large a header": (lambda good: header(good, 2**32 - 1), "its header should have 4294967295 bytes"),
    "too small a header": (lambda good: header(good, 2), "is damaged: its content does not match"),
    "no words": (lambda good: sealed([1]), "has a list for its header"),
    "nothing": (lambda good: sealed({}), "only that network has '0.bias'"),
    "no list": (lambda good: instead(good, **{"2.weight": 5}), "does not hold what its format says"),
    "no streams": (lambda good: instead(good, **{"2.weight": FLOATS}), "does not hold what its format says"),
    "odd coding": (lambda good: instead(good, **{"2.weight": [*FLOATS, ["zip", 0, 300, 1200]]}), "does not hold"),
    "odd layout": (lambda good: instead(good, **{"2.weight": ["float32", [10, 30], "pile", "rows"]}), "does not hold"),
    "a stream too long": (lambda good: instead(good, **{"2.weight": [*FLOATS, ["raw", 0, 300, 10**12]]}), "does not"),
    "a stream of less": (lambda good: instead(good, **{"2.weight": [*FLOATS, ["raw", 0, 300, -1]]}), "does not hold"),
    "fewer numbers": (lambda good: instead(good, **{"2.weight": [*FLOATS, ["raw", 0, 299, 1196]]}), "does not hold"),
    "one tensor": (lambda good: instead(good, **{"2.weight": "0.weight"}), "'2.weight' is one tensor with another in"),
    "streams left": (lambda good: sealed(words(good), good[30 + len(json.dumps(words(good), separators=(",", ":"))) :]
                                         + b"\0"), "bytes more than its streams have"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD)
def test_what_is_no_good_file_is_refused(how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil, says = BAD[how]
    Path("n.swz").write_bytes(spoil(codec.encode(swz.plain())[0]))
    with pytest.raises(InputError, match=f"^n.swz .*{says}") as caught:
        codec.load("n.swz", swz.plain)
    assert "\n" not in str(caught.value)


def test_every_flipped_bit_and_every_cut_of_a_small_file_is_noticed(tmp_path):
    path = tmp_path / "n.swz"
    codec.save(nn.Linear(3, 1), path)
    good = path.read_bytes()
    spoilt = [good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :] for at in range(len(good)) for bit in range(8)]
    for content in spoilt + [good[:at] for at in range(len(good))]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"n\.swz "):
            codec.load(path, lambda: nn.Linear(3, 1))


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_file_that_lies_about_its_streams_is_refused(tmp_path_factory, data):
    """Its digest is right, so only sense can tell. The other tensors have no numbers, so it never is a good one."""
    said = words(GOOD)
    name = data.draw(st.sampled_from(["0.weight", "2.weight"]))
    layout = data.draw(st.sampled_from(list(LAYOUTS)))
    number = st.one_of(st.integers(0, 40), st.sampled_from([-1, 600, 2**31, 2**53, 2**80]))
    coding = st.sampled_from(["raw", "fixed", "huffman", "adaptive", "contexts"])
    streams = data.draw(st.lists(st.tuples(coding, number, number, st.integers(0, 300)), max_size=4))
    said[name] = [said[name][0], said[name][1], layout, data.draw(st.sampled_from(["rows", "columns"])), *streams]
    content = data.draw(st.binary(max_size=600))
    said = {n: each if n == name else [*each[:4], ["raw", 0, 0, 0]] for n, each in said.items()}
    path = tmp_path_factory.mktemp("lies") / "n.swz"
    path.write_bytes(sealed({n: said[n] for n in [name, *(set(said) - {name})]}, content))
    with pytest.raises(InputError):
        codec.load(path, swz.plain)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the network .*nowhere\.swz: No such file"):
        codec.load(tmp_path / "nowhere.swz", swz.plain)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (swz.Tied, "only the file has '0.bias'"),
        (lambda: nn.Sequential(*swz.plain(), nn.Linear(10, 1)), "only that network has '3.bias'"),
        (lambda: swz.plain().double(), "'0.weight' is float32 of shape .30, 20. in the file, and float64"),
        (
            lambda: nn.Sequential(nn.Linear(20, 9), nn.ReLU(), nn.Linear(9, 10)),
            r"in the file, and float32 of \[9, 20\]",
        ),
        (lambda: nn.Sequential(nn.LazyLinear(30)), "'0.weight' has no numbers"),
    ],
)
def test_a_make_that_does_not_fit_is_refused(make, says, tmp_path):
    codec.save(swz.plain(), tmp_path / "n.swz")
    with pytest.raises(InputError, match=says):
        codec.load(tmp_path / "n.swz", make)


def with_buffer(value):
    model = nn.Module()
    model.register_buffer("odd", value)
    return model


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        (with_buffer(torch.eye(2).to_sparse()), {}, "'odd' is torch.float32, torch.sparse_coo; known: float64"),
        (with_buffer(torch.zeros(2, dtype=torch.complex64)), {}, "'odd' is torch.complex64"),
        (nn.Linear(2, 2, device="meta"), {}, "'weight' has no numbers"),
        (swz.plain(), {"layout": "bitmap"}, "unknown layout 'bitmap'; did you mean 'bitmask'"),
    ],
)
def test_what_cannot_be_written_is_refused(model, options, says, tmp_path):
    with pytest.raises(InputError, match=says):
        codec.save(model, tmp_path / "n.swz", **options)
    assert list(tmp_path.iterdir()) == []
