"""The table of readers: a good file for each, what is read of it, and forgeries whose digests are right.

`again` writes what was read and reads that: whatever a forgery may say, what is taken from it must be something that
this package could have written.
"""

import csv
import gzip
import io
import json
import lzma
import shutil
import struct
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b, sha256
from math import prod
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import mutations
import torch
import torch.distributed as dist
from safetensors.torch import load as tensors_in
from safetensors.torch import save as file_of
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from sapwood import checkpoint, codec, export
from sapwood.checks import tiny_model, tiny_task
from sapwood.codec import file as swz
from sapwood.data import cifar10, idx
from sapwood.data.shards import Shards, write_shards
from sapwood.export import packed, scan_kept
from sapwood.processes import digest as digest_of
from sapwood.shrinking.shrunk import compact
from sapwood.study import cost, maps
from sapwood.training import parts
from sapwood.training.loop import train
from sapwood.training.run import start
from sapwood.training.samples import Batch
from sapwood.trials import archive as kept
from sapwood.trials.execution import run_trial
from sapwood.trials.folder import OVER, digest, ending, in_json, read_trial, rows_of, sums, weights_of
from sapwood.trials.rows import Row, in_lines
from sapwood.trials.trial import Trial, id_of

Files = dict[str, bytes]


@dataclass(frozen=True)
class Reader:
    """A reader of files: `covers` names the functions in the package that read for it."""

    covers: tuple[str, ...]
    make: Callable[[], Files]
    read: Callable[[Path], Any]
    forge: Callable[[Files, Random], Files]
    again: Callable[[Any, Path], Any]
    spoils: tuple[str, ...] = ()  # the files that are mutated; all when empty


def plainly(value: Any) -> Any:
    """What can be compared: tensors as type, shape and bytes, networks as all that is in them."""
    if isinstance(value, nn.Module):
        kinds = {name: (type(m).__name__, m.extra_repr()) for name, m in value.named_modules()}
        named = [*value.named_parameters(remove_duplicate=False), *value.named_buffers(remove_duplicate=False)]
        return repr(kinds), [(name, t.requires_grad, t.stride(), plainly(t)) for name, t in named]
    if isinstance(value, Tensor):
        flat = value.detach().contiguous().reshape(-1)
        return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    if isinstance(value, dict):
        return [(key, plainly(each)) for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plainly(each) for each in value]
    return repr(value)


def written(folder: Path, files: Files) -> Path:
    """The folder with these files and no others."""
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def in_folder(make: Callable[[Path], Any]) -> Files:
    """What `make` leaves in a folder of its own."""
    with TemporaryDirectory() as folder:
        make(Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def text_of(value: Any) -> bytes:
    """The JSON in bytes, halves of characters included."""
    return mutations.text(value).encode(errors="surrogatepass")


def tensors_changed(tensors: dict[str, Tensor], luck: Random) -> dict[str, Tensor]:
    """One tensor gone, renamed, of another type or shape, or one more."""
    name = luck.choice([*tensors, "x"])
    tensor = tensors.get(name, torch.zeros(2))
    more = [
        {}, {name: tensor.reshape(-1)}, {name: tensor[None]}, {name + "x": tensor}, {name: tensor.double()},
        {name: tensor.to(torch.int32)}, {name: tensor.bool()}, {name: tensor.reshape(-1)[:-1].clone()},
        {name: torch.zeros(0, 2**20)}, {name: tensor.to(torch.uint8)}, {name: tensor * 0},
    ]  # fmt: skip
    return {each: t for each, t in tensors.items() if each != name} | luck.choice(more)


# Networks as .swz


def _swz_network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3), nn.Linear(3, 90), nn.Linear(90, 8)
    )
    with torch.no_grad():
        model[0].weight.copy_((model[0].weight * 4).round() / 4)
        model[5].weight.copy_((torch.randn(8, 90) * 2).round() * (torch.rand(8, 90) < 0.1)).add_(0)
    return model


