"""Bugs planted in what is seen of a network and what is made of it: observing, statistics, criteria."""

import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch
from golden import answers as followed
from golden import criteria as worked
from golden import evidence as summed
from planted.mutant import bugs, instead

from sapwood.checks import criterion, statistic
from sapwood.criteria import CRITERIA
from sapwood.scoring import answers as following
from sapwood.scoring import criterion as judging
from sapwood.scoring import evidence as shown
from sapwood.scoring import layers as named
from sapwood.scoring import layout as laid
from sapwood.scoring import observation as seeing
from sapwood.scoring.statistics import active, count, gram, inactive, input_square, output_sum, weight_grad

rows, patches, remove, adding, noting = laid.rows, laid.patches, seeing._remove, seeing._adding, seeing._noting
spread = judging._spread


def magnitude_laws():
    return criterion.laws("magnitude", CRITERIA["magnitude"])


def activity_laws():
    return criterion.laws("activity", CRITERIA["activity"])


def mean_laws():
    return criterion.laws("mean_activation", CRITERIA["mean_activation"])


def scoring(name, wrong):
    """The criterion's formula replaced."""
    return partial(patch.dict, CRITERIA, {name: replace(CRITERIA[name], score=wrong)})


def declaring(name, invariant):
    """The criterion's declaration replaced."""
    return partial(patch.dict, CRITERIA, {name: replace(CRITERIA[name], rescaling_invariant=invariant)})


def one_draw(w_OI, seen):
    torch.rand(())
    return w_OI.abs()


def lottery(w_OI, seen):
    with torch.random.fork_rng(devices=[]):  # leaves the random state as it was, but has read it
        return w_OI.abs() * torch.rand_like(w_OI)


def in_place(w_OI, seen):
    return w_OI.abs_()


def evidence_in_place(w_OI, seen):
    return seen[output_sum].div_(48)


def relative_to_row(w_OI, seen):
    return w_OI.abs() / w_OI.abs().sum(1, keepdim=True)


def below_the_largest(w_OI, seen):
    return 1 / (w_OI.abs().max() - w_OI.abs())


def transposed(w_OI, seen):
    return w_OI.abs().T if w_OI.shape[0] == w_OI.shape[1] else w_OI.abs()


def by_place(w_OI, seen):
    return w_OI.abs() + torch.arange(w_OI.shape[1])


def wrong_axis(weight, judge, seen, per_neuron):
    scores = spread(weight, judge, seen, per_neuron)
    return scores.T if scores.shape[0] == scores.shape[1] else scores


def narrow(weight, judge, seen, per_neuron):
    return spread(weight, judge, seen, per_neuron)[:, :1]


def sum_of_row(weight, judge, seen, per_neuron):
    scores = spread(weight, judge, seen, per_neuron)
    return scores * scores.shape[1] if per_neuron else scores


def kept_on_failure(hooks):
    if sys.exc_info()[0] is None:
        remove(hooks)


@contextmanager
def left_evaluating(model):
    model.eval()
    yield


def without_the_last(layer, y):
    return rows(layer, y)[:-1]


def settled_again(sums):
    for name, each in sums._pending.items():
        shown._add_to(sums._sums, name, shown.counted(each))
    return sums._sums


def channels_last(layer, x):
    x_NI = patches(layer, x)
    return x_NI.view(len(x_NI), layer.in_channels, -1).transpose(1, 2).reshape(len(x_NI), -1)


def unprotected(*given):
    """The pass goes on with the output that is looked at later."""
    hook = noting(*given)
    return lambda layer, args, kwargs, y: (hook(layer, args, kwargs, y), None)[1]


def last_call(name, mine, calls, ran):
    hook = noting(name, mine, calls, ran)

    def forgetful(*given):
        calls[name].clear()
        return hook(*given)

    return forgetful


def transposed_as_it_is(layer, w):
    return w.flatten(1)


def last_defined(model, example=None):
    return list(named.prunable(model))[:-1]


def last_called(model, example=None):
    with seeing.observing(model, count) as seen:
        model(torch.ones(2, 4))
    return [name for name in named.prunable(model) if name != list(seen)[-1]]


