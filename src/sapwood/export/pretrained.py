"""Pretrained: a smaller Hugging Face model as a folder from which `from_pretrained` loads it, sapwood or no sapwood."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.export.agreement import TOLERANCE, disagreement
from sapwood.export.caches import without_caches
from sapwood.export.widths import Blueprint, config_of, sayable
from sapwood.measure.example import Example
from sapwood.shrinking.finding import sites
from sapwood.shrinking.tracing.site import Site


@checked()
def to_transformers(model: nn.Module, example: Example, folder: Path | str, *, tolerance: float = TOLERANCE) -> float:
    """Write a shrunk Hugging Face model to a folder that `AutoModel...from_pretrained` loads in any process.

    Its `save_pretrained` writes it with a config that has the true widths: `intermediate_size`, heads, their width,
    whatever numbers the class builds its layers from, lists by layer too. The folder is then loaded by transformers'
    Auto class and compared; returned is the largest difference over the largest output, on the example and on random
    inputs. Above `tolerance` it is an InputError. The folder is there only when all went well; the model is unchanged.

    InputError: the config has no numbers for these widths. It names the layers that differ where it has one number for
    all layers (`prune(..., uniform=True)`), or for which it has none (`keep=export.not_in_config(model, example)`).
    """
    folder = Path(folder)
    _refuse_misfits(model, folder)
    config = config_of(model, model.config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside, _quiet():
        written = Path(beside, "model")
        with _configured(model, config):
            model.save_pretrained(written)  # type: ignore[operator]  # of Hugging Face's models
        again = _loaded(type(model), type(config), written).to(next(model.parameters()).device)
        with without_caches(model), without_caches(again):
            what = "the model that from_pretrained loads"
            found = disagreement(model, again, example, any_batch=False, tolerance=tolerance, what=what)
        written.rename(folder)
    return found


@checked()
def not_in_config(model: nn.Module, example: Example) -> list[str]:
    """Names of the sites whose widths no number of a Hugging Face model's config gives, for `keep=` of `prune`.

    Of BERT's these are the attention heads, as its heads are always as wide as the stream divided by their number, and
    the pooler. What is pruned besides them, with `uniform=True`, `to_transformers` can write. Takes as long as `sites`
    and a few seconds.
    """
    _refuse_others(model)
    with without_caches(model):
        found = sites(model, example)
    said = sayable(Blueprint(model, model.config), [set(_dims(site)) for site in found])
    return [site.name for site, is_said in zip(found, said, strict=True) if not is_said]


def _dims(site: Site) -> Iterator[tuple[str, int]]:
    return ((slot.tensor, slot.dim) for slot in site.slots)


def _refuse_misfits(model: nn.Module, folder: Path) -> None:
    _refuse_others(model)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; give the name of a new folder, or remove it first")


def _refuse_others(model: nn.Module) -> None:
    if not isinstance(model, nn.Module) or not hasattr(model, "save_pretrained") or not hasattr(model, "config"):
        raise InputError(
            f"model is a {type(model).__name__}, no model of transformers; use export.save, or give the model inside"
        )


def _loaded(kind: Any, config: type, folder: Path) -> nn.Module:
    """The model in a folder, by the Auto class that gives its class, or by its class itself where none does."""
    for auto in (*_autos(kind, config), kind):
        model, told = auto.from_pretrained(folder, output_loading_info=True)
        if wrong := {what: sorted(map(str, names)) for what, names in told.items() if names}:
            raise InputError(f"from_pretrained does not load {kind.__name__} as it was written: {wrong}")
        if type(model) is kind:
            break
    found: nn.Module = model
    return found


def _autos(kind: type, config: type) -> list[Any]:
    """The Auto classes that know this class as one for this config."""
    autos = [each for name, each in vars(import_module("transformers.models.auto.modeling_auto")).items()
             if name.startswith("AutoModel") and getattr(each, "_model_mapping", None) is not None]  # fmt: skip
    given = ((auto, auto._model_mapping[config]) for auto in autos if config in auto._model_mapping)
    return [auto for auto, kinds in given if kind in (kinds if isinstance(kinds, tuple) else (kinds,))]


@contextmanager
def _configured(model: Any, config: Any) -> Iterator[None]:
    """The model with another config, as long as it is written."""
    own, model.config = model.config, config
    try:
        yield
    finally:
        model.config = own


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' warnings and bars, whose subject is compared here anyhow."""
    logging: Any = import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
