"""Fit: numbers in the model's own modules that must change with its tensors, such as a count of heads.

Code reads its sizes from tensors or from attributes. Which attributes count is found by trying: the smaller model is
run without numbers (on torch's meta device), and where it fails, the attributes of that module that equal a size which
has changed are changed too. A wrong guess does not pass: the sizes that views give where units lie are compared with
the numbers of units that stay, whatever becomes of them; and `shrink` compares the outputs.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import accumulate, islice, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.measure.example import Example, as_tuple, call
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cutting.cut import Keep, Positions, cut_, positions
from sapwood.shrinking.cutting.equal import difference, inputs, most, raised_, zero_
from sapwood.shrinking.cutting.lent import Lent, lending
from sapwood.shrinking.cutting.resize import knows
from sapwood.shrinking.cutting.sizes import NUMBER, Wanted, unseen, wanted, wrong_in
from sapwood.shrinking.cutting.wide import in_widest
from sapwood.shrinking.failure import Failure, stopped
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.bare import Copies, Numbers, inputs_for, meeting, ways
from sapwood.shrinking.tracing.computed import twin
from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.shrinking.tracing.reads import Number, seeing_reads
from sapwood.shrinking.tracing.site import Site
from sapwood.shrinking.tracing.steps import Sizes
from sapwood.shrinking.tracing.training import Trained

Attributes = dict[str, dict[str, int]]  # {module: {attribute: its new value}}
Options = dict[str, list[int | None]]  # {attribute: what it may become, None if it stays}
GUESSES = 24  # about one module
BEFORE = 2  # modules that have run, where those in whose code a run stopped have no attributes to change
ENDED = 10**9  # more than any run has modules


@dataclass
class _Stage:
    """A model without numbers, on which cuts are tried."""

    copies: Copies
    sites: Sequence[Site]
    keep: Keep
    example: tuple[Any, ...]
    numbers: Numbers = "none"
    shapes: list[torch.Size] = field(default_factory=list)
    sizes: Sizes = field(default_factory=Sizes)  # of the last run
    whole: Sizes = field(default_factory=Sizes)  # of the model as it is
    read: Set[Number] | None = None  # the numbers that the last run looked at; None: any

    @property
    def model(self) -> nn.Module:
        """The model as it is."""
        return self.copies.model

    @cached_property
    def places(self) -> Positions:
        """What stays of the tensors."""
        return positions(self.sites, self.keep)

    def run(self, attributes: Attributes, places: Positions) -> Failure | list[torch.Size]:
        """The output's shapes, or where it stopped."""
        done: list[str] = []
        with self.copies.fresh(self.numbers) as model:
            cut_(model, places)
            set_(model, attributes)
            own = {id(module): name for name, module in model.named_modules()}
            hook = register_module_forward_hook(
                lambda module, *_: done.append(own[id(module)]) if id(module) in own else None
            )
            with seeing_reads(self.watched) as read:
                self.read = read if self.copies.plain else None
                try:
                    with untouched(model), meeting(self.numbers, self.copies), Sizes() as self.sizes:
                        return shapes_of(call(model, deepcopy(inputs_for(self.example, self.numbers))))
                except Exception as error:  # the model's own code, on sizes that it may not expect
                    failure = stopped(model, error, len(done), self.read)
                    return replace(failure, inside=self.suspects(failure, done))
                finally:
                    hook.remove()

    def suspects(self, failure: Failure, done: Sequence[str]) -> tuple[str, ...]:
        """The modules in whose code a run stopped, or the last before them, whose wrong sizes may have run as well."""
        able = {name for name, options in self.options.items() if options}
        able = set(_looked_at(self, {name: dict.fromkeys(self.options[name], 0) for name in able}, failure))
        if able & {*failure.inside}:
            return failure.inside
        return tuple(islice((name for name in dict.fromkeys(reversed(done)) if name in able), BEFORE))

    def failure(self, attributes: Attributes) -> Failure | None:
        """Where the smaller model stops with these attributes; None if it runs and gives the same shapes."""
        found = self.run(attributes, self.places)
        if isinstance(found, Failure):
            return found
        if found != self.shapes:
            return Failure("its outputs would have other shapes", self.inside, ENDED, self.read)
        if (wrong := wrong_in(self.sizes, self.wanted, self.whole)) is not None:
            return Failure(wrong.text, self.inside, ENDED + 1 + wrong.right, self.read)
        return None if self.alike(attributes) else Failure("its outputs would be others", self.inside, 2 * ENDED)

    def alike(self, attributes: Attributes) -> bool:
        """Whether the outputs are the same, where a size worked out wrongly would run as well and is not seen."""
        going = [site for site in self.sites if site.name in self.keep]
        if not any(site.guessed or site.doubted or unseen(self.sizes, site) for site in going):
            return True

        def seen(dtype: torch.dtype, lent: Lent | None) -> None:
            whole = raised_(twin(self.model), dtype, lent, stirs=True)
            small = twin(whole)
            cut_(small, self.places)
            set_(small, attributes)
            if lent is not None:
                lent.cut_(small, whole, self.places)
            pair = zero_(whole, self.sites, self.keep, lent), small
            found = difference(*pair, inputs(self.example, 0, dtype), dtype, awake=True, lent=lent)
            if not found <= most(dtype):
                raise InputError(f"the outputs would differ by {found:.1e}")

        with suppress(Exception):  # with numbers the model's own code may go where it did not without
            in_widest(self.model, lambda dtype: lending(self.model, dtype, partial(seen, dtype)))
            return True
        return False

    @cached_property
    def changed(self) -> dict[str, set[tuple[int, int]]]:
        """{start of tensors' names, as "a.b.": (old, new) sizes of them and of the sites that sit on them}."""
        sizes = [(t, (len(stay), int(stay.sum()))) for t, dims in self.places.items() for stay in dims.values()]
        for site in (site for site in self.sites if site.name in self.keep):
            size = site.units, int(self.keep[site.name].sum())
            sizes += [(tensor, size) for tensor in dict.fromkeys(slot.tensor for slot in site.slots)]
        found = dict[str, set[tuple[int, int]]]()
        for tensor, size in sizes:
            for start in accumulate(tensor.split(".")[:-1], lambda before, part: f"{before}{part}.", initial=""):
                found.setdefault(start, set()).add(size)
        return found

    @cached_property
    def watched(self) -> list[Number]:
        """Numbers that may change; none where graphs run that torch compiles, as it would compile the watching, too."""
        return self.copies.numbers if self.copies.plain and self.keep else []

    @cached_property
    def wanted(self) -> Wanted:
        """What views must give."""
        return wanted(self.sites, self.keep)

    @property
    def inside(self) -> tuple[str, ...]:
        """All modules with attributes that may have to change, the innermost first."""
        return tuple(sorted((n for n, found in self.options.items() if found), key=lambda name: -name.count(".")))

    @cached_property
    def options(self) -> dict[str, Options]:
        """What may change of each module."""
        return {name: _options(self, name, module) for name, module in self.model.named_modules()}


