"""Trial: one training run as a value - a method, a task, a seed and options - and its identity.

A method's signature is its list of options: their names, types and defaults are read from it, here and nowhere else.
"""

import inspect
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sapwood.errors import InputError, unknown
from sapwood.methods import METHOD_VERSIONS, METHODS, METHODS_BEFORE
from sapwood.tasks import TASK_VERSIONS, TASKS
from sapwood.tasks.recipe import taught, with_recipe
from sapwood.trials.elsewhere import Elsewhere
from sapwood.trials.sense import refuse_senseless
from sapwood.trials.trace import TRACES
from sapwood.trials.values import Value as Value
from sapwood.trials.values import checked
from sapwood.trials.values import parsed as parsed

USES = {
    "start": "begin with its final weights, without its masks",
    "like": "be measured by it: its ranks, its length, whatever the method takes from `run.given`",
    "teacher": "learn from its answers, see `tasks.recipe.taught`",
}

DRAWN = {
    "blank": 2
}  # versions of what is drawn for options of a recipe, where they have risen; before, nothing was said


@dataclass(frozen=True)
class Trial:
    """What is run, in a few names and numbers, so that it travels between processes. Made by `Trial.make`."""

    method: str
    task: str
    seed: int
    options: tuple[tuple[str, Value], ...] = ()  # those that differ from the method's defaults, by name
    arm: str = field(default="", compare=False)  # its label in a study ("row" on disk); not part of what it is
    uses: tuple[tuple[str, "Trial | Elsewhere"], ...] = ()  # what it needs, under the names in `USES`
    traces: tuple[str, ...] = ()  # what else is written down while it runs, from `trials.trace.TRACES`
    recipe: tuple[tuple[str, Value], ...] = ()  # what it changes of its task: `recipe_options`
    before: bool = False  # as of the versions before: see `study.earlier`

    @classmethod
    def make(cls, method: str, task: str, seed: int, arm: str = "", **options: Value) -> "Trial":
        """A checked trial; options equal to the method's defaults are left out."""
        if task not in TASKS:
            raise unknown("task", task, TASKS)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise InputError(f"seed is {seed!r}; give a whole number of 0 or more")
        if "row" in options and "row" not in option_types(method):
            _say_arm()
            arm = str(options.pop("row"))
        given = checked_options(method, options)
        usual = defaults(method)
        refuse_senseless(method, given)
        if missing := [name for name in option_types(method) if name not in usual and name not in given]:
            raise InputError(f"method {method!r} needs option {missing[0]!r}, which has no default; give it a value")
        different = {name: value for name, value in given.items() if name not in usual or usual[name] != value}
        return cls(method, task, seed, tuple(sorted(different.items())), arm or method)

    def after(self, **uses: "Trial | Elsewhere | Path | str") -> "Trial":
        """The same trial, using others that must be finished first: `start`, `like`, `teacher`; see `USES`.

        `start` and `teacher` may be a file of weights instead, from training elsewhere. Its digest is part of what the
        trial is, its path is not. Of a start, the network is the trial's; of a teacher, its task's.
        """
        found = dict(self.uses)
        for name, other in uses.items():
            if name not in USES:
                raise unknown("use of another trial", name, USES)
            found[name] = other if isinstance(other, Trial) else Elsewhere.used(other, name, self.arm)
        return replace(self, uses=tuple(sorted(found.items(), key=lambda use: use[0])))

    def under(self, **recipe: Value) -> "Trial":
        """The same trial with another recipe: options of `tasks.recipe.with_recipe`, and of `taught` for a teacher."""
        changes = dict(self.recipe) | {name: _recipe_value(name, value) for name, value in recipe.items()}
        usual = {name: parameter.default for name, parameter in recipe_options().items()}
        different = {name: value for name, value in changes.items() if value != usual[name]}
        return replace(self, recipe=tuple(sorted(different.items())))

    def tracing(self, *traces: str) -> "Trial":
        """The same trial, recording more while it runs: `traces` are names from `trials.trace.TRACES`."""
        for name in traces:
            if name not in TRACES:
                raise unknown("trace", name, TRACES)
        return replace(self, traces=traces)

    def as_of(self, *, before: bool) -> "Trial":
        """The same trial, and those that it uses, as of today's versions or of the versions before."""
        uses = tuple((name, other.as_of(before=before)) for name, other in self.uses)
        return replace(self, before=before, uses=uses)

    def needed(self, usable: Callable[["Trial"], bool] = lambda other: False) -> list["Trial"]:
        """All prerequisites in dependency order, leaving out the `usable` ones and what only they need."""
        missing = [other for other in self.others if not usable(other)]
        return list(dict.fromkeys(each for other in missing for each in (*other.needed(usable), other)))

    @property
    def others(self) -> list["Trial"]:
        """The trials among what it uses."""
        return [other for _, other in self.uses if isinstance(other, Trial)]

    @property
    def row(self) -> str:
        """The name of `arm` in the last release."""
        _say_arm()
        return self.arm

    @property
    def id(self) -> str:
        """A short digest of the identity: the trial's folder is called so."""
        return id_of(self.identity)

    @property
    def identity(self) -> dict[str, Any]:
        """All that the results depend on, as far as it is said by name; defaults are covered by the versions."""
        methods = METHOD_VERSIONS | METHODS_BEFORE if self.before else METHOD_VERSIONS
        found: dict[str, Any] = {
            "method": f"{self.method}@{methods[self.method]}",
            "task": f"{self.task}@{TASK_VERSIONS[self.task]}",
            "seed": self.seed,
            "options": _in_words(self.options),
        }
        uses = {name: other.id for name, other in self.uses}
        drawn = {} if self.before else {name: DRAWN[name] for name, _ in self.recipe if name in DRAWN}
        more = {"uses": uses, "traces": list(self.traces), "recipe": _in_words(self.recipe), "drawn": drawn}
        return found | {name: value for name, value in more.items() if value}

    def all_options(self) -> dict[str, Value]:
        """Every option of the method with the value it has in this trial."""
        return defaults(self.method) | dict(self.options)


