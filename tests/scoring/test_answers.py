"""Which layers give the answer: followed through the graph, with an example or without; never guessed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sapwood import InputError, hidden
from sapwood.checks import tiny_task
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.training.run import start


class Network(nn.Module):
    """Layers in the order of their names, and a forward that is given."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.way = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x, *more, mask=None):
        return self.way(self, x)


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs)


def classifier_first(m, x):
    return m.head(F.relu(m.b(m.a(x).relu_()).flatten(1), inplace=True))


def two_heads(m, x):
    h = m.body(x).relu()
    return {"class": m.head(h), "box": (m.box(h), h.shape[0])}


def head_in_the_middle(m, x):
    h = m.a(x)
    early = m.head(h)
    return early, m.c(m.b(h).relu())


def weight_read(m, x):
    return F.linear(m.a(x).relu(), m.head.weight, m.head.bias).softmax(-1)


def weight_turned(m, x):
    return m.a(x).relu() @ (0.5 * m.head.weight.t())


def skipped(m, x):
    h = m.a(x)
    return m.head(h) + h[:, :3] * 0


def gated(m, x):
    return m.head(x) * torch.sigmoid(m.gate(x))


def written_over(m, x):
    y = torch.zeros(x.shape[0], 3)
    h = m.a(x)
    y[:, :2] = m.head(h)[:, :2]
    return y.clamp_(min=0)


def sizes_only(m, x):
    h = m.a(x)
    return m.head(x).view(h.size(0), -1) + torch.zeros_like(h)[:, :3]


def positions(m, x):
    return m.norm(m.head(m.a(x)) + m.table)


def idle(m, x):
    return m.head(m.a(x))


CASES = {
    "a classifier defined first": (classifier_first, "head=8-3 a=4-6 b=6-8", "a b"),
    "two heads, in a dict and a tuple": (two_heads, "head=6-3 body=4-6 box=6-4", "body"),
    "a head used before the body's end": (head_in_the_middle, "a=4-5 head=5-3 b=5-5 c=5-2", "a b"),
    "a head whose weight is read": (weight_read, "head=5-3 a=4-5", "a"),
    "a head whose weight is read, turned and scaled": (weight_turned, "head=5-3 a=4-5", "a"),
    "a layer that a residual path leads to the answer": (skipped, "a=4-5 head=5-3", None),
    "two factors of the answer": (gated, "gate=4-3 head=4-3", None),
}


def made(forward, layers, **more):
    torch.manual_seed(0)
    sizes = {name: map(int, size.split("-")) for name, size in (word.split("=") for word in layers.split())}
    return Network(forward, **{name: nn.Linear(*size) for name, size in sizes.items()}, **more)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("example", [None, torch.randn(2, 4)])
@pytest.mark.parametrize("case", CASES)
def test_answers_are_followed_not_taken_from_the_order_of_definition(case, example, frozen):
    forward, layers, wanted = CASES[case]
    model = made(forward, layers).requires_grad_(not frozen)
    if wanted is None:
        with pytest.raises(InputError, match="every prunable layer of Network gives a part of its answer"):
            hidden(model, example)
    else:
        assert hidden(model, example) == wanted.split()
        assert hidden(nn.Sequential(model, nn.Softmax(-1)) if "dict" not in case and "end" not in case else model)
    assert all(p.requires_grad != frozen and p.grad is None for p in model.parameters())
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("forward", "layers", "wanted", "more"),
    [
        (written_over, "head=5-3 a=4-5", ["a"], {}),
        (positions, "head=5-3 a=4-5", ["a"], {"table": nn.Parameter(torch.randn(2, 3)), "norm": nn.LayerNorm((2, 3))}),
    ],
)
def test_other_ways_to_the_answer(forward, layers, wanted, more):
    model, x = made(forward, layers, **more), torch.randn(2, 4)
    assert hidden(model, x) == wanted
    if forward is positions:
        assert hidden(model) == wanted
    else:  # what only numbers decide: the size of the batch
        with pytest.raises(InputError, match=r"hidden\(model, example\)"):
            hidden(model)


def added(m, x):
    y = m.a(x)
    y.add_(m.b(x))
    return m.head(x) + y


def added_to_a_piece(m, x):
    y = m.a(x)
    y[:, :2].add_(m.b(x)[:, :2])
    return y * m.head(x)


def added_and_returned(m, x):
    y = m.a(x).relu()
    y.mul_(2)
    return m.head(m.b(x).add_(y))


def test_what_is_written_over_is_not_missed():
    for way in (added, added_to_a_piece):
        model = made(way, "head=4-4 a=4-4 b=4-4")
        with pytest.raises(InputError, match="add_ writes on a tensor that is used again"):
            hidden(model)
        with pytest.raises(InputError, match="every prunable layer"):
            hidden(model, torch.randn(2, 4))
    model = made(added_and_returned, "head=4-4 a=4-4 b=4-4")
    assert hidden(model) == hidden(model, torch.randn(2, 4)) == ["a", "b"]


def test_layers_whose_sizes_alone_are_looked_at_give_no_answer():
    model = made(sizes_only, "a=4-5 head=4-3 c=5-5")
    assert hidden(model) == ["a"]


def test_layers_that_no_way_leads_to_are_not_hidden_and_an_example_that_leaves_one_out_says_so():
    model = made(idle, "head=5-3 a=4-5 spare=5-7")
    assert hidden(model) == hidden(model, torch.randn(2, 4)) == ["a"]
    experts = made(lambda m, x: m.head((m.a if x.sum() > 0 else m.b)(x)), "head=5-3 a=4-5 b=4-5")
    with pytest.raises(InputError, match="'b' takes no part in the answer to the example"):
        hidden(experts, torch.ones(2, 4))


