"""Bugs planted in what feeds training: samples, windows of text, batches, shares, means, fresh weights."""

from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from itertools import count
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead

from sapwood import samples
from sapwood.checks import Laws
from sapwood.checks import samples as samples_checks
from sapwood.checks import task as task_checks
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_samples, tiny_task
from sapwood.samples import Batch, Data
from sapwood.task import Task
from sapwood.windows import IGNORED, Windows, tokens

# The package gives some of these names to functions in them; the modules are wanted here.
tasks, training = import_module("sapwood.task"), import_module("sapwood.train")
order, batch, take, glimpse = tasks._order, Task.batch, Batch.take, samples.glimpse

BYTES = torch.randint(256, (61,), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def samples_laws() -> Laws:
    """Tensors in memory."""
    changed = tiny_samples()
    changed.targets[0] += 1
    return samples_checks.laws("in memory", tiny_samples(), changed)


def task_laws() -> Laws:
    """The tiny task."""
    return task_checks.laws("tiny", tiny_task())


def text_laws() -> Laws:
    """Words of text whose last window is a short one, and a network that reads them."""
    return task_checks.laws("of text", text_task())


def text_task() -> Task:
    """61 bytes in windows of 7: nine, of which the last has 4."""
    windows = Windows(BYTES, 7)
    return Task(
        "text", _reader, Data(windows, windows, windows), lambda p: torch.optim.SGD(p, lr=0.1), 4,
        loss=lambda model, batch, outputs: torch.nn.functional.cross_entropy(
            outputs.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED),
        metrics=lambda outputs, batch: {}, goal=("loss", "down"), count=tokens,
    )  # fmt: skip


def _reader() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Embedding(256, 4), torch.nn.Linear(4, 256))


def windows_laws() -> Laws:
    """What a text's windows say of it."""
    return {
        "windows: every token but the first is a target once, in order": _every_token,
        "windows: a target is the token after its input": _next,
    }


def _every_token() -> None:
    for length in (1, 7, 12, 60, 80):
        targets = Windows(BYTES, length).take(slice(None)).targets.flatten()
        found = targets[targets != IGNORED].tolist()
        demand(found == BYTES[1:].tolist(), f"windows of {length}: {len(found)} targets of 60, or others")


def _next() -> None:
    after = {(number, after) for number, after in zip(BYTES.tolist(), BYTES[1:].tolist(), strict=False)}
    for length in (1, 7, 60):
        inputs, targets = Windows(BYTES, length).take(slice(None))
        told = targets != IGNORED
        pairs = set(zip(inputs[told].tolist(), targets[told].tolist(), strict=True))
        demand(pairs <= after, f"windows of {length}: {len(pairs - after)} pairs that the text does not have")


def from_a_cursor():
    """Each call begins one further, as an iterator that nobody told of the numbers."""
    calls = count()
    return patch.object(Batch, "take", lambda batch, index: take(batch, _moved(index, len(batch), next(calls))))


def _moved(index, length, by):
    return index if isinstance(index, slice) else (index + by) % length


def sorted_for_the_disk(batch, index):
    return take(batch, index if isinstance(index, slice) else index.sort().values)


def without_the_last(batch, index):
    if not isinstance(index, slice):
        return take(batch, index)
    return take(batch, slice(index.start, min(index.stop or len(batch), len(batch) - 1)))


def shape_only(split):
    return {name: torch.tensor(part.shape) for name, part in glimpse(split).items()}


def in_the_order_of_calls():
    """The next batch of the epoch, whichever was asked for."""
    calls = count()
    return patch.object(
        Task, "batch", lambda task, seed, step, share=slice(None): batch(task, seed, next(calls), share)
    )


def with_replacement(number, size, device, seed, epoch):
    luck = torch.Generator().manual_seed(seed * 1_000 + epoch)
    return torch.split(torch.randint(number, (number,), generator=luck), size)


def the_same_every_epoch(number, size, device, seed, epoch):
    return order(number, size, device, seed, 0)


def shares_overlap(task, seed, step, share=slice(None)):
    return batch(task, seed, step, slice(share.start, share.stop))


def share_of_the_split(task, seed, step, share=slice(None)):
    """Each process goes through a part of the data of its own."""
    whole = batch(task, seed, step)
    return whole if share == slice(None) else whole.take(slice(0, None, share.step))


def rows_for_tokens():
    """`_add` by rows, whatever the task counts."""
    add = training._add
    return patch.object(training, "_add", lambda sums, task, *rest: add(sums, replace(task, count=len), *rest))


def seeding_everybody(module, seed):
    torch.manual_seed(seed)
    return nullcontext()


def seed_forgotten(module, seed):
    return torch.random.fork_rng(devices=[])


def overlapping(windows):
    """Windows that begin with the last target of the one before and end one early."""
    padded = torch.full((len(windows) * windows.length + 1,), IGNORED, dtype=torch.int16)
    padded[: len(windows.tokens)] = windows.tokens
    return padded.unfold(0, windows.length + 1, windows.length + 1)


def a_token_too_far(windows, index):
    rows = windows._rows[index].long()
    return Batch(rows[:, :-1].clamp(min=0), rows[:, 1:].roll(-1, 1))


MUTANTS = (
    *bugs(
        "samples in memory",
        samples_laws,
        {
            "the same numbers give the same samples, whatever was taken before": {
                "samples read from where the last call ended": from_a_cursor
            },
            "a batch is its samples one by one, in the order asked for": {
                "samples in the order of the file": instead(Batch, "take", sorted_for_the_disk)
            },
            "a slice is its numbers, up to the last sample": {
                "a slice leaves the last sample out": instead(Batch, "take", without_the_last)
            },
            "other samples have another digest, the same have the same": {
                "a digest of shapes alone": instead(samples, "glimpse", shape_only)
            },
        },
    ),
    *bugs(
        "task tiny",
        task_laws,
        {
            "a batch depends on seed and step, not on what was asked before": {
                "the next batch, whichever is asked for": in_the_order_of_calls
            },
            "an epoch has every training sample once, another epoch and another seed in another order": {
                "samples drawn with replacement": instead(tasks, "_order", with_replacement),
                "every epoch in the same order": instead(tasks, "_order", the_same_every_epoch),
            },
            "the shares of all processes are the batch, and none has another's sample": {
                "shares overlap": instead(Task, "batch", shares_overlap),
                "every process has the first one's share": instead(Task, "batch", share_of_the_split),
            },
            "fresh weights are those that a run begins with, and nobody else's luck changes": {
                "fresh weights seed everybody's generator": instead(tasks, "seeded", seeding_everybody),
                "fresh weights from whatever luck there is": instead(tasks, "seeded", seed_forgotten),
            },
            "the example is a training sample, and the network answers it": {
                "an example of zeros": instead(Task, "example", property(lambda task: torch.zeros(1, 6).double()))
            },
        },
    ),
    *bugs(
        "task of text",
        text_laws,
        {
            "means over a split do not depend on how it is cut into batches": {
                "batches weighed by rows, not tokens": rows_for_tokens
            }
        },
    ),
    *bugs(
        "windows",
        windows_laws,
        {
            "every token but the first is a target once, in order": {
                "windows overlap by a target": instead(Windows, "_rows", property(overlapping))
            },
            "a target is the token after its input": {
                "targets two tokens ahead": instead(Windows, "take", a_token_too_far)
            },
        },
    ),
)
