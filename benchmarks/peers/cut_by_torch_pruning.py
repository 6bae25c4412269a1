"""Torch-Pruning's networks for the study `fewer_macs`, as files that its arms begin with.

The trained networks are cut by its `MagnitudePruner` in one step, the classifier an ignored layer, with the ratio that
leaves the most multiply-adds of those that leave no more than the study's budget asks for:

- *L1*: `MagnitudeImportance(p=1)`; *group norm*: `GroupMagnitudeImportance()`; the same ratio for all layers, widths as
  they fall: its defaults;
- *LAMP*: the same two with `normalizer="lamp"`, ranked over all layers, widths by 8 (`round_to=8`) as ours are, or
  *any*. Of its normalisers this one and norm scales alone leave the first residual stream whole at half of the work
  (`half_of_resnet56.py --scan`).

Needs torch-pruning beside sapwood; the study itself does not. Files that are there are left alone. Their digests are
written beside the kept results, which can then be read without the files.
"""

import argparse
import sys
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import torch_pruning as tp
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sapwood import export
from sapwood.models.resnet_cifar import load_trained
from sapwood.study.study import find

find("fewer_macs")
arms: Any = sys.modules["sapwood_study_fewer_macs.arms"]
STEPS = 128  # of the ratio
Group = tp.importance.GroupMagnitudeImportance
HOW: dict[str, tuple[Callable[[], Any], bool, int | None]] = {  # arm's way -> importance, over all layers, widths
    "L1": (lambda: Group(p=1), False, None),
    "L1, LAMP": (lambda: Group(p=1, normalizer="lamp"), True, 8),
    "group norm": (lambda: Group(), False, None),
    "group norm, LAMP": (lambda: Group(normalizer="lamp"), True, 8),
    "group norm, LAMP, any": (lambda: Group(normalizer="lamp"), True, None),
}


def cut(depth: int, way: str, ratio: float, example: torch.Tensor) -> nn.Module:
    """What it makes of the trained network."""
    importance, everywhere, widths = HOW[way]
    model = load_trained(depth).eval()
    pruner = tp.pruner.MagnitudePruner(model, example, importance=importance(), global_pruning=everywhere,
                                       pruning_ratio=ratio, round_to=widths, ignored_layers=[model.linear])  # fmt: skip
    pruner.step()
    return model


def macs(model: nn.Module, example: torch.Tensor) -> int:
    """Multiply-adds of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(example)
    return int(counter.get_total_flops()) // 2


@cache
def shares(depth: int, way: str) -> dict[float, float]:
    """{ratio: the share of the multiply-adds that is left}; it need not fall, since widths are rounded."""
    example = torch.zeros(1, 3, 32, 32)
    whole = macs(load_trained(depth), example)
    ratios = [number / STEPS for number in range(1, STEPS)]
    return {ratio: macs(cut(depth, way, ratio, example), example) / whole for ratio in ratios}


def write(net: Any, depth: int, folder: Path) -> None:
    """The files of one network that are not there yet."""
    for budget, (share, ways, _) in net.budgets.items():
        for way in (each for each in arms.PEERS if each in (ways or arms.PEERS)):
            path = folder / arms.file_name(f"{net.name}, {way}, {budget}")
            if not path.is_file():
                found = shares(depth, how := way.removeprefix("Torch-Pruning, "))
                ratio = max((each for each in found if found[each] <= share), key=lambda each: found[each])
                if any(found[ratio] <= less < share for less, *_ in net.budgets.values()):
                    print(f"{path.name} is not written: it would be that of a smaller budget", flush=True)
                    continue
                export.save(cut(depth, how, ratio, torch.zeros(1, 3, 32, 32)), path, of=load_trained(depth))
                print(f"{path}: ratio {ratio}, {100 * found[ratio]:.2f} % of the multiply-adds", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=arms.FILES)
    parser.add_argument("--depth", type=int, nargs="+", default=[20, 56], choices=[20, 56])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for net, depth in ((arms.SMALL, 20), (arms.LARGE, 56)):
        if depth in chosen.depth:
            write(net, depth, chosen.folder)
    digests = (
        f"{sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sorted(chosen.folder.glob("*tensors"))
    )
    arms.KEPT.write_text("\n".join([*digests, ""]), "utf-8")
