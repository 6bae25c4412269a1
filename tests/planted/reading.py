"""Laws of what is read and written for trials and networks, and bugs planted in it: words believed, files torn."""

import errno
import json
import multiprocessing
import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from safetensors.torch import save as file_of
from torch import nn

from sapwood import checkpoint, schema
from sapwood.checks import Laws, tiny_task
from sapwood.checks.law import demand
from sapwood.data import idx
from sapwood.errors import InputError
from sapwood.export import network, packed
from sapwood.shrinking.cutting.narrow import NarrowAttention
from sapwood.training import run as running
from sapwood.training.run import start
from sapwood.trials import archive as kept
from sapwood.trials import execution as run
from sapwood.trials import folder, pool, rows

ROW = rows.Row(1, 1, 0, "train", "loss", 0.5)


def refused(action, what) -> None:
    """The action ends in an InputError; nothing else will do."""
    try:
        action()
    except InputError:
        return
    except Exception as error:
        demand(False, f"{what}: {type(error).__name__}")
    demand(False, f"{what} was read")


def reading_laws() -> Laws:
    """Files whose digests are right and whose words are not."""
    return {
        "reading: a row has the kinds that its format has": _rows,
        "reading: rows that changed after the trial was over are refused": _sealed,
        "reading: a number in a kept file is written as it would be kept": _numbers,
        "reading: a checkpoint's words are those that would be written for it": _trees,
        "reading: a key is said once": _twice,
        "reading: a run goes on only from what its optimiser can go on from": _optimisers,
        "reading: only torch's attention is made narrow": _narrow,
        "reading: the sizes on a module are those of its tensors": _sizes,
        "reading: a shape that cannot be is refused": _shapes,
    }


def _rows() -> None:
    for name, value in (("step", "x"), ("metric", []), ("value", {}), ("epoch", 1.5), ("step", -1)):
        line = json.dumps(ROW._asdict() | {name: value}).encode() + b"\n"
        refused(partial(rows.rows_in, line, Path("rows.jsonl")), f"{name} {value!r}")


def _sealed() -> None:
    with TemporaryDirectory() as name:
        at, content = Path(name), rows.in_lines(ROW, ROW)
        (at / "rows.jsonl").write_bytes(content)
        (at / "done").write_bytes(folder.in_json(folder.ending({"seconds": 1.0, "steps": 1, "epochs": 1}, content)))
        demand(folder.rows_of(at) == [ROW, ROW], "the rows are not read")
        (at / "rows.jsonl").write_bytes(rows.in_lines(ROW))
        refused(partial(folder.rows_of, at), "one row less")


def _numbers() -> None:
    line = {"trial": "a", "split": "train", "metric": "loss", "phase": "0", "step": "1", "epoch": "1", "value": "0.5"}
    for name, value in (("step", "1_0"), ("epoch", " 1"), ("phase", "\u0663"), ("value", "nan"), ("value", "1e999")):
        parse = partial(kept._checked, Path("rows.csv"), 2, kept._row, line | {name: value})
        refused(parse, f"{name} {value!r}")


def _trees() -> None:
    tensors = {"a": torch.ones(2), "b": torch.zeros(2)}
    for words in (
        '{"a": {"__tensor__": "a"}, "b": {"__tensor__": "a"}}',
        '{"a": {"__tensor__": "a"}}',
        '{"a": {"__tensor__": "a", "more": 1}, "b": {"__tensor__": "b"}}',
        '{"a": {"__tensor__": "a"},  "b": {"__tensor__": "b"}}',
    ):
        content = file_of(tensors, metadata=checkpoint._metadata(tensors, words))
        refused(partial(checkpoint.decode, content), words)


def _twice() -> None:
    with suppress(schema.Unexpected):
        demand(schema.parse('{"seed": 0, "seed": 1}') is None, "a key that is said twice was read")


def _optimisers() -> None:
    made = start(tiny_task(), 0)
    for parameter in made.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.optimizer.step()
    saved = made.state()
    saved["optimizer"]["state"] = {at: dict.fromkeys(kept_, 7) for at, kept_ in saved["optimizer"]["state"].items()}
    again = start(tiny_task(), 0, saved=saved)
    refused(again.enter, "an optimiser that keeps 7 for everything")


def _forged(changes, model: nn.Module, make) -> None:
    """Loads a network file whose words were changed by `changes` and whose digest is right."""
    with TemporaryDirectory() as name:
        path = Path(name) / "n.safetensors"
        network.save(model, path, of=make())
        tensors, words = packed.unpack(path.read_bytes(), "n")
        changes(words)
        path.write_bytes(packed.pack(tensors, words))
        network.load(path, make)


def _line() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def _thin() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))


def _narrow() -> None:
    for name in ("0", "", "1", "nowhere"):
        change = partial(dict.update, narrow=[name])
        refused(lambda change=change: _forged(change, _line(), _line), f"narrow {name!r}")


