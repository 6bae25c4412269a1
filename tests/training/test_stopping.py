"""Stopping: traces worked by hand, state that survives a checkpoint, generators closed in every case."""

import json
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sapwood.errors import InputError
from sapwood.training.stopping import RULES, at_most, consecutive, named, never, spiked, stale, until

FIXED = settings(derandomize=True, deadline=None, database=None, max_examples=200)
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
losses = st.lists(st.one_of(st.floats(0, 10), st.sampled_from([0.0, 1.0, 1.05, 1.2, 1.3, math.inf])), max_size=40)


def answers(rule, values):
    """What a rule says to each value in turn."""
    state = {}
    return [rule(state, value) for value in values]


def stops_at(rule, values):
    """The index at which a rule first says stop, or None."""
    told = answers(rule, values)
    return told.index(True) if True in told else None


def rises(values, **limits):
    """The rises counted by the spike rule after each value."""
    state, seen = {}, []
    for value in values:
        spiked(state, value, **limits)
        seen.append(state["rises"])
    return seen


# The spike rule

NOISE = [0.60, 0.50, 0.52, 0.45, 0.51, 0.47, 0.44, 0.49, 0.485, 0.47, 0.42, 0.50, 0.51, 0.48, 0.55]
TRACES = {  # what happens: losses, rises counted after each, index of the stop
    "three rises stop": ([1.0, 1.2, 1.3, 1.4, 1.5], [0, 1, 2, 3, 4], 3),
    "a new minimum does not clear": ([1.0, 1.2, 1.3, 0.9, 1.0], [0, 1, 2, 2, 3], 4),  # 1.0 > 1.1 * 0.9
    "a fall that stays above leaves": ([1.0, 1.3, 1.2, 1.2, 1.4, 1.3, 1.35], [0, 1, 1, 1, 2, 2, 3], 6),
    "below the limit clears": ([1.0, 1.2, 1.3, 1.05, 1.2, 1.3, 1.4], [0, 1, 2, 0, 1, 2, 3], 6),
    "the old minimum again clears": ([1.0, 1.2, 1.0, 1.2], [0, 1, 0, 1], None),
    "the first value never counts": ([5.0, 5.6, 5.5], [0, 1, 1], None),
    "only spikes of a noisy log count": (NOISE, [0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 2, 2, 3], 14),
    "infinity is a rise once": ([math.inf, 1.0, math.inf, math.inf, 2.0, math.inf], [0, 0, 1, 1, 1, 2], None),
}


@pytest.mark.parametrize(("values", "expected", "stop"), TRACES.values(), ids=TRACES)
def test_spike_traces_by_hand(values, expected, stop):
    assert rises(values) == expected
    assert stops_at(spiked, values) == stop


def test_a_value_at_the_limit_exactly_neither_counts_nor_clears():
    assert rises([1.0, 1.5, 1.75, 1.5, 2.0], tolerance=0.5) == [0, 0, 1, 1, 2]


# The others


def test_consecutive_needs_them_in_a_row():
    assert answers(consecutive, [1.0, 1.2, 1.15, 1.3]) == [False, False, False, True]
    assert stops_at(consecutive, [1.0, 1.2, 1.3, 1.05, 1.2, 1.3, 0.9, 1.2, 1.3]) is None
    assert stops_at(consecutive, [1.0, 2.0, 2.0, 0.5, 0.6, 0.6, 0.6]) == 6
    assert stops_at(partial(consecutive, tolerance=0.5, times=2), [1.0, 1.5, 1.6, 1.7]) == 3


def test_consecutive_counts_falls_where_the_spike_rule_does_not():
    falling = [1.0, 1.5, 1.4, 1.3, 1.2]
    assert stops_at(consecutive, falling) == 3
    assert stops_at(spiked, falling) is None


def test_patience_waits_for_an_improvement():
    values = [3.0, 2.0, 2.0, 2.5, 1.9, 2.0, 2.0, 2.0]
    assert stops_at(partial(stale, patience=3), values) == 7
    assert stops_at(partial(stale, patience=2), values) == 3
    assert stops_at(partial(stale, patience=4), values) is None
    assert stops_at(partial(stale, patience=1), [math.inf, math.inf]) == 1
    assert stops_at(partial(stale, patience=2, higher_is_better=True), [0.1, 0.5, 0.4, 0.6, 0.6, 0.6]) == 5


def test_patience_wants_more_than_least():
    """Steps of 1 are not more than 1; the best stays 8, so that two of them together are."""
    wants = partial(stale, patience=2, least=1.0)
    assert stops_at(wants, [8.0, 7.0, 6.0, 5.0, 4.0]) is None
    assert stops_at(wants, [8.0, 7.0, 7.0]) == 2


@FIXED
@given(values=st.lists(st.integers(-20, 20), min_size=1, max_size=40), patience=st.integers(1, 6))
def test_patience_stops_where_the_last_ones_hold_no_new_best(values, patience):
    told = answers(partial(stale, patience=patience), values)
    for at, stop in enumerate(told):
        first_best = values.index(min(values[: at + 1]))
        assert stop == (at - first_best >= patience)


@FIXED
@given(values=losses)
def test_never_never_stops_and_remembers_nothing(values):
    state = {}
    assert not any(never(state, value) for value in values)
    assert state == {}


# All


@every_rule
def test_falling_losses_never_stop(rule):
    assert stops_at(rule, [1 / (1 + epoch) for epoch in range(30)]) is None