def auxiliary(m, x):
    h = m.a(x)
    return (m.head(h), m.other(m.inner(h))) if m.training else m.head(h)


def test_heads_that_only_training_runs_are_not_hidden():
    model = made(auxiliary, "other=5-3 inner=5-5 head=5-3 a=4-5")
    assert hidden(model.train()) == hidden(model, torch.randn(2, 4)) == hidden(model.eval()) == ["a"]


def test_what_decides_by_numbers_needs_an_example():
    model = made(lambda m, x: m.head(m.a(x)) if x.sum() > 0 else m.a(x), "head=5-3 a=4-5")
    with pytest.raises(InputError, match=r"which layers of Network give the answer is not known.*example.*only="):
        hidden(model)
    assert hidden(model, torch.ones(2, 4)) == ["a"]
    assert hidden(nn.Sequential(model, nn.Linear(3, 2))) == ["0.head", "0.a"]  # whatever happens inside
    with pytest.raises(InputError, match="detached"):
        hidden(made(lambda m, x: m.head(m.a(x)).argmax(), "head=5-3 a=4-5"), torch.ones(2, 4))
    with pytest.raises(InputError, match="'a' ran without gradients"):
        hidden(made(lambda m, x: m.head(torch.no_grad()(m.a)(x)), "head=5-3 a=4-5"), torch.ones(2, 4))


class Keyword(nn.Module):
    """Reads keywords, one of which has a default that decides."""

    def __init__(self):
        super().__init__()
        self.extra, self.head, self.a = nn.Linear(3, 3), nn.Linear(5, 3), nn.Linear(4, 5)
        self.last, self.calls = None, []
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x, scale=None, *, twice=False):
        self.last = x
        self.calls.append(x)
        self.seen += 1
        y = self.head(self.a(x))
        return y if not twice else self.extra(y)


def test_defaults_decide_and_forward_leaves_nothing_on_the_model():
    model = Keyword()
    assert hidden(model) == ["a"]
    assert model.last is None
    assert model.calls == []
    assert float(model.seen) == 0
    assert hidden(model.eval(), {"x": torch.randn(2, 4), "twice": torch.tensor(True)}) == ["head", "a"]
    assert not model.training


def test_a_forward_that_was_replaced_is_not_taken_for_its_classs():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model.forward = lambda x: model[0](model[2](x))
    with pytest.raises(InputError, match="its forward was replaced"):
        hidden(model)
    assert hidden(model, torch.randn(2, 4)) == ["2"]


def test_a_forward_of_any_number_of_inputs_is_followed_for_one():
    class Open(Network):
        def forward(self, *inputs):
            return self.way(self, *inputs)

    model = Open(classifier_first, head=nn.Linear(8, 3), a=nn.Linear(4, 6), b=nn.Linear(6, 8))
    assert hidden(model) == ["a", "b"]
    assert type(model) is Open


def test_hidden_states_beside_an_answer_are_none():
    model = made(lambda m, x: {"logits": m.head(m.a(x)), "last_hidden_state": m.a(x)}, "head=5-3 a=4-5")
    assert hidden(model, torch.randn(2, 4)) == ["a"]
    model = made(lambda m, x: {"last_hidden_state": m.head(m.a(x))}, "head=5-3 a=4-5")
    assert hidden(model, torch.randn(2, 4)) == ["a"]


def test_wrapped_and_compiled_models_keep_their_names():
    model, x = made(classifier_first, "head=8-3 a=4-6 b=6-8"), torch.randn(2, 4)
    for shell, name in ((torch.compile(model, backend="eager"), "_orig_mod"), (nn.DataParallel(model), "module")):
        assert hidden(shell) == hidden(shell, x) == [f"{name}.a", f"{name}.b"]


def test_attention_and_embeddings_give_answers_like_layers():
    torch.manual_seed(0)
    model = made(lambda m, x: m.attention(*[m.a(x)] * 3)[0], "a=4-4", attention=nn.MultiheadAttention(4, 2))
    assert hidden(model) == hidden(model, torch.randn(2, 3, 4)) == ["a"]
    model = made(lambda m, x: m.a(m.embed(x)) @ m.embed.weight.t(), "a=4-4 b=4-4", embed=nn.Embedding(5, 4))
    model.way = lambda m, x: m.b(m.a(m.embed(x))) @ m.embed.weight.t()
    assert hidden(model) == hidden(model, torch.tensor([[1, 2]])) == ["a", "b"]
    recurrent = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.LSTM(4, 3))
    assert hidden(recurrent) == hidden(recurrent, torch.randn(2, 3, 4)) == ["0", "1"]


def test_chains_and_residual_networks_need_no_example():
    model = resnet_cifar(20)
    names = hidden(model)
    assert names == hidden(model, torch.randn(1, 3, 32, 32))
    assert len(names) == 19
    block = nn.Sequential(nn.Linear(3, 3), made(lambda m, x: x + m.b(m.a(x)), "a=3-3 b=3-3"), nn.ReLU())
    assert hidden(block) == hidden(block, torch.randn(2, 3)) == ["1.a"]


def test_runs_find_their_hidden_layers_by_a_sample():
    assert start(tiny_task()).hidden() == ["0", "2"]