def _sizes() -> None:
    def wrong(words):
        for change in words["changes"]:
            change["now"] = {name: value + 5 for name, value in change["now"].items()}

    refused(lambda: _forged(wrong, _thin(), _line), "a Linear of another size than its weights")


def _shapes() -> None:
    for sizes in ([1] * 65, [0, 2**32 - 1, 2**32 - 1, 2**32 - 1]):
        head = bytes([0, 0, 8, len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes)
        refused(partial(idx.decode, head + b"x" * (sizes[0] == 1)), f"{len(sizes)} dimensions")


def trouble_laws() -> Laws:
    """What goes wrong around a trial."""
    return {
        "trouble: failed is whole or not there": _failed,
        "trouble: a worker ends with its parent": _orphan,
        "trouble: rows that do not fit on the disk are an error": _full,
        "trouble: the second on a folder is told who the first is": _second,
    }


def _failed() -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with TemporaryDirectory() as name, patch("os.fsync", full):
        with suppress(KeyError), run._failures_kept(Path(name)):
            raise KeyError("this trial's own")
        demand(os.listdir(name) == [], f"on a full disk, {os.listdir(name)} was left")


def _orphan() -> None:
    """`_prepare` in this process: whatever it starts runs at once, and beside it stands a parent that has ended."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    theirs.close()
    ended = []
    with (
        patch.object(pool, "Thread", lambda target, daemon: SimpleNamespace(start=target)),
        patch.object(multiprocessing, "parent_process", lambda: SimpleNamespace(sentinel=ours)),
        patch.object(os, "_exit", ended.append),
        patch.object(signal, "signal", lambda *_: None),
        patch.object(torch, "set_num_threads", lambda _: None),
        patch.object(pool, "_tell", None, create=True),
    ):
        pool._prepare(SimpleNamespace(put=None))
    demand(ended == [1], "the worker goes on without its parent")


def _full() -> None:
    with TemporaryDirectory() as name, rows.RowFile(Path(name) / "rows.jsonl") as file:
        taken, real = [], file._file
        little = SimpleNamespace(write=lambda content: taken.append(bytes(content[:5])) or len(taken[-1]))
        with patch.object(file, "_file", little):
            file.write(ROW)
        real.close()
        demand(b"".join(taken) == rows.in_lines(ROW), "a row of which only a part fitted was taken for written")


def _second() -> None:
    with TemporaryDirectory() as name, folder.alone(Path(name)):
        try:
            with folder.alone(Path(name)):
                demand(False, "two at once")
        except folder.Busy as busy:
            demand(str(os.getpid()) in str(busy), f"it is not said who: {busy}")


def all_narrow(model, name):
    dict(model.named_modules()).get(name, model).__class__ = NarrowAttention


def trusting(words, tensors):
    return checkpoint._put_together(json.loads(words), tensors)


def last_wins(pairs):
    return dict(pairs)


def write_once(file, *every):
    file._file.write(rows.in_lines(*every))


def in_place(path, content):
    path.write_bytes(content)


MUTANTS = (
    *bugs("reading", reading_laws, {
        "a row has the kinds that its format has": {
            "whatever a row says is believed": instead(rows, "ROW", lambda found, where: None),
        },
        "rows that changed after the trial was over are refused": {
            "the digest of rows is that of none": instead(folder, "digest", lambda content: ""),
        },
        "a number in a kept file is written as it would be kept": {
            "numbers are read as Python reads them": instead(schema, "read_whole", int),
            "a value need not be finite": instead(schema, "read_number", float),
        },
        "a checkpoint's words are those that would be written for it": {
            "a checkpoint's words are not written again to compare": instead(checkpoint, "_tree", trusting),
        },
        "a key is said once": {
            "of a key that is said twice the last wins": instead(schema, "_once", last_wins),
        },
        "a run goes on only from what its optimiser can go on from": {
            "the optimiser is not tried": instead(running, "refuse_useless_optimizer", lambda *_: None),
        },
        "only torch's attention is made narrow": {
            "whatever is called narrow is made so": instead(network, "narrow_", all_narrow),
        },
        "the sizes on a module are those of its tensors": {
            "sizes on modules are believed": instead(network, "refuse_unfitting", lambda *_: None),
        },
        "a shape that cannot be is refused": {
            "as many dimensions as the header likes": instead(idx, "MOST", 255),
        },
    }),
    *bugs("trouble", trouble_laws, {
        "failed is whole or not there": {
            "failed is written in place": instead(checkpoint, "replace", in_place),
        },
        "a worker ends with its parent": {
            "a worker does not look after its parent": instead(pool, "_end_with_parent", lambda: None),
        },
        "rows that do not fit on the disk are an error": {
            "how much was written is not asked": instead(rows.RowFile, "write", write_once),
        },
        "the second on a folder is told who the first is": {
            "nobody writes down who has the lock": instead(folder, "_who", lambda at: ""),
        },
    }),
)  # fmt: skip