@pytest.mark.parametrize("name", sorted(set(RULES) - {"none"}))
def test_rising_losses_stop(name):
    assert stops_at(RULES[name], [1.2**epoch for epoch in range(10)]) == {"patience": 5}.get(name, 3)


@every_rule
@FIXED
@given(values=losses, data=st.data())
def test_a_restart_from_json_changes_no_answer(rule, values, data):
    at = data.draw(st.integers(0, len(values)))
    state = {}
    told = [rule(state, value) for value in values[:at]]
    state = json.loads(json.dumps(state))
    told += [rule(state, value) for value in values[at:]]
    assert told == answers(rule, values)


@every_rule
@pytest.mark.parametrize("seen", [[], [1.0, 1.2]])
def test_nan_is_refused_and_leaves_the_state(rule, seen):
    state = {}
    for value in seen:
        rule(state, value)
    before = dict(state)
    with pytest.raises(InputError, match="is NaN"):
        rule(state, math.nan)
    assert state == before


@every_rule
def test_a_scalar_tensor_is_kept_as_a_number(rule):
    state = {}
    rule(state, torch.tensor(1.5, dtype=torch.float64))
    assert all(type(value) in (int, float) for value in state.values())
    json.dumps(state)


@pytest.mark.parametrize("rule", [spiked, consecutive])
def test_limits_relative_to_the_minimum_refuse_negative_values(rule):
    with pytest.raises(InputError, match=r"is -0\.1.*'patience'"):
        rule({}, -0.1)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (partial(spiked, tolerance=-0.1), "tolerance is -0.1"),
        (partial(spiked, tolerance=math.nan), "tolerance is nan"),
        (partial(spiked, times=0), "times is 0"),
        (partial(consecutive, tolerance=math.inf), "tolerance is inf"),
        (partial(consecutive, times=0), "times is 0"),
        (partial(stale, patience=0), "patience is 0"),
        (partial(stale, patience=1, least=-1.0), "least is -1.0"),
        (partial(stale, patience=1, least=math.nan), "least is nan"),
    ],
)
def test_rules_refuse(rule, message):
    with pytest.raises(InputError, match=message):
        rule({}, 1.0)


def test_rules_by_name():
    assert (named("spikes"), named("consecutive"), named("none")) == (spiked, consecutive, never)
    assert stops_at(named("patience"), [1.0] * 9) == 5
    with pytest.raises(InputError, match="unknown stopping rule 'spike'; did you mean 'spikes'"):
        named("spike")


# Filters


class Source:
    """A generator of 0, 1, 2, ... that logs what was begun and whether its finally block has run."""

    def __init__(self, length=10):
        self.begun, self.closed, self.length = [], False, length
        self.moments = self.generate()

    def generate(self):
        try:
            for step in range(self.length):
                self.begun.append(step)
                yield step
        finally:
            self.closed = True


FILTERS = {"at_most": partial(at_most, 3), "until": partial(until, lambda step: step == 2)}
every_filter = pytest.mark.parametrize("through", FILTERS.values(), ids=FILTERS)


@every_filter
def test_a_filter_ends_with_the_stopping_moment_and_closes(through):
    source = Source()
    assert list(through(source.moments)) == [0, 1, 2]
    assert source.begun == [0, 1, 2]  # the fourth step was never made
    assert source.closed


@every_filter
def test_a_source_that_ends_earlier_ends_the_filter(through):
    source = Source(2)
    assert list(through(source.moments)) == [0, 1]
    assert source.closed


@every_filter
def test_closing_the_filter_closes_the_source(through):
    source = Source()
    filtered = through(source.moments)
    assert next(filtered) == 0
    assert not source.closed
    filtered.close()
    assert source.closed
    assert source.begun == [0]


@every_filter
def test_an_error_thrown_into_the_filter_closes_the_source(through):
    source = Source()
    next(filtered := through(source.moments))
    with pytest.raises(KeyError):
        filtered.throw(KeyError("from outside"))
    assert source.closed


@every_filter
def test_filters_nest_and_take_any_iterable(through):
    source = Source()
    assert list(at_most(2, through(source.moments))) == [0, 1]
    assert source.closed
    assert list(through([0, 1, 2, 3])) == [0, 1, 2]


@every_filter
def test_an_iterable_that_makes_its_generator_on_demand_is_closed_too(through):
    made = []

    class OnDemand:
        def __iter__(self):
            made.append(Source())
            return made[0].moments

    assert list(through(OnDemand())) == [0, 1, 2]
    assert made[0].closed


def test_the_source_stays_open_until_the_stopping_moment_was_used():
    source = Source()
    filtered = until(lambda step: step == 0, source.moments)
    assert next(filtered) == 0
    assert not source.closed
    assert next(filtered, None) is None
    assert source.closed


def test_until_asks_once_per_moment_before_handing_it_on():
    asked = []
    filtered = until(lambda step: asked.append(step) or step == 2, Source().moments)
    for step in filtered:
        assert asked == list(range(step + 1))
    assert asked == [0, 1, 2]


def test_until_closes_when_the_rule_refuses():
    source, state = Source(), {}
    with pytest.raises(InputError, match="NaN"):
        list(until(lambda step: spiked(state, math.nan if step == 1 else 1.0), source.moments))
    assert source.closed
    assert source.begun == [0, 1]


def test_at_most_none_makes_no_step_and_fewer_are_refused_at_the_call():
    source = Source()
    assert list(at_most(0, source.moments)) == []
    assert (list(source.moments), source.begun) == ([], [])  # closed before it began
    with pytest.raises(InputError, match="n is -1"):
        at_most(-1, [])
