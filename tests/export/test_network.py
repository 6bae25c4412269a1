"""Network files: the small network again, bit by bit, in another process; whatever is not one is refused."""

import hashlib
import json
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import nets
import pytest
import torch
from safetensors.torch import load_file, save_file
from small import halved
from torch import nn

from sapwood import checkpoint
from sapwood.errors import InputError
from sapwood.export import load, packed, save
from sapwood.shrinking.tracing.graph import named_tensors

HERE = Path(__file__).parent


def bits(model, *more):
    """A digest of all tensors under all names, and of answers."""
    found = hashlib.sha256()
    for name, tensor in [*sorted(named_tensors(model)), *enumerate(more)]:
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}".encode())
        found.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def answers(model, x):
    with torch.no_grad():
        return model(x)


def test_a_second_process_gives_the_same_bits(cases, tmp_path):
    for case in cases:
        save(case.small, tmp_path / case.name, of=case.make())
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); torch.set_num_threads(1)\n"
        "import nets; from test_network import answers, bits; from sapwood.export import load\n"
        "for name in sys.argv[3:]:\n"
        "    model = load(sys.argv[2] + '/' + name, nets.MAKE[name]).eval()\n"
        "    print(bits(model, answers(model, nets.EXAMPLE[name])), model, end='\\0')"
    )
    words = [sys.executable, "-W", "error", "-c", code, HERE, tmp_path, *(case.name for case in cases)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for case, said in zip(cases, done.stdout.removesuffix("\0").split("\0"), strict=True):
        digest, _, printed = said.partition(" ")
        assert digest == bits(case.small, answers(case.small, case.x)), case.name
        assert printed.strip() == str(case.small)
        assert bits(case.make()) != bits(case.small)


def test_heads_that_are_gone_stay_gone(tmp_path):
    small = halved("Attention")
    assert type(small.attention) is not nn.MultiheadAttention
    save(small, tmp_path / "small.safetensors", of=nets.Attention())
    again = load(tmp_path / "small.safetensors", nets.Attention)
    assert type(again.attention) is type(small.attention)
    assert again.attention.num_heads == small.attention.num_heads < 4


def test_the_network_trains_on_like_the_one_that_was_saved(case, tmp_path):
    save(case.small, tmp_path / "small.safetensors", of=case.make())
    both = [case.small, load(tmp_path / "small.safetensors", case.make).eval()]
    for model in both:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            model(case.x).square().mean().backward()
            optimizer.step()
    assert bits(both[0]) == bits(both[1])


def test_the_files_tensors_have_the_parameters_names_and_tied_ones_are_there_once(tied, tmp_path):
    save(tied, tmp_path / "f.safetensors", of=nets.Tied())
    stored = load_file(tmp_path / "f.safetensors")
    assert set(stored) == {name for name, _ in named_tensors(tied)} - {"out.weight"}
    assert torch.equal(stored["one.up.weight"], tied.one.up.weight)


def test_tied_is_tied_again_and_a_shared_config_stays_shared(tied, tmp_path):
    save(tied, tmp_path / "f.safetensors", of=nets.Tied())
    again = load(tmp_path / "f.safetensors", nets.Tied)
    assert again.out.weight is again.words.weight
    assert again.config is again.one.config is again.two.config
    assert (again.width, again.config.width, again.config.parts) == (3, 3, (2, 1))
    assert again.config.deeper == nets.Sizes(3)
    assert not again.frozen.requires_grad
    assert torch.equal(again.table, tied.table)
    assert nets.Tied().config.width == 6


def untied():
    model = nets.Tied()
    model.out.weight = nn.Parameter(model.out.weight.detach().clone())
    return model


def test_ties_are_those_of_the_file_whatever_make_ties(tied, tmp_path):
    save(tied, tmp_path / "tied.safetensors", of=nets.Tied())
    again = load(tmp_path / "tied.safetensors", untied)
    assert again.out.weight is again.words.weight
    loose = untied()
    loose.out.weight.data += 1
    save(loose, tmp_path / "loose.safetensors", of=nets.Tied())
    again = load(tmp_path / "loose.safetensors", nets.Tied)
    assert again.out.weight is not again.words.weight
    assert bits(again) == bits(loose)


def test_one_of_two_modules_may_have_a_config_of_its_own(tied, tmp_path):
    tied.two.config = type(tied.config)(**vars(tied.config) | {"width": 5})
    save(tied, tmp_path / "f.safetensors", of=nets.Tied())
    again = load(tmp_path / "f.safetensors", nets.Tied)
    assert again.config is again.one.config is not again.two.config
    assert (again.one.config.width, again.two.config.width) == (3, 5)


TYPES = [torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.float8_e4m3fn,
         torch.int64, torch.uint8, torch.uint16, torch.bool]  # fmt: skip


def of_all_types(fill):
    model = nn.Module()
    for dtype in TYPES:
        values = torch.arange(6).reshape(2, 3) * fill
        model.register_buffer(f"of_{str(dtype)[6:]}", values.to(dtype), persistent=False)
    model.register_buffer("alone", torch.tensor(float("nan") if fill else 0.0))
    model.register_buffer("none", torch.zeros(0, 3))
    model.negative = nn.Parameter(torch.tensor([-0.0, float("inf")]) * fill)
    return model


def test_every_type_of_numbers_comes_back(tmp_path):
    save(of_all_types(1), tmp_path / "f.safetensors", of=of_all_types(0))
    again = load(tmp_path / "f.safetensors", partial(of_all_types, 0))
    assert bits(again) == bits(of_all_types(1)) != bits(of_all_types(0))


def test_what_is_trained_is_what_was(tied, tmp_path):
    tied.one.requires_grad_(False)
    tied.frozen.requires_grad_(True)
    save(tied, tmp_path / "f.safetensors", of=nets.Tied())
    again = load(tmp_path / "f.safetensors", nets.Tied)
    held = {name: p.requires_grad for name, p in again.named_parameters()}
    assert held == {name: not name.startswith("one.") for name in held}


def test_the_same_network_is_the_same_bytes(case, tmp_path):
    for name in "abcdef":
        save(case.small, tmp_path / name, of=case.make())
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_a_type_that_the_original_does_not_have_is_kept(tmp_path):
    save(nn.Linear(3, 2).double(), tmp_path / "f.safetensors", of=nn.Linear(3, 2))
    assert load(tmp_path / "f.safetensors", lambda: nn.Linear(3, 2)).weight.dtype is torch.float64


def test_what_lies_channels_last_does_so_again(tmp_path):
    small = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    save(small, tmp_path / "f.safetensors", of=nn.Conv2d(3, 4, 3))
    again = load(tmp_path / "f.safetensors", lambda: nn.Conv2d(3, 4, 3))
    assert again.weight.stride() == small.weight.stride() != nn.Conv2d(3, 4, 3).weight.stride()
    assert bits(again) == bits(small)


def test_recurrent_layers_use_what_was_loaded(tmp_path):
    small = nn.LSTM(3, 4)
    save(small, tmp_path / "f.safetensors", of=nn.LSTM(3, 4))
    x = torch.ones(2, 1, 3)
    assert torch.equal(load(tmp_path / "f.safetensors", lambda: nn.LSTM(3, 4))(x)[0], small(x)[0])


def test_saving_and_loading_change_nothing_else(case, tmp_path):
    original = case.make()
    before = [bits(case.small), bits(original), str(original), torch.get_rng_state().tolist()]
    save(case.small, tmp_path / "f.safetensors", of=original)
    load(tmp_path / "f.safetensors", lambda: original)
    assert [bits(case.small), torch.get_rng_state().tolist()] == [before[0], before[3]]
    assert bits(original) == before[0], "make's network is the one that is given back"


# What a file may be that is no network; `good` are the bytes of a good file.


def with_header(good, **changes):
    """The same tensors with other words about them."""
    length = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + length])
    about = json.loads(header["__metadata__"]["sapwood-network"]) | changes
    header["__metadata__"]["sapwood-network"] = json.dumps({k: v for k, v in about.items() if v is not None})
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + good[8 + length :]