def _swz_forged(files: Files, luck: Random) -> Files:
    said, streams = swz.unpack(files["n.swz"], "n.swz")
    words = text_of(mutations.words(said, luck) if luck.random() < 0.7 else said)
    streams = mutations.raw(streams, luck) if luck.random() < 0.5 else streams
    head = swz.HEAD.pack(swz.MAGIC, swz.VERSION, len(words))
    return {"n.swz": head + blake2b(head + words + streams, digest_size=swz.DIGEST).digest() + words + streams}


def _swz_again(model: nn.Module, folder: Path) -> Any:
    codec.save(model, folder / "again.swz")
    return codec.load(folder / "again.swz", _swz_network)


# Networks as .safetensors


class Mixed(nn.Module):
    """Channels last, a tie, heads, numbers on itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)
        self.twin = nn.Linear(4, 3)
        self.twin.weight = self.head.weight
        self.width = 4

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu().flatten(2).transpose(1, 2)
        return self.head(x + self.attention(x, x, x, need_weights=False)[0]) + self.twin(x)


def _mixed() -> nn.Module:
    torch.manual_seed(0)
    return Mixed().eval()


def _small(folder: Path) -> None:
    model = _mixed()
    with torch.no_grad():
        model.attention.in_proj_weight[:2] = model.attention.in_proj_weight[4:6] = 0
        model.attention.in_proj_bias[:2] = model.attention.in_proj_bias[4:6] = 0
        model.attention.in_proj_weight[8:10] = model.attention.in_proj_bias[8:10] = 0
        model.attention.out_proj.weight[:, :2] = 0
    small = compact(model, example=torch.randn(2, 2, 3, 3)).model
    small.conv.to(memory_format=torch.channels_last)
    export.save(small, folder / "n.safetensors", of=_mixed())


def _reshaped(content: bytes, luck: Random) -> Files:
    """One tensor of another shape, as its words say, or one attribute of another value, with a right digest."""
    tensors, words = packed.unpack(content, "n.safetensors")
    name = luck.choice([each for each in words["tensors"] if each in tensors])
    here, now = tensors[name], luck.choice(words["changes"])["now"]
    shapes = [here[None], here[1:] if here.dim() else here, here.flatten(), here.repeat(*[2] * max(here.dim(), 1))]
    if luck.random() < 0.6:
        tensors[name] = luck.choice([*shapes, here.sum()]).contiguous()
        words["tensors"][name].update(shape=tuple(tensors[name].shape), stride=None)
    else:
        attributes = (*now, "stride", "groups", "num_heads", "kernel_size", "eps", "embed_dim", "width")
        now[luck.choice(attributes)] = luck.choice((None, 0, 1, -1, 2, 2.0, True, (), (2, 2), [2], 10**30))
    return {"n.safetensors": packed.pack(tensors, words)}


def _export_forged(files: Files, luck: Random) -> Files:
    content = files["n.safetensors"]
    if luck.random() < 0.3:
        return _reshaped(content, luck)
    flat, text = tensors_in(content), json.loads(packed._header(content)[packed.ENTRY])["words"]
    about: Any = {"version": 1, "digest": "", "words": text}
    if luck.random() < 0.85:
        about["words"] = mutations.text(mutations.words(json.loads(text), luck))
    if luck.random() < 0.2:
        flat = tensors_changed(flat, luck)
    about["digest"] = packed._digest(flat, about["words"])
    if luck.random() < 0.05:
        about = mutations.words(about, luck)
    return {"n.safetensors": file_of(flat, metadata={packed.ENTRY: mutations.text(about)})}


def _export_again(model: nn.Module, folder: Path) -> Any:
    model(torch.zeros(2, 2, 3, 3).to(next(model.parameters()).dtype)) if _of_one_type(model) else None
    export.save(model, folder / "again.safetensors", of=_mixed())
    return export.load(folder / "again.safetensors", _mixed)


def _with_masks(folder: Path) -> None:
    _small(folder)
    model = export.load(folder / "n.safetensors", _mixed)
    masks = {name: p.detach() > 0 for name, p in model.named_parameters() if p.dim() > 1}
    export.save(model, folder / "n.safetensors", of=_mixed(), masks=masks)
    (folder / "n.safetensors").rename(folder / "weights.safetensors")


def _rebuilt_read(folder: Path) -> Any:
    return export.load(folder / "weights.safetensors", _mixed), weights_of(folder)["masks"]


def _rebuilt_forged(files: Files, luck: Random) -> Files:
    forged = _export_forged({"n.safetensors": files["weights.safetensors"]}, luck)
    return {"weights.safetensors": forged["n.safetensors"]}


def _rebuilt_again(found: tuple[nn.Module, dict[str, Tensor]], folder: Path) -> Any:
    export.save(found[0], folder / "weights.safetensors", of=_mixed(), masks=found[1])
    return _rebuilt_read(folder)


def _of_one_type(model: nn.Module) -> bool:
    """A forger may say that a bias is float64: the network then is what he says, and torch does not run it."""
    tensors = [*model.parameters(), *model.buffers()]
    return {each.dtype for each in tensors if each.is_floating_point()} in ({torch.float32}, {torch.float64})


# Checkpoints: any tree, and a run's state


def _tree() -> dict[str, Any]:
    return {
        "w": torch.arange(6.0).reshape(2, 3), "mask": torch.tensor([True, False]), "none": torch.zeros(0, 2),
        "numbers": {"step": 7, "loss": 0.5, "yes": True, "no": None, "best": float("inf")},
        "by number": {1: {"avg": torch.zeros(2)}, 0: 3}, "lists": [1, [2.5, "drei"], (4, torch.ones(2)), {}, []],
    }  # fmt: skip


def _checkpoint_forged(files: Files, luck: Random) -> Files:
    ((name, content),) = files.items()
    tensors, tree = tensors_in(content), checkpoint._header(content)["tree"]
    if luck.random() < 0.85:
        tree = mutations.text(mutations.words(json.loads(tree), luck))
    if luck.random() < 0.25:
        tensors = tensors_changed(tensors, luck)
    return {name: file_of(tensors, metadata=checkpoint._metadata(tensors, tree))}


def _tree_again(tree: dict[str, Any], folder: Path) -> Any:
    checkpoint.write(folder / "again", tree)
    return checkpoint.read(folder / "again")


def _scan_file(folder: Path) -> None:
    kept = scan_kept.kept_of(folder / "a.scan", nn.Linear(2, 2), 0.5)
    for count in (1, 3):
        kept.add(scan_kept.in_order("0", torch.arange(4)), count, count / 7)


def _scan_again(found: Any, folder: Path) -> Any:
    checkpoint.write(folder / "again.scan", {"scan": found})
    return scan_kept.read_scan(folder / "again.scan")


def _saved_run(folder: Path) -> None:
    run = start(tiny_task(), 0)
    run.prune({"0.weight": torch.arange(48).reshape(8, 6) % 3 > 0})
    moments = train(run, steps=3)
    next(moments)
    run.save(folder / "state.safetensors")
    moments.close()


def _run_read(folder: Path) -> Any:
    """The state that a run goes on from, and that it can make a step from there."""
    run = start(tiny_task(), 0, saved=folder / "state.safetensors")
    run.enter()
    state = checkpoint.encode(run.state())
    run = start(tiny_task(), 0, saved=folder / "state.safetensors")
    moments = train(run, steps=run.step + 2)
    next(moments, None)
    moments.close()
    return checkpoint.decode(state)


# A state in parts


def _parts(folder: Path) -> None:
    """Of one process, which has all parts."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        run = start(replace(tiny_task(), model=lambda: fully_shard(tiny_model())), 0)
        next(train(run, steps=1))
        run.save(folder / "run")
    finally:
        dist.destroy_process_group()
    for path in (folder / "run").rglob("*.safetensors"):
        path.rename(folder / "+".join(path.relative_to(folder / "run").parts))
    shutil.rmtree(folder / "run")


