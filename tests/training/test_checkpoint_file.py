"""The file of a checkpoint: every type of number is read back by safetensors itself, and lies where it should."""

import json

import pytest
import torch
from safetensors.torch import load, load_file, save

from sapwood import checkpoint

KINDS = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.int64, torch.int32, torch.int16,
    torch.int8, torch.uint8, torch.uint16, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


def tree():
    """A tensor of every kind, some empty, one a view, one of no dimension."""
    luck = torch.Generator().manual_seed(0)
    numbers = torch.randn(3, 5, generator=luck)
    every = {str(kind): numbers.abs().to(kind) for kind in KINDS}
    return every | {"empty": torch.empty(4, 0), "point": torch.tensor(2.5), "view": numbers.t()[1:], "twice": numbers}


@pytest.mark.parametrize("written", ["encode", "write"])
def test_safetensors_reads_what_is_written(written, tmp_path):
    path = tmp_path / "state.safetensors"
    if written == "write":
        checkpoint.write(path, tree())
        found, content = load_file(path), path.read_bytes()
    else:
        content = checkpoint.encode(tree())
        found = load(content)
    assert found.keys() == tree().keys()
    for name, tensor in tree().items():
        assert found[name].dtype is tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(*(each.reshape(-1).view(torch.uint8) for each in (found[name], tensor)))
    assert checkpoint.fingerprint(checkpoint.decode(content)) == checkpoint.fingerprint(tree())


def test_both_ways_to_write_give_the_same_bytes(tmp_path):
    checkpoint.write(tmp_path / "state", tree())
    assert (tmp_path / "state").read_bytes() == checkpoint.encode(tree())


def test_numbers_lie_where_their_type_wants_them():
    content = checkpoint.encode(tree())
    length = int.from_bytes(content[:8], "little")
    assert checkpoint._header(content)["format"] == checkpoint.FORMAT
    assert length % 8 == 0
    for name, about in json.loads(content[8 : 8 + length]).items():
        if name != "__metadata__":
            assert about["data_offsets"][0] % tree()[name].element_size() == 0, name


def test_a_file_that_the_library_wrote_is_read_as_before():
    own = {"model/w": torch.arange(6.0).view(2, 3), "masks/w": torch.tensor([True, False])}
    words = '{"model": {"w": {"__tensor__": "model/w"}}, "masks": {"w": {"__tensor__": "masks/w"}}}'
    content = save(own, metadata=checkpoint._metadata(own, words))
    found = checkpoint.decode(content)
    assert torch.equal(found["model"]["w"], own["model/w"])
    assert torch.equal(found["masks"]["w"], own["masks/w"])