def pickled(good):
    torch.save({"weight": torch.zeros(2)}, "pickled.pt")
    return Path("pickled.pt").read_bytes()


def foreign(good):
    save_file({"weight": torch.zeros(2)}, "foreign.safetensors")
    return Path("foreign.safetensors").read_bytes()


BAD = {
    "empty": (lambda good: b"", "is no whole safetensors file"),
    "cut short": (lambda good: good[:-5], "is no whole safetensors file"),
    "cut in the header": (lambda good: good[:40], "is no whole safetensors file"),
    "text": (lambda good: b"a letter to somebody who waits for it", "is no whole safetensors file"),
    "pickled": (pickled, "is no whole safetensors file"),
    "a bit flipped": (lambda good: good[:-1] + bytes([good[-1] ^ 1]), "is damaged: its content does not match"),
    "words changed": (lambda good: with_header(good, words="{}"), "is damaged: its content does not match"),
    "foreign": (foreign, r"holds no network of sapwood: it is not written by sapwood\.export"),
    "checkpoint": (lambda good: checkpoint.encode({"model": {}}), "it is a run's checkpoint"),
    "newer": (lambda good: with_header(good, version=3), "has version 3 of its format .* install a newer sapwood"),
    "no version": (lambda good: with_header(good, version=None), "does not hold what its format says"),
    "other words": (lambda good: packed.pack({"x": torch.zeros(2)}, {}), "does not hold what its format says"),
}


