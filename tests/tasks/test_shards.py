"""Shards: samples in files give the bits that they give in memory, however many threads read them."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from sapwood import InputError, start, train
from sapwood.checks import broken, check_samples, check_task, tiny_task
from sapwood.checks.tiny import tiny_samples
from sapwood.data.shards import Shards, write_shards
from sapwood.training.run import fingerprint
from sapwood.training.samples import Batch, Data, same_samples
from sapwood.training.windows import Windows

WHOLE = tiny_samples(45)


@pytest.fixture
def folder(tmp_path):
    write_shards(WHOLE, tmp_path / "shards", size=8)
    return tmp_path / "shards"


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_shards_are_the_samples_in_memory(folder, threads):
    shards = Shards(folder, threads=threads)
    assert len(list(folder.iterdir())) == 6
    assert same_samples(shards.take(slice(None)), WHOLE)
    index = torch.randperm(45, generator=torch.Generator().manual_seed(1))
    assert same_samples(shards.take(index), WHOLE.take(index))
    assert len(shards.take(index[:0])) == 0


def test_shards_obey_the_laws_of_samples(folder, tmp_path):
    other = Batch(WHOLE.inputs, WHOLE.targets.clone())
    other.targets[44] += 1
    others = write_shards(other, tmp_path / "others", size=8)
    assert broken(check_samples("shards", Shards(folder), others)) == []


def test_training_from_shards_gives_the_bits_of_training_from_memory(folder):
    memory = replace(tiny_task(), data=replace(tiny_task().data, train=WHOLE))
    files = replace(memory, data=replace(memory.data, train=Shards(folder)))
    assert broken(check_task("shards", files)) == []
    ends = []
    for task in (memory, files):
        run = start(task)
        losses = [now.loss for now in train(run, epochs=2)]
        ends.append((losses, [p.tolist() for p in run.model.parameters()]))
    assert ends[0] == ends[1]
    assert fingerprint(files) != fingerprint(memory)  # what a digest is made of differs


def test_a_batch_of_shards_reads_the_files_that_it_is_in(folder):
    task = replace(tiny_task(), data=Data(Shards(folder), WHOLE, WHOLE), batch_size=2)
    seen = next(islice(task.batches(0, 0), 1))
    used = sum("sound" in shard.__dict__ for shard in task.data.train._shards)
    assert len(seen) == 2
    assert used <= 2


@pytest.mark.parametrize(
    "samples",
    [
        Batch((torch.arange(5), torch.rand(5, 2)), torch.arange(5)),
        Batch({"words": torch.arange(5), "mask": torch.tensor([True, False, True, True, False])}, torch.arange(5)),
        Windows(torch.arange(30, dtype=torch.uint8), 7),
    ],
)
def test_inputs_come_back_as_they_were(samples, tmp_path):
    shards = write_shards(samples, tmp_path / "new", size=2)
    whole = samples.take(slice(None))
    assert same_samples(shards.take(slice(None)), whole)
    assert type(shards.take(slice(None)).inputs) is type(whole.inputs)
    assert shards.to("cpu") is shards


def test_what_is_not_whole_is_refused_by_name(folder):
    first, *_, last = sorted(folder.iterdir())
    content = first.read_bytes()
    first.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"00000-of-00006.safetensors is damaged: its content does not match"):
        Shards(folder).take(slice(0, 1))
    first.write_bytes(content)
    last.unlink()
    with pytest.raises(InputError, match=r"are not whole \(5: 00000-of-00006"):
        Shards(folder)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda folder: Shards(folder / "nowhere"), "cannot read the shards in .*nowhere"),
        (lambda folder: Shards(folder, threads=0), "threads is 0"),
        (lambda folder: Shards(folder).take(torch.tensor([45])), "samples 45 to 45 of .* give numbers from 0 to 44"),
        (lambda folder: write_shards(WHOLE, folder, size=8), "cannot make the folder"),
        (lambda folder: write_shards(WHOLE, folder / "new", size=0), "size is 0"),
    ],
)
def test_bad_input_is_refused(folder, call, says):
    with pytest.raises(InputError, match=says):
        call(folder)
