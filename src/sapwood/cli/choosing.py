"""Choosing: which of a study's trials are run (--only), and with which options (--set)."""

from collections.abc import Callable, Iterable, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from sapwood.errors import InputError, unknown
from sapwood.trials.elsewhere import Elsewhere
from sapwood.trials.trial import Trial, Value, option_types, parse_option
from sapwood.trials.values import WrongType

Pair = tuple[str, str]  # key, value as typed
NAMES = ("arm", "method", "task", "seed")  # what a trial has besides its options
WORDS = {
    float: "a number, such as 0.8",
    int: "a whole number, such as 3",
    bool: "true or false",
    tuple: "numbers with commas between them, such as 1,2",
    str: "a word",
    NoneType: "none",
}
BEFORE = {"row": "arm"}  # what a key was called in the last release


def pairs(texts: Iterable[str], option: str) -> list[Pair]:
    """ "key=value" taken apart."""
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{option} {text!r} is not KEY=VALUE; write for example {option} sparsity=0.8")
        found.append((key.strip(), value.strip()))
    return found


def only(trials: Sequence[Trial], wanted: Sequence[Pair]) -> list[Trial]:
    """The trials that have, for each key in `wanted`, one of the values given for it."""
    wanted = [(BEFORE.get(key, key), value) for key, value in wanted]
    for key, value in wanted:
        _refuse_no_match(trials, key, value)
    values = {key: [value for other, value in wanted if other == key] for key, _ in wanted}
    found = [t for t in trials if all(any(_has(t, key, value) for value in among) for key, among in values.items())]
    if not found:
        raise InputError(f"no trial has {' and '.join(f'{key}={value}' for key, value in wanted)} together; "
                         "leave one of them out")  # fmt: skip
    return found


def with_needed(trials: Sequence[Trial], over: Callable[[Trial], bool], usable: Callable[[Trial], bool]) -> list[Trial]:
    """The trials that are not over, each after those it needs and can not use yet."""
    waiting: dict[Trial, None] = {}
    for trial in trials:
        if not over(trial):
            waiting |= dict.fromkeys((*trial.needed(usable), trial))
    return list(waiting)


def without(trials: Iterable[Trial], others: Iterable[Trial]) -> list[Trial]:
    """The trials that are not among others."""
    left_out = set(others)
    return [trial for trial in trials if trial not in left_out]


def changed(trials: Sequence[Trial], changes: Sequence[Pair]) -> list[Trial]:
    """The trials with other values for some options, where the method has them; those that became equal run once."""
    known = {name for trial in trials for name in option_types(trial.method)}
    for name, _ in changes:
        if name not in known:
            raise unknown("option in --set", name, known)
    return list(dict.fromkeys(_with(trial, changes) for trial in trials))


def _with(trial: Trial, changes: Sequence[Pair]) -> Trial:
    mine = [(name, text) for name, text in changes if name in option_types(trial.method)]
    options = dict(trial.options) | {name: _typed(trial.method, name, text) for name, text in mine}
    try:
        made = Trial.make(trial.method, trial.task, trial.seed, trial.arm, **options)
    except InputError as error:
        raise InputError(f"{' '.join(f'--set {name}={text}' for name, text in mine)}: {error}") from error
    made = made.tracing(*trial.traces).under(**dict(trial.recipe))
    uses: dict[str, Trial | Elsewhere] = dict(trial.uses)
    uses |= {name: _with(other, changes) for name, other in trial.uses if isinstance(other, Trial)}
    return made.after(**uses)


def _typed(method: str, name: str, text: str) -> Value:
    """The value that was typed; an error names no method, since --set is for all that have the option."""
    try:
        return parse_option(method, name, text)
    except WrongType as error:
        annotation = option_types(method)[name]
        kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        raise InputError(f"--set {name}={text!r}: give {' or '.join(map(_in_words, kinds))}") from error


def _in_words(kind: Any) -> str:
    """What may be typed for a type."""
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    return WORDS.get(get_origin(kind) or kind, str(kind))


def _refuse_no_match(trials: Sequence[Trial], key: str, value: str) -> None:
    keys = {*NAMES, *(name for trial in trials for name in option_types(trial.method))}
    if key not in keys:
        raise unknown("key in --only", key, keys)
    if not any(_has(trial, key, value) for trial in trials):
        raise unknown(f"value of {key!r} in --only:", value, {str(_value(t, key)) for t in trials if _knows(t, key)})


def _has(trial: Trial, key: str, text: str) -> bool:
    if key in NAMES:
        return str(_value(trial, key)) == text
    return _knows(trial, key) and _value(trial, key) == parse_option(trial.method, key, text)


def _knows(trial: Trial, key: str) -> bool:
    return key in NAMES or key in option_types(trial.method)


def _value(trial: Trial, key: str) -> Value:
    value: Value = getattr(trial, key) if key in NAMES else trial.all_options()[key]
    return value