@dataclass(frozen=True)
class Whole:
    """What the model as it is gives."""

    shapes: list[torch.Size]
    sizes: Sizes
    numbers: Numbers


def whole_of(anatomy: Anatomy) -> Whole:
    """What the model gives as it is; an InputError where it does not run."""
    seen = anatomy.copies.evaluated if anatomy.plain else None
    if isinstance(seen, Trained) and seen.numbers != "all":  # which run with other operators here
        return Whole(seen.shapes, seen.sizes, seen.numbers)
    return anatomy.once("whole", lambda: _whole_of(anatomy.copies, anatomy.example, anatomy.plain))


def _whole_of(copies: Copies, example: Example, plain: bool) -> Whole:
    said = ""
    for numbers in (each for each in ways(copies.model) if plain or each != "inputs"):
        stage = _Stage(copies, (), {}, as_tuple(example), numbers)
        found = stage.run({}, {})
        if not isinstance(found, Failure):
            return Whole(found, stage.sizes, numbers)
        said = found.text
    raise InputError(f"{type(copies.model).__name__} does not run on this example: {said}")


def fitted(anatomy: Anatomy, sites: Sequence[Site], keep: Keep) -> Attributes:
    """The attributes with which the smaller model runs; an InputError that names a line if there are none."""
    if not positions(sites, keep):
        return {}
    whole, example = whole_of(anatomy), as_tuple(anatomy.example)
    return _search(_Stage(anatomy.copies, sites, keep, example, whole.numbers, whole.shapes, whole=whole.sizes))