def _say_arm() -> None:
    warnings.warn("a trial's row is its arm now; the old name goes with the next release", DeprecationWarning, 3)


def _in_words(options: tuple[tuple[str, Value], ...]) -> dict[str, Any]:
    """As JSON gives them back: an identity from a file is compared with this one."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options}


def id_of(identity: Mapping[str, Any]) -> str:
    """The id of the trial that has this identity."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return blake2b(canonical.encode(), digest_size=6).hexdigest()


def option_types(method: str) -> dict[str, Any]:
    """The annotation of each option of a method: its keyword-only parameters."""
    return {name: parameter.annotation for name, parameter in _parameters(method).items()}


def defaults(method: str) -> dict[str, Value]:
    """The default of each option that has one."""
    return {name: p.default for name, p in _parameters(method).items() if p.default is not inspect.Parameter.empty}


def checked_options(method: str, options: Mapping[str, Value]) -> dict[str, Value]:
    """The options, each of the type its annotation says (whole numbers become floats where floats are asked for)."""
    types = option_types(method)
    for name in options:
        if name not in types:
            raise unknown(f"option of method {method!r}:", name, types)
    return {name: checked(f"method {method!r}", name, value, types[name]) for name, value in options.items()}


def recipe_options() -> dict[str, inspect.Parameter]:
    """What a trial may change of its task."""
    return _keywords(with_recipe) | _keywords(taught)


def split_recipe(recipe: Mapping[str, Value]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of it is for `with_recipe`, and what for `taught`; checked, since it may be from a file."""
    every = {name: _recipe_value(name, value) for name, value in recipe.items()}
    teaching = {name: value for name, value in every.items() if name in _keywords(taught)}
    return {name: value for name, value in every.items() if name not in teaching}, teaching


def _recipe_value(name: str, value: Value) -> Value:
    known = recipe_options()
    if name not in known:
        raise unknown("option of a task's recipe:", name, known)
    return checked("the recipe", name, value, known[name].annotation)


def parse_option(method: str, name: str, text: str) -> Value:
    """An option's value from what was typed, read as its annotation says.

    true/false, none, a number, numbers with commas or spaces between them (of a tuple), or words.
    """
    types = option_types(method)
    if name not in types:
        raise unknown(f"option of method {method!r}:", name, types)
    return parsed(f"method {method!r}", name, text, types[name])


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotation of each option of a method, or the type of its default; the method need not be in the table."""
    return {
        name: type(each.default) if each.annotation is each.empty else each.annotation
        for name, each in _keywords(function).items()
    }


def _parameters(method: str) -> dict[str, inspect.Parameter]:
    if method not in METHODS:
        raise InputError(f"{unknown('method', method, METHODS)} A method of your own goes into sapwood.METHODS first")
    return _keywords(METHODS[method])


def _keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    every = inspect.signature(function, eval_str=True).parameters
    return {name: p for name, p in every.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
