"""K-means and the training of what it gives: worked out by hand, and like a codebook that is trained by itself."""

from functools import partial
from itertools import combinations_with_replacement

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adagrad, Adam, RMSprop

from sapwood.codec.kmeans import gathered, kmeans, nearest
from sapwood.codec.sharing import NOWHERE, Sharing, clustered, widths
from sapwood.errors import InputError

W = torch.tensor([-1, -0.9, -0.2, 0.1, 0.8, 1], dtype=torch.float64)


def squares(values, centroids):
    return float((values[:, None] - centroids).square().min(1).values.sum())


def test_the_worked_example():
    centroids, labels = kmeans(W, 4)
    assert torch.allclose(centroids, torch.tensor([-0.95, -0.2, 0.1, 0.9], dtype=torch.float64), atol=1e-14, rtol=0)
    assert labels.tolist() == [0, 0, 1, 2, 3, 3]
    assert squares(W, centroids) == pytest.approx(0.025, abs=1e-14)
    sums = gathered(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], dtype=torch.float64), labels, 4)
    assert torch.allclose(sums, torch.tensor([0.3, 0.3, 0.4, 1.1], dtype=torch.float64), atol=1e-15, rtol=0)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60), st.integers(1, 9))
def test_every_weight_is_with_the_nearest_centroid_and_every_centroid_is_the_mean_of_its_weights(values, k):
    w = torch.tensor(values, dtype=torch.float64)
    centroids, labels = kmeans(w, k)
    assert len(centroids) <= k
    assert (centroids.diff() >= 0).all()
    away = (w[:, None] - centroids).abs()
    assert torch.allclose(away[torch.arange(len(w)), labels], away.min(1).values, atol=1e-9)
    for label in labels.unique():
        assert torch.allclose(centroids[label], w[labels == label].mean(), atol=1e-9)


@given(st.lists(st.sampled_from([-2.0, -0.0, 0.1, 3.0, 50.0]), min_size=1))
def test_as_many_centroids_as_values_lose_nothing(values):
    w = torch.tensor(values)
    for k in (5, 8):
        centroids, labels = kmeans(w, k)
        assert torch.equal(centroids[labels], w)


def test_a_centroid_that_nothing_belongs_to_stays_where_it_is():
    w = torch.cat([torch.linspace(0, 1, 11), torch.tensor([100.0])]).double()
    centroids, labels = kmeans(w, 5)
    assert torch.allclose(centroids, torch.tensor([0.5, 25, 50, 75, 100], dtype=torch.float64))
    assert labels.unique().tolist() == [0, 4]


def test_a_tie_goes_to_the_smaller_centroid():
    assert nearest(torch.tensor([0.0, 1.0, 2.0, 2.1]), torch.tensor([0.0, 2.0, 2.2])).tolist() == [0, 0, 1, 1]


def test_no_other_means_nearby_are_better():
    w = torch.randn(12, generator=torch.Generator().manual_seed(1), dtype=torch.float64).sort().values
    found = squares(w, kmeans(w, 3)[0])
    best = min(squares(w, torch.stack([part.mean() for part in w.tensor_split(cuts)]))
               for cuts in combinations_with_replacement(range(1, 12), 2) if cuts[0] < cuts[1])  # fmt: skip
    assert best <= found <= 1.1 * best


@pytest.mark.parametrize(("values", "k", "says"), [
    (W, 0, "k is 0; give a number of centroids"), (torch.tensor([1.0, float("nan")]), 1, "NaN or infinite"),
    (torch.tensor([1.0, -float("inf")]), 1, "NaN or infinite"),
])  # fmt: skip
def test_what_has_no_means_is_refused(values, k, says):
    with pytest.raises(InputError, match=says):
        kmeans(values, k)


def test_bits_are_one_number_or_one_for_each_layer():
    assert widths("6", ["a", "b"]) == {"a": 6, "b": 6}
    assert widths("8 5", ["a", "b"]) == {"a": 8, "b": 5}
    for bad in ("0", "16", "5.5", "-1"):
        with pytest.raises(InputError, match=rf"bits is '{bad}'; give whole numbers in 1..15"):
            widths(bad, ["a"])


