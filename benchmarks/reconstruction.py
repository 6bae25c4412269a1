"""Reconstruction on a trained network: what layers lose with half of their inputs, by who chooses and what is refitted.

The trained ResNet-20 for CIFAR-10 (`load_trained`). Inside of each block half of the channels go, chosen by LASSO (He
et al. 2017), ThiNet's two rules (Luo et al. 2017, 2018), the filters' L1 norms, the largest contributions, as the first
ones, or at random (mean of ten). The layer that reads them keeps its weights, gets a scale for each channel, or all of
its weights by least squares. Errors are |outputs - original outputs|² / |original outputs|² on training images on which
nothing was fitted; each layer alone, the others whole. `apart` is how far least squares are from `numpy.linalg.lstsq`,
in float64 on the inputs of 20 images: the largest difference of two weights, of channels that are not dead.

With --whole, then all blocks at once, and no training afterwards: accuracy on the first 1,000 test images. Nothing was
tuned. Prints the rows and writes them to --csv. Takes a minute on one core, and three more with --whole.
"""

import argparse
import csv
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sapwood import METHODS, Batch, Run, Task, sites, start
from sapwood.methods.parts.ranking import drawn
from sapwood.reconstruction import contributions, lasso_channels, output_error, refit, thinet
from sapwood.reconstruction.units import columns_of
from sapwood.scoring.evidence import Statistic
from sapwood.scoring.layout import matrix
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import gram
from sapwood.selection import select
from sapwood.shrinking.cutting.units import reading_layer, unit_of_columns
from sapwood.shrinking.tracing.site import Site
from sapwood.tasks.resnet20_cifar_trained import resnet20_cifar_trained
from sapwood.training.loop import evaluate
from sapwood.trials.provenance import commit

HALF, FITTED, HELD, TESTED, DRAWS = 0.5, 200, 100, 1_000, 10
inputs = Statistic("inputs", lambda s: s.x_NI.double())  # of one batch: the samples themselves
Row = dict[str, object]
WHOLE: dict[str, tuple[str, Mapping[str, Any]]] = {  # (method, options) of the whole network's rows
    "nothing goes": ("dense", {"stop": "none"}),
    "LASSO, least squares": ("lasso_channels", {}),
    "L1, least squares": ("lasso_channels", {"lasso": False}),
    "random, least squares": ("lasso_channels", {"lasso": False, "by": "random_neuron"}),
    "ThiNet keep, scales": ("thinet", {"between": 0, "recover": 0}),
    "L1, as they were": ("l1_filters", {}),
    "random, as they were": ("l1_filters", {"by": "random_neuron"}),
}


def choices(run: Run, site: Site, w_OI: Tensor, gram_II: Tensor, unit_of_I: Tensor) -> dict[str, Tensor]:
    """Which half of the units stays, {who chooses: bool [units]}."""
    half = partial(select.by_count, counts={"": site.units - round(HALF * site.units)})
    made = run.model.get_submodule(site.name).weight.detach().double().flatten(1)  # type: ignore[operator]
    energy = contributions(w_OI, gram_II, unit_of_I=unit_of_I).gram_UU.diagonal()
    solve = partial(thinet, w_OI, gram_II, sparsity=HALF, unit_of_I=unit_of_I)
    return {
        "LASSO": lasso_channels(w_OI, gram_II, sparsity=HALF, unit_of_I=unit_of_I)[1],
        "ThiNet keep": solve()[1],
        "ThiNet remove": solve(rule="remove")[1],
        "L1": half({"": made.abs().sum(1)})[""],
        "largest contributions": half({"": energy})[""],
        "first": half({"": -torch.arange(float(site.units))})[""],
    }


