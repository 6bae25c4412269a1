"""Which weights are ranked, by what names, in which layout; and what is said of names that mean none."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune

from sapwood import (
    CRITERIA,
    InputError,
    Statistic,
    hidden,
    hold,
    masks,
    measure,
    observe,
    observing,
    prunable,
    score,
    select,
)
from sapwood.scoring.layers import chosen
from sapwood.scoring.layout import columns, matrix, rows, shaped
from sapwood.scoring.statistics import active, count, gram

magnitude = CRITERIA["magnitude"]


class Conv1D(nn.Module):
    """A linear layer as GPT-2 has it: the weight is [inputs, outputs]."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


LAYERS = {
    "linear": (lambda: nn.Linear(4, 6), (3, 2, 4)),
    "Conv1D": (lambda: Conv1D(6, 4), (3, 2, 4)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2)), (3, 4, 7, 8)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(4, 6, 3, 2, padding=1, output_padding=1), (3, 4, 5)),
    "transposed 1d, padded away": (lambda: nn.ConvTranspose1d(4, 6, 2, padding=3), (3, 4, 9)),
    "transposed 2d": (lambda: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), dilation=(2, 1)), (3, 4, 4, 5)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(4, 6, 2, (1, 2, 1)), (2, 4, 3, 2, 3)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_rows_columns_and_matrix_multiply_to_what_the_layer_computes(kind):
    make, shape = LAYERS[kind]
    layer, x = make().double(), torch.randn(*shape, dtype=torch.float64)
    y_NO, x_NI, w_OI = rows(layer, layer(x)), columns(layer, x), matrix(layer, layer.weight)
    torch.testing.assert_close(y_NO, x_NI @ w_OI.T + layer.bias)
    assert torch.equal(shaped(layer, w_OI, layer.weight), layer.weight)


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_transposed_convolutions_have_one_row_for_each_output(groups):
    layer = nn.ConvTranspose2d(4, 8, 3, groups=groups, bias=False)
    w_OI, x = matrix(layer, layer.weight), torch.randn(2, 4, 5, 5)
    assert torch.equal(shaped(layer, w_OI, layer.weight), layer.weight)
    before = layer(x)
    with torch.no_grad():
        layer.weight.copy_(shaped(layer, w_OI * (torch.arange(8) != 5)[:, None], layer.weight))
    changed = (layer(x) != before).any(dim=0).flatten(1).any(1)
    assert changed.tolist() == [o == 5 for o in range(8)]
    assert not layer(x)[:, 5].any()


def decoder():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 6, 3, 2), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2, groups=2),
        nn.ReLU(), nn.Conv2d(4, 1, 1),
    )  # fmt: skip


def test_decoders_are_ranked_whole_and_by_neurons():
    model = decoder()
    assert hidden(model) == ["0", "2", "4"]
    keep = select.everywhere(score(model, magnitude, only=hidden(model)), 0.8)
    assert {name: k.shape for name, k in keep.items()} == {f"{n}.weight": model[n].weight.shape for n in (0, 2, 4)}
    neurons = score(model, magnitude, only=["2"], per_neuron=True)["2.weight"]
    wanted = model[2].weight.detach().abs().double().mean((0, 2, 3))
    torch.testing.assert_close(neurons, wanted[None, :, None, None].expand_as(neurons))
    x = torch.randn(2, 3, 6, 6)
    fired = (model[:3](x) > 0).sum((0, 2, 3))
    scores = score(model, CRITERIA["activity"], observe(model, [x], active, count), only=["2"])["2.weight"]
    assert torch.equal(scores[0, :, 0, 0], fired)
    assert torch.equal(scores, fired[None, :, None, None].expand_as(scores))


def test_singular_values_of_transposed_layers_are_those_of_their_rows():
    layer = nn.ConvTranspose1d(3, 5, 2)
    (row,) = measure.spectrum(nn.Sequential(layer))
    wanted = torch.linalg.svdvals(layer.weight.detach().double().transpose(0, 1).flatten(1))
    torch.testing.assert_close(torch.tensor(row.singular_values), wanted.float())
    assert (row.outputs, row.inputs) == (5, 6)


def test_gpt2s_layers_are_ranked_in_their_own_layout():
    model = nn.Sequential(Conv1D(6, 4), nn.ReLU(), Conv1D(5, 6), nn.Linear(5, 2))
    x = torch.randn(7, 4)
    assert hidden(model) == ["0", "2"]
    scores = score(model, CRITERIA["active_magnitude"], observe(model, [x], active, count), only=["0"])["0.weight"]
    assert torch.equal(scores, model[0].weight.detach().abs() * (model[0](x) > 0).sum(0))
    assert sum(measure.macs(model, x).values()) == 4 * 6 + 6 * 5 + 5 * 2