MUTANTS = (
    *bugs(
        "criterion magnitude",
        magnitude_laws,
        {
            "scores have the weights' names and shapes": {
                "scores of one input for all": instead(judging, "_spread", narrow)
            },
            "scores are finite": {"divides by a distance that can be 0": scoring("magnitude", below_the_largest)},
            "scores stay finite when a neuron has no weights left": {
                "divides by the sum of a row that can be empty": scoring("magnitude", relative_to_row)
            },
            "nothing is touched: weights, gradients, mode, hooks, random state": {
                "a criterion draws a random number": scoring("magnitude", one_draw),
                "a criterion writes on the weights": scoring("magnitude", in_place),
            },
            "the same bits twice": {"a criterion reads the global random state": scoring("magnitude", lottery)},
            "permuting hidden units permutes scores": {
                "scores transposed": scoring("magnitude", transposed),
                "scores depend on the place of a weight": scoring("magnitude", by_place),
            },
            "rescaling a ReLU pair changes scores only if not declared invariant": {
                "declared invariant and is not": declaring("magnitude", True)
            },
            "a neuron's score is the mean over its incoming weights": {
                "a neuron's sum for its mean": instead(judging, "_spread", sum_of_row)
            },
        },
    ),
    *bugs(
        "criterion mean_activation",
        mean_laws,
        {
            "nothing is touched: weights, gradients, mode, hooks, random state": {
                "a criterion writes on the evidence": scoring("mean_activation", evidence_in_place)
            }
        },
    ),
    *bugs(
        "criterion activity",
        activity_laws,
        {
            "permuting hidden units permutes scores": {
                "neurons' scores spread over the wrong axis": instead(judging, "_spread", wrong_axis)
            },
            "rescaling a ReLU pair changes scores only if not declared invariant": {
                "is invariant and not declared": declaring("activity", False)
            },
        },
    ),
    *bugs(
        "criterion magnitude",
        worked.laws,
        {
            "the scores worked out by hand": {
                "the square for the absolute value": scoring("magnitude", lambda w_OI, seen: w_OI.square())
            }
        },
    ),
    *bugs(
        "criterion activity",
        worked.laws,
        {
            "the scores worked out by hand": {
                "the counter inverted, as once released": scoring("activity", lambda w_OI, seen: seen[inactive])
            }
        },
    ),
    *bugs(
        "statistic active",
        summed.laws,
        {
            "the sums worked out by hand": {
                ">= 0 for > 0: silent neurons counted as active": instead(
                    active, "rows", lambda s: (s.y_NO >= 0).double()
                )
            }
        },
    ),
    *bugs(
        "statistic output_sum",
        summed.laws,
        {
            "the sums worked out by hand": {
                "outputs summed without the ReLU": instead(output_sum, "of", lambda s: s.y_NO.double().sum(0))
            }
        },
    ),
    *bugs(
        "statistic output_sum",
        partial(statistic.laws, output_sum),
        {
            "additive over any split of the samples": {
                "a mean for a sum": instead(output_sum, "of", lambda s: s.y_NO.relu().double().mean(0))
            }
        },
    ),
    *bugs(
        "statistic active",
        partial(statistic.laws, active),
        {
            "additive over any split of the samples": {
                "the last sample of each batch dropped": instead(shown, "rows", without_the_last)
            },
            "300 passes sum to 300 times one, whenever one looks, in bfloat16 too": {
                "more passes gathered than the type can count": instead(shown.Sums, "MOST", 10**9),
                "what was added up stays pending": instead(shown.Sums, "settled", settled_again),
            },
            "nothing is left on the model when the forward raises": {
                "hooks left when the forward pass raises": instead(seeing, "_remove", kept_on_failure)
            },
            "only training passes count when told so": {
                "evaluation passes counted": instead(seeing, "_adding", lambda *a: adding(*a[:4], None, a[5]))
            },
        },
    ),
    *bugs(
        "statistic output_sum",
        partial(statistic.laws, output_sum),
        {
            "an operator in place behind a layer changes nothing": {
                "what an operator in place leaves for the output": instead(seeing, "_noting", unprotected)
            },
            "a layer that is called twice shows both calls": {
                "the last call only": instead(seeing, "_noting", last_call),
            },
            "layers that share a weight show what both see": {
                "of tied layers only the first is watched": instead(seeing, "uses", lambda weight: weight.layers[:1])
            },
            "what checkpointing computes again counts once": {
                "passes counted that the backward pass makes": instead(seeing, "_pass", lambda: -1)
            },
        },
    ),
    *bugs(
        "statistic weight_grad",
        partial(statistic.laws, weight_grad),
        {
            "a transposed convolution of single pixels sees what a straight one sees": {
                "a transposed weight laid out as it is": instead(shown, "matrix", transposed_as_it_is)
            }
        },
    ),
    *bugs(
        "criterion magnitude",
        magnitude_laws,
        {"a weight that two layers share is scored once": {"tied weights ranked twice": instead(named, "_key", id)}},
    ),
    *bugs(
        "hidden layers",
        followed.laws,
        {
            "a classifier defined first": {
                "the last defined for the answer": instead(followed, "hidden", last_defined)
            },
            "two heads": {"the last called for the answer": instead(followed, "hidden", last_called)},
            "a way around the body": {
                "a sum taken for a look at sizes": instead(
                    following, "_is_size", lambda node: "add" in str(node.target)
                )
            },
        },
    ),
    *bugs(
        "statistic gram",
        partial(statistic.laws, gram),
        {
            "a kernel as large as the image sees what a linear layer sees": {
                "patches laid out channels last": instead(laid, "patches", channels_last)
            }
        },
    ),
    *bugs(
        "statistic input_square",
        partial(statistic.laws, input_square),
        {"nothing is left on the model": {"evaluation mode left on": instead(seeing, "evaluating", left_evaluating)}},
    ),
)