def test_only_what_is_kept_is_clustered_and_0_is_no_centroid():
    w = torch.tensor([[0.0, 5.0, 0.0], [5.2, -3.0, 9.0]])
    keep = torch.tensor([[False, True, True], [True, True, False]])
    values, labels = clustered(w, keep, 2)
    assert labels.tolist() == [[NOWHERE, 2, 1], [3, 0, NOWHERE]]
    assert values.tolist() == pytest.approx([-3, 0, 5, 5.2])
    assert clustered(w, ~keep & keep, 2)[0].tolist() == []


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def shared(model, bits=2):
    keep = {n: torch.rand(p.shape) < 0.6 for n, p in model.named_parameters() if p.dim() > 1}
    return {n: clustered(model.get_parameter(n), each, bits) for n, each in keep.items()}


class Codebooks(nn.Module):
    """The oracle: the same network, whose trained parameters are the values themselves."""

    def __init__(self, model, clusters):
        super().__init__()
        self.values = nn.ParameterList([values.clone() for values, _ in clusters.values()])
        self.biases = nn.ParameterList([p.detach().clone() for p in model.parameters() if p.dim() == 1])
        self.labels = [labels.long() for _, labels in clusters.values()]

    def weights(self):
        return [torch.cat([v, v.new_zeros(1)])[labels] for v, labels in zip(self.values, self.labels, strict=True)]

    def forward(self, x):
        one, two = self.weights()
        return torch.tanh(x @ one.T + self.biases[0]) @ two.T + self.biases[1]


OPTIMIZERS = {
    "sgd": partial(SGD, lr=0.02),
    "momentum, decay": partial(SGD, lr=0.02, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": partial(Adam, lr=0.01, weight_decay=0.1),
    "rmsprop": partial(RMSprop, lr=0.01, momentum=0.5),
    "adagrad": partial(Adagrad, lr=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_shared_weights_learn_as_one_parameter_for_each_value_would(optimizer):
    model = network()
    clusters = shared(model)
    oracle = Codebooks(model, clusters)
    x, y = torch.randn(20, 6).double(), torch.randn(20, 3).double()
    mine, theirs = optimizer(model.parameters()), optimizer(oracle.parameters())
    with Sharing(model, mine, clusters):
        for _ in range(10):
            for network_, steps in ((model, mine), (oracle, theirs)):
                steps.zero_grad()
                (network_(x) - y).square().mean().backward()
                steps.step()
            with torch.no_grad():
                for (_, labels), p in zip(clusters.values(), (model[0].weight, model[2].weight), strict=True):
                    p[labels == NOWHERE] = 0  # which is what holding masks does
    for p, w in zip((model[0].weight, model[2].weight), oracle.weights(), strict=True):
        assert torch.allclose(p, w, rtol=1e-10, atol=1e-12)
    for (values, labels), p in zip(clusters.values(), (model[0].weight, model[2].weight), strict=True):
        assert all(len(p[labels == label].unique()) == 1 for label in range(len(values)))
        assert not torch.equal(p[labels != NOWHERE].unique(), values.unique()), "nothing was learnt"


def test_weights_take_their_values_at_once_and_differ_again_after_release():
    model = network()
    clusters = shared(model)
    optimizer = SGD(model.parameters(), lr=0.1)
    with Sharing(model, optimizer, clusters):
        for name, (values, labels) in clusters.items():
            assert torch.equal(model.get_parameter(name), torch.cat([values, values.new_zeros(1)])[labels.long()])
    model(torch.randn(5, 6).double()).square().sum().backward()
    optimizer.step()
    assert len(model[0].weight.unique()) > 40


def test_a_frozen_weight_is_shared_and_stays():
    model = network()
    clusters = shared(model)
    model[0].weight.requires_grad_(False)
    optimizer = SGD(model.parameters(), lr=0.1)
    with Sharing(model, optimizer, clusters):
        before = model[0].weight.clone()
        model(torch.randn(5, 6).double()).square().sum().backward()
        optimizer.step()
        assert torch.equal(model[0].weight, before)