def _search(stage: _Stage) -> Attributes:
    found: Attributes = {}
    failure = stage.failure(found)
    while failure is not None:
        better = next(_better(stage, found, failure), None)
        if better is None:
            raise InputError(_written(stage.sites, stage.keep, failure))
        found, failure = better
    return found


def _written(sites: Sequence[Site], keep: Keep, failure: Failure) -> str:
    """The operator to blame: the one on whose line the run stopped, or the first that sizes may be written into."""
    going = [site for site in sites if site.name in keep and not bool(keep[site.name].all())]
    operators = [operator for site in going for operator in site.asked]
    here = [operator for operator in operators if operator.rpartition("(")[2].rstrip(")") in failure.text]
    first = next(iter([*here, *operators]), "an operator")
    if failure.text.endswith(NUMBER):
        return f"{failure.text}: give it one of its own, or keep all units of this size"
    return (
        f"a size may be written into {first}: write -1 or take it from the tensor there, or keep all units that "
        f"pass it; the smaller network {'does not run' if failure.done < ENDED else 'runs wrongly'}: {failure.text}"
    )


def _better(stage: _Stage, found: Attributes, failure: Failure) -> Iterator[tuple[Attributes, Failure | None]]:
    """Attributes with which the model gets further, and to where: the same in all modules of a kind, or in one."""
    tried = [_looked_at(stage, found, failure)]
    for name in failure.inside:
        options = stage.options[name]
        guesses = (dict(zip(options, values, strict=True)) for values in product(*options.values()))
        for guess in islice(guesses, GUESSES):
            for guessed in (_everywhere(stage, found, name, guess), found | {name: _without_none(guess)}):
                seen = _looked_at(stage, guessed, failure)
                if seen not in tried:
                    tried.append(seen)
                    further = stage.failure(guessed)
                    if further is None or further.done > failure.done:
                        yield guessed, further


def _looked_at(stage: _Stage, attributes: Attributes, failure: Failure) -> Attributes:
    """Those that had been read when a run stopped: others did not stop it."""
    kinds = {name: type(stage.model.get_submodule(name)) for name in attributes}
    seen = {
        name: {a: value for a, value in values.items() if failure.read is None or (kinds[name], a) in failure.read}
        for name, values in attributes.items()
    }
    return {name: values for name, values in seen.items() if values}


def _everywhere(stage: _Stage, found: Attributes, name: str, guess: Mapping[str, int | None]) -> Attributes:
    """Apply one module's guess to every module of its class with equal attributes; each gets a size of its own."""
    module = stage.model.get_submodule(name)
    values, every = {attribute: getattr(module, attribute) for attribute in guess}, dict(found)
    for other, like in stage.model.named_modules():
        if type(like) is type(module) and all(getattr(like, a, None) == value for a, value in values.items()):
            own = stage.options[other]
            told = {a: size for a, size in guess.items() if size is not None and a in own}
            every[other] = _without_none({a: size if size in own[a] else own[a][0] for a, size in told.items()})
    return every


def _without_none(guess: Mapping[str, int | None]) -> dict[str, int]:
    return {attribute: value for attribute, value in guess.items() if value is not None}


def _options(stage: _Stage, name: str, module: nn.Module) -> Options:
    """Those that equal a size which changes below this module."""
    values = {attribute: value for attribute, value in vars(module).items() if type(value) is int}
    if not values or knows(module):
        return {}
    changes = _changes(stage, name, module)
    return {attribute: [*sorted(changes[value]), None] for attribute, value in values.items() if value in changes}


def _changes(stage: _Stage, name: str, module: nn.Module) -> dict[int, set[int]]:
    """{old size: new sizes} of tensors below a module, and of their sites; of all where it has none of its own."""
    own, changes = next(named_tensors(module), None), dict[int, set[int]]()
    for old, new in stage.changed.get(f"{name}." if name and own else "", ()):
        changes.setdefault(old, set()).add(new)
    return {old: {size for size in new if size != old} for old, new in changes.items()}


def set_(model: nn.Module, attributes: Attributes) -> None:
    """Give modules their new numbers."""
    for name, values in attributes.items():
        for attribute, value in values.items():
            setattr(model.get_submodule(name), attribute, value)


def shapes_of(outputs: Any) -> list[torch.Size]:
    """Of all tensors in what a model gives."""
    return [leaf.shape for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
