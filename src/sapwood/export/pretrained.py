"""Pretrained: a smaller Hugging Face model as a folder from which `from_pretrained` loads it, sapwood or no sapwood."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.export.agreement import TOLERANCE, disagreement
from sapwood.export.caches import without_caches
from sapwood.export.widths import Blueprint, built, config_of, sayable, sizes_of
from sapwood.measure.example import Example, as_tuple, call
from sapwood.scoring.modes import evaluating
from sapwood.shrinking.finding import sites as sites_of
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
        found = sites_of(model, example)
    return [site.name for site, said in zip(found, said_by_config(model, found), strict=True) if not said]


def said_by_config(model: nn.Module, sites: Sequence[Site]) -> list[bool]:
    """For each site of a Hugging Face model, whether numbers of its config give how many units there are."""
    return sayable(Blueprint(model, model.config), [set(_dims(site)) for site in sites])


def takes_heads(config: Any, left: int, of: int) -> bool:
    """Whether a Hugging Face config with this share of its heads can be read from its file; some refuse other numbers.

    Llama's wants a number of heads by which the width of the stream can be divided, whatever the width of a head.
    """
    again = deepcopy(config)
    for name in ("num_attention_heads", "num_key_value_heads"):
        if isinstance(heads := getattr(again, name, None), int):
            again.__dict__[again.attribute_map.get(name, name)] = heads * left // of
    try:
        type(again).from_dict(again.to_dict())
    except Exception:  # what a class says of numbers that it does not like
        return False
    return True


def is_pretrained(model: object) -> bool:
    """Whether it is a model of transformers, which writes itself and is built from a config."""
    return isinstance(model, nn.Module) and hasattr(model, "save_pretrained") and hasattr(model, "config")


def follow_(model: Any, example: Example) -> bool:
    """The config of a smaller Hugging Face model gets the numbers that build it; whether there are such numbers.

    If there are, the folder that its `save_pretrained` writes can be loaded. They are taken back where the model's code
    reads them while it runs, so that it would answer otherwise.
    """
    if sizes_of(built(type(model), model.config)) == sizes_of(model):
        return True
    try:
        config = config_of(model, model.config)
    except InputError:
        return False
    before, answer = dict(vars(model.config)), _answer(model, example)
    vars(model.config).update(vars(config))
    now = _answer(model, example)
    if len(now) == len(answer) and all(map(torch.equal, now, answer)):
        return True
    vars(model.config).clear()
    vars(model.config).update(before)
    return False


def unmarked_(model: Any) -> None:
    """A model that was read from GGUF, whose weights are plain numbers by now, no longer says that it is quantised.

    transformers would refuse to write it, and write config and names of weights as those of a quantised one.
    """
    quantizer = getattr(model, "hf_quantizer", None)
    method = getattr(getattr(quantizer, "quantization_config", None), "quant_method", None)
    packed = getattr(quantizer, "packed_modules", None) or not all(p.is_floating_point() for p in model.parameters())
    if quantizer is not None and getattr(method, "value", method) == "gguf" and not packed:
        quantizer.remove_quantization_config(model)


def _answer(model: nn.Module, example: Example) -> list[Tensor]:
    with torch.no_grad(), evaluating(model):
        return [x for x in pytree.tree_leaves(call(model, as_tuple(example))) if isinstance(x, Tensor)]


def _dims(site: Site) -> Iterator[tuple[str, int]]:
    return ((slot.tensor, slot.dim) for slot in site.slots)


def _refuse_misfits(model: nn.Module, folder: Path) -> None:
    _refuse_others(model)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; give the name of a new folder, or remove it first")


def _refuse_others(model: nn.Module) -> None:
    if not is_pretrained(model):
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