def _parts_read(folder: Path) -> Any:
    shutil.rmtree(folder / "run", ignore_errors=True)
    for path in folder.glob("*.safetensors"):
        there = folder / "run" / path.name.replace("+", "/")
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    try:
        return parts.read(folder / "run")
    finally:
        shutil.rmtree(folder / "run", ignore_errors=True)


def _parts_forged(files: Files, luck: Random) -> Files:
    return files | _checkpoint_forged({parts.REST: files[parts.REST]}, luck)


# Data sets


def _idx_file() -> Files:
    plain = struct.pack(">BBBB3I", 0, 0, 0x0B, 3, 2, 3, 4) + bytes(range(48))
    return {"images": plain, "images.gz": gzip.compress(plain, mtime=0)}


def _idx_forged(files: Files, luck: Random) -> Files:
    code, sizes = luck.choice([*idx.TYPES, 7]), [luck.choice((0, 1, 2, 3, 65, 2**31, 2**32 - 1)) for _ in range(9)]
    sizes = luck.choice((sizes, [1] * luck.randrange(70)))[: luck.randrange(1, 70)]
    if luck.random() < 0.5:  # so that there are as many values as it says
        sizes = [luck.choice((0, 1, 2, 3)) for _ in range(luck.randrange(6))]
    fitting = prod(sizes) * (1, 2, 4, 8)[luck.randrange(4)]
    values = luck.randbytes(fitting if fitting < 4096 else luck.choice((0, 1, 2, 8, 24, 48, 192)))
    plain = struct.pack(f">BBBB{len(sizes)}I", 0, 0, code, len(sizes), *sizes) + values
    spoilt = mutations.raw(plain, luck)
    return {
        "images": luck.choice((plain, spoilt)),
        "images.gz": gzip.compress(luck.choice((plain, spoilt)), 1, mtime=0),
    }


