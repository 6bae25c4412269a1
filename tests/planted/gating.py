"""Bugs planted in gates, and in the method that trains through them."""

import torch
from planted.mutant import bugs, instead
from planted.training import SAME_BITS
from torch import nn

from sapwood.checks import gate, method
from sapwood.gates import VariationalDropout, WeightGated
from sapwood.gates import variational_dropout as noise
from sapwood.methods import METHODS

act, make, penalty = VariationalDropout.act, VariationalDropout.__init__, VariationalDropout.penalty


def gate_laws():
    return gate.laws("variational_dropout", VariationalDropout)


def method_laws():
    options = {"log_sigma2": -2.0, "begin": 0.0, "end": 0.0, "lr": 0.05, "epochs": 2, "tune": 1}
    return method.laws("variational_dropout", METHODS["variational_dropout"], **options)


def always_noisy(self, layer, x, y):
    mode, self.training = self.training, True
    try:
        return act(self, layer, x, y)
    finally:
        self.training = mode


def never_noisy(self, layer, x, y):
    mode, self.training = self.training, False
    try:
        return act(self, layer, x, y)
    finally:
        self.training = mode


def one_draw_for_all(values):
    return torch.randn(values.shape, generator=torch.Generator().manual_seed(0), dtype=values.dtype)


class OneDraw:
    """torch, but for the noise."""

    randn_like = staticmethod(one_draw_for_all)

    def __getattr__(self, name):
        return getattr(torch, name)


class OwnLuck(OneDraw):
    """torch, but for noise from a generator that is nobody's."""

    def __init__(self):
        self.luck = torch.Generator().manual_seed(0)

    def randn_like(self, values):
        return torch.randn(values.shape, generator=self.luck, dtype=values.dtype)


def noise_without_slope(self, layer, x, y):
    return y + (act(self, layer, x, y) - y).detach()


def hooks_stay_on_failure(self, *inputs):
    hooks = [
        layer.register_forward_hook(lambda layer, x, y, gate=gate: gate.act(layer, x[0], y))
        for _, layer, gate in self._pairs()
    ]
    outputs = self.model(*inputs)
    for hook in hooks:
        hook.remove()
    return outputs


def shaped(self, weight, **options):
    make(self, weight, **options)
    self.log_sigma2 = nn.Parameter(self.log_sigma2.detach().view_as(weight))


def without_bias(layer, x, w, bias, applied=noise._applied):
    return applied(layer, x, w, None)


MUTANTS = (
    *bugs(
        "gate variational_dropout",
        gate_laws,
        {
            "made anew, it lets a layer's outputs pass as they are": {
                "a gated layer without its biases": instead(noise, "_applied", without_bias)
            },
            "in evaluation it is the network under the masks of what is kept": {
                "weights beyond the threshold evaluated": instead(VariationalDropout, "_without", lambda self: False)
            },
            "noise is drawn in training only, and anew in every pass": {
                "noise in evaluation too": instead(VariationalDropout, "act", always_noisy),
                "no noise in training": instead(VariationalDropout, "act", never_noisy),
                "one draw of noise for all passes": instead(noise, "torch", OneDraw()),
            },
            "gradients reach the gate and the network": {
                "noise without a gradient": instead(VariationalDropout, "act", noise_without_slope)
            },
            "the penalty reaches the gate, and twice the weights have twice the penalty": {
                "a gate's penalty without a gradient": instead(
                    VariationalDropout, "penalty", lambda self, w: penalty(self, w).detach()
                ),
                "the mean of the penalties for their sum": instead(
                    VariationalDropout, "penalty", lambda self, w: penalty(self, w) / w.numel()
                ),
            },
            "what is kept has higher scores than what goes": {
                "the noisiest weights ranked highest": instead(
                    VariationalDropout, "score", lambda self, w: noise.log_alpha(w, self.log_sigma2.view_as(w))
                )
            },
            "the network is left as it was, also when a pass fails": {
                "a gate's hooks left when a pass fails": instead(WeightGated, "forward", hooks_stay_on_failure)
            },
            "its parameters are its own, and flat": {
                "a gate's parameters that pass for weights": instead(VariationalDropout, "__init__", shaped)
            },
        },
    ),
    *bugs(
        "method variational_dropout",
        method_laws,
        {SAME_BITS: {"noise that no checkpoint knows of": instead(noise, "torch", OwnLuck())}},
    ),
)