def layer_rows(run: Run) -> Iterator[Row]:
    """The rows of each layer."""
    found = {site.name: site for site in sites(run.apart.one) if reading_layer(run.model, site)}
    readers = {name: reading_layer(run.model, site) for name, site in found.items()}
    batches = [drawn(run, samples, what) for samples, what in ((FITTED, "fitted"), (HELD, "held out"))]
    fitted, held = (observe(run.model, each, gram, only=readers.values()) for each in batches)
    few = [Batch(batches[0][0].inputs[:20], batches[0][0].targets[:20])]
    for name, site in found.items():
        layer = run.model.get_submodule(readers[name])
        w_OI = matrix(layer, layer.weight).detach().double()  # type: ignore[arg-type]
        unit_of_I = unit_of_columns(run.model, next(site.at("reads")))
        error = partial(output_error, original_OI=w_OI, gram_II=held[readers[name]][gram])
        least = partial(refit, w_OI, fitted[readers[name]][gram])
        row: Row = {"layer": readers[name], "channels": site.units}
        for choice, keep in choices(run, site, w_OI, fitted[readers[name]][gram], unit_of_I).items():
            stay_I = columns_of(keep, unit_of_I)
            row |= {"kept": int(keep.sum()), "chosen by": choice}
            yield row | {"refitted": "nothing", "error": error(w_OI * stay_I)}
            if choice.startswith("ThiNet"):
                rule = choice.partition(" ")[2]
                scaled, _ = thinet(w_OI, fitted[readers[name]][gram], sparsity=HALF, unit_of_I=unit_of_I, rule=rule)
                yield row | {"refitted": "scales", "error": error(scaled)}
            far = apart(run, readers[name], few, w_OI, stay_I) if choice == "LASSO" else ""
            yield row | {"refitted": "weights", "error": error(least(keep=stay_I)[0]), "apart": far}
        luck, errors = torch.Generator().manual_seed(0), []
        for _ in range(DRAWS):
            keep = torch.zeros(site.units, dtype=torch.bool)
            keep[torch.randperm(site.units, generator=luck)[: int(row["kept"])]] = True  # type: ignore[call-overload]
            errors.append(error(least(keep=columns_of(keep, unit_of_I))[0]))
        yield row | {"chosen by": "random", "refitted": "weights", "error": sum(errors) / DRAWS}


def apart(run: Run, name: str, few: list[Batch], w_OI: Tensor, stay_I: Tensor) -> float:
    """How far `refit` and `numpy.linalg.lstsq` are apart on a few images: no Gram matrix, and no ridge there."""
    x_NI = observe(run.model, few, inputs, only=[name])[name][inputs]
    alive_I = stay_I & (x_NI != 0).any(0)
    best = np.linalg.lstsq(x_NI[:, alive_I].numpy(), (x_NI @ w_OI.T).numpy(), rcond=None)[0]
    mine = refit(w_OI, x_NI.T @ x_NI, keep=stay_I)[0][:, alive_I].T.numpy()
    return float(np.abs(mine - best).max())


def whole_rows(task: Task) -> Iterator[Row]:
    """The rows of the whole network: half of the channels inside of every block, at once."""
    for label, (method, options) in WHOLE.items():
        run = start(task)
        about: dict[str, Any] = {"epochs": 0, "tune": 0, "samples": FITTED, **options}
        known = inspect.signature(METHODS[method]).parameters
        list(METHODS[method](run, **{name: value for name, value in about.items() if name in known}))
        choice, _, refitted = label.partition(", ")
        yield {"layer": "all", "chosen by": choice, "refitted": refitted, "accuracy": evaluate(run, "test")["accuracy"]}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--csv", type=Path)
    options.add_argument("--whole", action="store_true", help="the whole network as well")
    given = options.parse_args()
    task = resnet20_cifar_trained()
    data = replace(task.data, valid=task.data.valid.take(slice(0, 500)), test=task.data.test.take(slice(0, TESTED)))
    task = replace(task, data=data)
    rows: list[Row] = []
    for row in chain(layer_rows(start(task)), whole_rows(task) if given.whole else ()):
        rows.append({"network": "ResNet-20"} | row | {"torch": torch.__version__, "commit": commit()})
        print(*(f"{value:.3g}" if isinstance(value, float) else value for value in row.values()), sep="  ", flush=True)
    if given.csv:
        names = list(dict.fromkeys(name for row in rows for name in row))
        with given.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