def _idx_read(folder: Path) -> Any:
    return [idx.read(path) for path in sorted(folder.iterdir())]


def _idx_again(arrays: list[Tensor], folder: Path) -> Any:
    codes = {torch.uint8: 8, torch.int8: 9, torch.int16: 11, torch.int32: 12, torch.float32: 13, torch.float64: 14}
    again = []
    for array in arrays:
        head = struct.pack(f">BBBB{array.dim()}I", 0, 0, codes[array.dtype], array.dim(), *array.shape)
        values = array.numpy().astype(idx.TYPES[codes[array.dtype]]).tobytes()
        again.append(idx.decode(head + values))
    return again


def _records(number: int) -> bytes:
    return bytes([number]) + bytes(i % 256 for i in range(3072)) + bytes([9]) + bytes([number]) * 3072


TARBALL = next(iter(cifar10.TARBALL))


def _tarball(records: Files, spoil: Callable[[bytes], bytes] = bytes) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in records.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size, member.pax_headers = len(content), {"comment": "x"}
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(spoil(plain.getvalue()), 1, mtime=0)


def _cifar_files() -> Files:
    every = {name: _records(number) for number, name in enumerate(cifar10.RECORDS)}
    filters = [{"id": lzma.FILTER_DELTA, "dist": 1}, {"id": lzma.FILTER_LZMA2, "preset": 0}]
    xz = lzma.compress(every["test_batch.bin"], filters=filters)
    return {"data_batch_1.bin": every["data_batch_1.bin"], "test_batch.bin.xz": xz, TARBALL: _tarball(every)}


def _cifar_forged(files: Files, luck: Random) -> Files:
    every = {name: _records(number) for number, name in enumerate(cifar10.RECORDS)}
    one = luck.choice([*every])
    records = every | {one: luck.choice((mutations.raw(every[one], luck), bytes(3073 * luck.randrange(4)), b""))}
    spoil = luck.choice((bytes, lambda plain: mutations.raw(plain, luck)))
    return {
        "data_batch_1.bin": luck.choice((records["data_batch_1.bin"], mutations.raw(every["data_batch_1.bin"], luck))),
        "test_batch.bin.xz": lzma.compress(mutations.raw(every["test_batch.bin"], luck), preset=0),
        TARBALL: _tarball(records, spoil),
    }