class Lookalike(nn.Module):
    """Called Conv1D, but with the weight of a convolution."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4, 3))


def test_what_is_only_called_conv1d_is_not_taken_for_one():
    other = type("Conv1D", (Lookalike,), {})()
    assert list(prunable(nn.ModuleList([nn.Linear(2, 2), other]))) == ["0"]
    with pytest.raises(
        InputError, match=r"'1' is a Conv1D, not one Linear or Conv layer; name what is in it: '1.weight'"
    ):
        score(nn.ModuleList([nn.Linear(2, 2), other]), magnitude, only=["1"])


def tied():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5, bias=False), nn.Linear(5, 5), nn.Linear(5, 3))
    model[3].weight = model[2].weight
    return model


def test_a_weight_of_two_layers_is_ranked_once_and_seen_in_both():
    model, x = tied(), torch.randn(6, 5)
    assert list(prunable(model)) == ["0", "2", "4"]
    assert list(chosen(model, ["3", "0", "2"])) == ["2", "0"]
    assert hidden(model) == ["0", "2"]
    assert list(score(model, magnitude, only=["3"])) == ["2.weight"]
    assert list(score(model, magnitude, only=["3.weight", "2"])) == ["2.weight"]
    with observing(model, active, count) as seen:
        model(x)
    with torch.no_grad():
        first, second = model[:3](x), model[:4](x)
    assert seen["2"][active].tolist() == ((first > 0).sum(0) + (second > 0).sum(0)).tolist()
    assert int(seen["2"][count]) == 12
    assert sum(measure.macs(model, x).values()) == 3 * 25 + 15


def test_one_module_under_two_names_is_one_layer():
    shared = nn.Linear(5, 5)
    model = nn.ModuleDict({"a": nn.Sequential(shared), "b": nn.Sequential(shared), "c": nn.Linear(5, 2)})
    assert list(prunable(model)) == ["a.0", "c"]
    assert list(score(model, magnitude, only=["b.0"])) == ["a.0.weight"]
    with observing(model, count, only=["b.0"]) as seen:
        model["b"](torch.randn(4, 5))
    assert int(seen["a.0"][count]) == 4


class Language(nn.Module):
    """A head that shares its weight with the embedding."""

    def __init__(self):
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.body(self.embed(ids)).relu())


def test_a_head_that_is_tied_to_the_embedding_has_the_name_that_can_be_held():
    model = Language()
    assert hidden(model) == ["body"]
    scores = score(model, magnitude)
    assert set(scores) == {"body.weight", "embed.weight"}
    with hold(model, torch.optim.SGD(model.parameters(), 0.1), select.everywhere(scores, 0.5)):
        assert int((model.head.weight == 0).sum() + (model.body.weight == 0).sum()) == 22


def test_a_weight_shared_by_layers_that_read_it_differently():
    model = nn.ModuleList([nn.Conv1d(3, 4, 2, bias=False), nn.ConvTranspose1d(4, 3, 2, bias=False), nn.Linear(2, 2)])
    model[1].weight = model[0].weight
    assert set(score(model, magnitude)) == {"0.weight", "2.weight"}
    with pytest.raises(InputError, match="'0' is shared by a ConvTranspose1d, which reads it in another layout"):
        observing(model, count).__enter__()


def test_layers_of_others_classes_of_torch_and_scripted_ones():
    class Mine(nn.Linear):
        pass

    assert list(prunable(nn.Sequential(Mine(2, 2), nn.Bilinear(2, 2, 2), nn.LSTM(2, 2)))) == ["0"]
    with pytest.raises(InputError, match="is lazy and has no weight yet; call the model once"):
        prunable(nn.Sequential(nn.LazyLinear(3)))
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    with pytest.raises(InputError, match="it is scripted: give the module that it was made from"):
        prunable(scripted)


def various():
    return nn.ModuleDict(
        {
            "lstm": nn.LSTM(3, 4),
            "embed": nn.Embedding(5, 3),
            "attention": nn.MultiheadAttention(4, 2),
            "pair": nn.Bilinear(2, 3, 4),
            "body": nn.Sequential(nn.Linear(3, 3), nn.ReLU()),
            "norm": nn.BatchNorm1d(3),
        }
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lstm", r"'lstm' is a LSTM, not one Linear or Conv layer; name what is in it: 'lstm.weight_ih_l0', "),
        ("attention", r"is a MultiheadAttention.*'attention.out_proj', 'attention.in_proj_weight'"),
        ("body", r"'body' is a Sequential.*'body.0'"),
        ("body.1", r"'body.1' is a ReLU, which has no weight matrix"),
        ("norm", r"'norm' is a BatchNorm1d, which has no weight matrix"),
        ("body.0.bias", r"'body.0.bias' has 1 dimension\(s\); weights of 2 or more can be scored"),
        ("body.2", r"unknown layer 'body.2'; did you mean 'body.0'"),
    ],
)  # fmt: skip
def test_a_name_that_means_no_layer_is_told_what_it_is(name, says):
    for ask in (
        lambda only: score(various(), magnitude, only=only),
        lambda only: observing(various(), count, only=only).__enter__(),
        lambda only: chosen(various(), only),
    ):
        with pytest.raises(InputError, match=says):
            ask([name])
    with pytest.raises(InputError, match=r"only is 'body.0'; give a list of names"):
        score(various(), magnitude, only="body.0")


def test_parameters_of_other_modules_are_scored_by_their_own_names_and_rows():
    model = various()
    names = ["lstm.weight_hh_l0", "embed.weight", "attention.in_proj_weight", "pair.weight", "body.0.weight"]
    scores = score(model, magnitude, only=[*names, "body.0", "embed.weight"])
    assert {n: s.shape for n, s in scores.items()} == {n: model.get_parameter(n).shape for n in names}
    assert all(torch.equal(s, model.get_parameter(n).abs()) for n, s in scores.items())
    with pytest.raises(InputError, match=r"'lstm.weight_hh_l0' is a parameter of no Linear or Conv layer"):
        observing(model, count, only=names).__enter__()
    with pytest.raises(InputError, match=r"'lstm.weight_hh_l0' is a parameter of no Linear or Conv layer; name layers"):
        chosen(model, names)


class Halved(nn.Module):
    def forward(self, w):
        return w / 2


def test_computed_weights_are_what_they_are_now_and_reading_them_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    prune.l1_unstructured(model[0], "weight", 0.5)
    nn.utils.parametrizations.spectral_norm(model[1])
    parametrize.register_parametrization(model[2], "weight", Halved())
    with torch.no_grad():
        model[0].weight_orig.mul_(3)  # what `weight` says only after the next pass
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores = score(model, magnitude)
    assert set(scores) == {"0.weight_orig", "1.parametrizations.weight.original", "2.weight"}
    assert torch.equal(scores["0.weight_orig"], (model[0].weight_orig * model[0].weight_mask).abs())
    assert torch.equal(scores["2.weight"], (model[2].parametrizations.weight.original / 2).abs())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(s.requires_grad for s in scores.values())
    assert set(score(model, magnitude, only=["0.weight", "1"])) == {
        "0.weight_orig",
        "1.parametrizations.weight.original",
    }


def test_a_mask_for_a_computed_weight_is_told_what_is_stored():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    prune.identity(model[0], "weight")
    nn.utils.parametrizations.weight_norm(model[1])
    parameters = dict(model.named_parameters())
    for name, stored in (("0.weight", "'0.weight_orig'"), ("1.weight", r"'1.parametrizations.weight.original0', '1")):
        with pytest.raises(InputError, match=f"unknown parameter in masks '{name}'; it is computed, from {stored}"):
            masks.apply_(parameters, {name: torch.ones(4, 4, dtype=torch.bool)})
    with pytest.raises(InputError, match=r"did you mean '2.weight'"):
        masks.apply_(parameters, {"2.weigth": torch.ones(4, 4, dtype=torch.bool)})


def test_statistics_of_rows_of_a_transposed_layer_follow_from_its_inputs():
    model = nn.Sequential(nn.ConvTranspose1d(3, 4, 3, 2)).double()
    x = torch.randn(5, 3, 6, dtype=torch.float64)
    by_rows = Statistic("by_rows", lambda s: s.y_NO.T @ s.y_NO)
    seen = observe(model, [x], gram, by_rows)["0"]
    w_OI = matrix(model[0], model[0].weight.detach())
    with torch.no_grad():
        y = F.conv_transpose1d(x, model[0].weight, stride=2).movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(w_OI @ seen[gram] @ w_OI.T, y.T @ y)