@pytest.mark.parametrize("how", BAD)
def test_what_is_no_good_file_is_refused(how, tied, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tied, "f.safetensors", of=nets.Tied())
    spoil, says = BAD[how]
    Path("f.safetensors").write_bytes(spoil(Path("f.safetensors").read_bytes()))
    with pytest.raises(InputError, match=f"^f.safetensors .*{says}") as caught:
        load("f.safetensors", nets.Tied)
    assert "\n" not in str(caught.value)


def test_every_single_flipped_byte_of_a_small_file_is_noticed(tmp_path):
    path = tmp_path / "f.safetensors"
    save(nn.Linear(2, 1), path, of=nn.Linear(2, 1))
    good = path.read_bytes()
    original = bits(load(path, lambda: nn.Linear(2, 1)))
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        try:
            found = bits(load(path, lambda: nn.Linear(2, 1)))
        except InputError:
            continue
        assert found == original, f"byte {at}"


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the network .*nowhere\.safetensors: No such file"):
        load(tmp_path / "nowhere.safetensors", nets.Tied)


def strided():
    model = nets.plain()
    model[0].stride = (2, 2)
    return model


def swapped():
    model = nets.plain()
    model[2] = nn.GELU()
    return model


def without_norm():
    model = nets.plain()
    model[1] = nn.Identity()
    return model


def as_buffer():
    model = nn.Linear(8 * 36, 5)
    bias = model.bias.detach()
    del model.bias
    model.register_buffer("bias", bias)
    return nn.Sequential(*nets.plain()[:-1], model)


def on_meta():
    with torch.device("meta"):
        return nets.plain()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (nets.Residual, "'0.weight' is only in the file"),
        (without_norm, "'1.weight' is only in the file"),
        (lambda: nn.Sequential(*nets.plain(), nn.Linear(5, 5)), "'7.weight' is only in the network"),
        (lambda: nn.Sequential(*nets.plain(), nn.ReLU()), "'7' is ReLU, not there"),
        (lambda: nn.Sequential(nn.Conv2d(3, 9, 3), *nets.plain()[1:]), r"'0.weight' is a parameter of shape \(9, 3"),
        (as_buffer, "'6.bias' is a buffer"),
        (swapped, "'2' is GELU, not ReLU"),
        (strided, r"stride of '0' is \(2, 2\), not \(1, 1\)"),
        (on_meta, "'0.weight' has no numbers yet"),
        (lambda: nn.Sequential(nn.LazyConv2d(8, 3), *nets.plain()[1:]), "'0.weight' has no numbers yet"),
        (lambda: "a network", "it gives str, no module"),
    ],
)
def test_a_make_that_does_not_fit_is_refused(make, says, tmp_path):
    save(nets.plain(), tmp_path / "f.safetensors", of=nets.plain())
    with pytest.raises(InputError, match=f"is not of the network that make gives: {says}.*; make must give the orig"):
        load(tmp_path / "f.safetensors", make)


def test_a_number_that_the_original_has_not_is_refused(tied, tmp_path):
    save(tied, tmp_path / "f.safetensors", of=nets.Tied())

    def forgetful():
        model = nets.Tied()
        del model.width
        return model

    def bare():
        model = nets.Tied()
        del model.config
        return model

    with pytest.raises(InputError, match="make's network has no number 'width' on 'the network'"):
        load(tmp_path / "f.safetensors", forgetful)
    with pytest.raises(InputError, match="make's network has no 'config'"):
        load(tmp_path / "f.safetensors", bare)


def views():
    model = nn.Linear(3, 3, bias=False)
    model.turned = nn.Parameter(model.weight.data.t())
    return model


def sparse():
    model = nn.Module()
    model.register_buffer("weight", torch.eye(3).to_sparse())
    return model


@pytest.mark.parametrize(
    ("model", "original", "says"),
    [
        (swapped, nets.plain, "module '2' is GELU and was ReLU in the original"),
        (lambda: nn.Sequential(*nets.plain(), nn.ReLU()), nets.plain, "module '7' is ReLU and was not there"),
        (nets.Residual, nets.plain, "only the original has a tensor '0.bias'"),
        (without_norm, nets.plain, "only the original has a tensor '1.bias'"),
        (views, views, "'weight' and 'turned' are two tensors in the same memory|'turned' and 'weight' are two"),
        (sparse, sparse, "'weight' is a torch.sparse_coo, not a plain dense tensor"),
        (on_meta, nets.plain, "'0.weight' has no numbers yet"),
    ],
)
def test_what_cannot_be_rebuilt_is_not_saved(model, original, says, tmp_path):
    with pytest.raises(InputError, match=says):
        save(model(), tmp_path / "f.safetensors", of=original())
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_file_leaves_the_old_one(tied, tmp_path, monkeypatch):
    path = tmp_path / "f.safetensors"
    save(tied, path, of=nets.Tied())
    old = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
        save(nets.Tied(), path, of=nets.Tied())
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