def _cifar_read(folder: Path) -> Any:
    one = cifar10._files({path.name: path for path in folder.iterdir() if path.name != TARBALL})
    whole = cifar10._members({TARBALL: folder / TARBALL})
    contents = [one("data_batch_1.bin"), one("test_batch.bin"), *map(whole, cifar10.RECORDS)]
    return [[torch.tensor(part) for part in cifar10.decode(each, source=str(folder))] for each in contents]


def _cifar_again(parts: Any, folder: Path) -> Any:
    raw = [torch.cat([labels[:, None], images.flatten(1)], 1).numpy().tobytes() for images, labels in parts]
    return [[torch.tensor(part) for part in cifar10.decode(each)] for each in raw]


# Samples in shards


def _shards(folder: Path) -> None:
    luck = torch.Generator().manual_seed(0)
    inputs = {"x": torch.randn(7, 3, generator=luck), "there": torch.rand(7, generator=luck) < 0.5}
    write_shards(Batch(inputs, torch.arange(7)), folder / "new", size=4)
    for path in (folder / "new").iterdir():
        path.rename(folder / path.name)
    (folder / "new").rmdir()


def _shards_read(folder: Path) -> Any:
    batch = Shards(folder, threads=1).take(slice(None))
    return batch.named()


def _shards_forged(files: Files, luck: Random) -> Files:
    one = luck.choice([*files])
    tensors = tensors_changed(tensors_in(files[one]), luck)
    about = {"format": "sapwood-shard-1", "digest": digest_of(tensors).hex()}
    about = mutations.words(about, luck) if luck.random() < 0.3 else about
    words = (*about, *about.values()) if isinstance(about, dict) else (0,)
    named = all(isinstance(word, str) and word.isprintable() for word in words)
    return files | {one: file_of(tensors, metadata=about if named else {"format": "sapwood-shard-1"})}


def _shards_again(named: Any, folder: Path) -> Any:
    inputs = {name.removeprefix("inputs/"): part for name, part in named.items() if name != "targets"}
    whole = inputs["inputs"] if set(inputs) == {"inputs"} else inputs
    return write_shards(Batch(whole, named["targets"]), folder / "again", size=3).take(slice(None)).named()


# Results of trials

TRIAL = Trial.make("dense", "mlp_digits", 0, "a row", epochs=1, stop="epochs").under(learning_rate=0.05)
ROWS = [Row(step, step // 3, None if step == 7 else 0, "valid", "accuracy", step / 7) for step in range(8)]
NAMES = ("trial.json", "rows.jsonl", "done")


def _trial_files() -> Files:
    files = in_folder(lambda folder: run_trial(TRIAL, folder, final=lambda run: [("test", "accuracy", 0.5)]))
    rows = in_lines(*ROWS)
    return files | {"rows.jsonl": rows, "done": in_json(ending({"seconds": 1.5, "steps": 7, "epochs": 1}, rows))}


def _trial_forged(files: Files, luck: Random) -> Files:
    about = mutations.words(json.loads(files["trial.json"]), luck)
    if luck.random() < 0.5 and isinstance(about, dict) and isinstance(about.get("identity"), dict):
        about["id"] = id_of(about["identity"])
    return files | {"trial.json": text_of(about)}


def _rows_forged(files: Files, luck: Random) -> Files:
    lines = [json.loads(line) for line in files["rows.jsonl"].splitlines()]
    at = luck.randrange(len(lines))
    changed = [text_of(mutations.words(row, luck)) if n == at else text_of(row) for n, row in enumerate(lines)]
    rows = b"\n".join(changed) + b"\n" * (luck.random() < 0.9)
    return files | {"rows.jsonl": rows, "done": in_json(json.loads(files["done"]) | {"rows": digest(rows)})}


def _done_forged(files: Files, luck: Random) -> Files:
    return {name: text_of(mutations.words(json.loads(files["done"]), luck)) for name in OVER[:1]}


def _trial_again(about: dict[str, Any], folder: Path) -> Any:
    return read_trial(written(folder, {"trial.json": in_json(about)}))


def _rows_again(rows: list[Row], folder: Path) -> Any:
    return rows_of(written(folder, {"rows.jsonl": in_lines(*rows)}))


def _weights_again(saved: dict[str, Any], folder: Path) -> Any:
    checkpoint.write(folder / "weights.safetensors", saved)
    return weights_of(folder)


def _kept_files() -> Files:
    def make(folder: Path) -> None:
        results = folder / "results"
        results.mkdir()
        (results / TRIAL.id).mkdir()
        written(results / TRIAL.id, _trial_files())
        kept.add(results, folder, [TRIAL])
        for path in sorted(results.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        results.rmdir()

    return {name: content for name, content in in_folder(make).items() if name.endswith((".csv", ".txt"))}


def _kept_forged(files: Files, luck: Random) -> Files:
    name = luck.choice(["trials.csv", "rows.csv"])
    lines = list(csv.reader(io.StringIO(files[name].decode())))
    line = luck.choice(lines)
    at = luck.randrange(len(line))
    if lines[0][at] in ("identity", "options") and line is not lines[0]:
        line[at] = mutations.text(mutations.words(json.loads(line[at]), luck))
    else:
        odd = ("", "-1", "nan", "1e999", "1_0", "\u0663", " 7", "x", "9" * 5000, "../x", "a | b", "\0", "0.5", "\r")
        line[at] = luck.choice((*odd, line[at] + "0", *line))
    with suppress(ValueError, RecursionError):  # an identity that is no JSON has no id
        if luck.random() < 0.3 and "identity" in lines[0]:
            lines[-1][0] = id_of(json.loads(lines[-1][lines[0].index("identity")]))
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([*lines, *([luck.choice(lines)] if luck.random() < 0.1 else [])])
    forged = files | {name: out.getvalue().encode(errors="surrogatepass")}
    digests = "".join(f"{sha256(forged[each]).hexdigest()}  {each}\n" for each in ("trials.csv", "rows.csv"))
    return forged | {each: digests.encode() for each in files if each == "digests.txt"}


def _kept_again(found: list[Any], folder: Path) -> Any:
    for each in found:
        kept._put(each, folder / each.about["id"])
    return [(read_trial(at), sums(at), rows_of(at)) for at in (folder / each.about["id"] for each in found)]


def _maps_again(found: Any, folder: Path) -> Any:
    saved = {trial: {n: maps._packed(each) for n, each in seen.items()} for trial, seen in found.items()}
    checkpoint.write(folder / "again", {"maps": saved})
    return maps._kept(folder / "again")


def _maps_file(folder: Path) -> None:
    alive = (torch.arange(35).reshape(5, 7) % 3 == 0).numpy()
    checkpoint.write(folder / "maps.safetensors", {"maps": {"a": {"w": maps._packed(alive)}}})


def _maps_read(folder: Path) -> Any:
    return maps._kept(folder / "maps.safetensors")


COSTS = [cost.Cost("prune", 10_000, "seconds", 0.25), cost.Cost("prune", 10_000, "bytes", 1024.0)]


def _cost_forged(files: Files, luck: Random) -> Files:
    lines = list(csv.reader(io.StringIO(files["cost.csv"].decode())))
    line = luck.choice(lines)
    line[luck.randrange(len(line))] = luck.choice(("", "nan", "1e999", "-1", "x", '"', "9" * 5000))
    return {"cost.csv": "\n".join(",".join(line) for line in lines).encode()}


def _cost_again(found: list[Any], folder: Path) -> Any:
    cost.write(found, folder / "again.csv")
    return cost.read(folder / "again.csv")


READERS = {
    "swz": Reader(
        ("codec.network.load", "codec.file._words"),
        lambda: in_folder(lambda folder: codec.save(_swz_network(), folder / "n.swz")),
        lambda folder: codec.load(folder / "n.swz", _swz_network), _swz_forged, _swz_again,
    ),
    "network": Reader(
        ("export.network.load", "export.packed.unpack", "export.packed._sound"), lambda: in_folder(_small),
        lambda folder: export.load(folder / "n.safetensors", _mixed), _export_forged, _export_again,
    ),
    "rebuilt": Reader(
        ("export.network._read", "trials.folder.tells_its_network"), lambda: in_folder(_with_masks), _rebuilt_read,
        _rebuilt_forged, _rebuilt_again,
    ),
    "checkpoint": Reader(
        (*(f"training.checkpoint.{name}" for name in ("read", "opened", "_tree", "_header")), "schema.parse",
         "disk.read"), lambda: in_folder(lambda folder: checkpoint.write(folder / "tree", _tree())),
        lambda folder: checkpoint.read(folder / "tree"), _checkpoint_forged, _tree_again,
    ),
    "mapped": Reader(
        ("training.checkpoint._mapped",), lambda: in_folder(lambda folder: checkpoint.write(folder / "tree", _tree())),
        lambda folder: checkpoint.read(folder / "tree", mapped=True), _checkpoint_forged, _tree_again,
    ),
    "scan": Reader(
        ("export.scan_kept.read_scan",), lambda: in_folder(_scan_file),
        lambda folder: scan_kept.read_scan(folder / "a.scan"), _checkpoint_forged, _scan_again,
    ),
    "state": Reader(
        ("training.run.start", "trials.execution._live", "cli.trained._of_checkpoint"),
        lambda: in_folder(_saved_run), _run_read, _checkpoint_forged, _tree_again,
    ),
    "parts": Reader(
        ("training.parts.read", "training.parts._sum", "training.parts._added_up", "training.parts._agreed"),
        lambda: in_folder(_parts), _parts_read, _parts_forged, _tree_again,
    ),
    "idx": Reader(("data.idx.read",), _idx_file, _idx_read, _idx_forged, _idx_again),
    "cifar10": Reader(
        ("data.packed.unpacked", "data.cifar10._members"), _cifar_files, _cifar_read, _cifar_forged, _cifar_again
    ),
    "shards": Reader(
        ("data.shards._opened", "data.shards._paths"), lambda: in_folder(_shards), _shards_read,
        _shards_forged, _shards_again,
    ),
    "trial.json": Reader(
        ("trials.folder.read_trial", "trials.folder._checked"), _trial_files, read_trial, _trial_forged, _trial_again,
        ("trial.json",),
    ),
    "rows.jsonl": Reader(
        ("trials.folder.rows_of", "trials.rows.read_rows", "trials.rows._parsed"), _trial_files, rows_of, _rows_forged,
        _rows_again, ("rows.jsonl",),
    ),
    "done": Reader(
        ("trials.folder._ending",), lambda: {"done": _trial_files()["done"]}, sums, _done_forged,
        lambda found, folder: sums(written(folder, {"kept": in_json(found)})),
    ),
    "weights": Reader(
        ("trials.folder.weights_of",),
        lambda: {"weights.safetensors": _trial_files()["weights.safetensors"]}, weights_of, _checkpoint_forged,
        _weights_again,
    ),
    "kept": Reader(
        ("trials.archive._text_of", "trials.archive._lines", "trials.archive._trial"),
        _kept_files, kept.read_archive, _kept_forged, _kept_again,
    ),
    "maps": Reader(("study.maps._kept",), lambda: in_folder(_maps_file), _maps_read, _checkpoint_forged, _maps_again),
    "cost": Reader(
        ("study.cost.read",), lambda: in_folder(lambda folder: cost.write(COSTS, folder / "cost.csv")),
        lambda folder: cost.read(folder / "cost.csv"), _cost_forged, _cost_again,
    ),
}  # fmt: skip
