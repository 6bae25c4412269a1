"""What is summed in forward passes: every call once, as the layer gave it; what is not seen is an error."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sapwood import CRITERIA, InputError, Statistic, hidden, observe, observing, score
from sapwood.scoring.modes import _Eager
from sapwood.scoring.statistics import active, count, counting, gram, output_sum

output = Statistic("output", lambda s: s.y_NO.sum(0))


class Network(nn.Module):
    """Three layers and a forward that is given."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.a, self.b, self.c = forward, nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.double()

    def forward(self, x):
        return self.way(self, x)


def inputs(rows=6, columns=4):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def plain(m, x):
    return m.c(m.b(m.a(x).relu_()).relu_())


def counts(model, x, *statistics, only=None, backward=False, **options):
    with observing(model, *(statistics or (count,)), only=only, **options) as seen:
        y = model(x)
        if backward:
            y.square().sum().backward()
    return {name: {k: v.tolist() for k, v in sums.items()} for name, sums in seen.items()}


def six(*names):
    return {name: {"count": 6} for name in names}


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_is_computed_again_for_the_backward_pass_counts_once(reentrant):
    way = lambda m, x: m.c(checkpoint(lambda t: m.b(m.a(t).relu()), x, use_reentrant=reentrant))  # noqa: E731
    model, x = Network(way), inputs().requires_grad_()
    once = counts(Network(way), x, count, active, output)
    assert counts(model, x, count, active, output, backward=True) == once
    assert once["b"]["count"] == 6
    assert model.a.weight.grad.abs().sum() > 0


def test_every_call_counts():
    way = lambda m, x: m.c(m.b(m.b(m.b(m.a(x)))))  # noqa: E731
    assert counts(Network(way), inputs()) == six("a", "c") | {"b": {"count": 18}}


@pytest.mark.parametrize(
    "how", ["the whole", "a part", "in place", "fullgraph", "inside of the block", "called by its shell"]
)
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's compiler looks at it
def test_compiled_models_are_counted(how):
    model = nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.ReLU(), nn.Linear(5, 5)), nn.Linear(5, 3)).double()
    names, x = ["0", "1.1", "2"], inputs()
    called = seen_as = model
    options = {"backend": "eager", "fullgraph": how == "fullgraph"}
    if how == "a part":
        model[1] = torch.compile(model[1], **options)
        names[1] = "1._orig_mod.1"
    elif how == "in place":
        model.compile(**options)
    elif how != "inside of the block":
        called = torch.compile(model, **options)
    called(x)
    if how == "called by its shell":
        seen_as, names = called, [f"_orig_mod.{name}" for name in names]
    with observing(seen_as, count) as seen:
        if how == "inside of the block":
            called = torch.compile(model, **options)
        called(x)
    assert {n: int(s[count]) for n, s in seen.items()} == dict.fromkeys(names, 6)
    assert _Eager.blocks == 0
    seen = observe(called, [x], count)
    assert {int(s[count]) for s in seen.values()} == {6}
    torch._dynamo.reset()


def test_blocks_that_end_in_any_order_leave_compiling_on():
    first, second = observing(Network(plain), count, into={}), observing(Network(plain), count, into={})
    import torch._dynamo

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch._dynamo.eval_frame._stance.stance == "force_eager"
    second.__exit__(None, None, None)
    assert torch._dynamo.eval_frame._stance.stance == "default"


def read(m, x):
    return m.c(F.linear(m.a(x), m.b.weight))


def called_directly(m, x):
    return m.c(m.b.forward(m.a(x)))


def never(m, x):
    return m.c(m.a(x))


def of_nothing(m, x):
    return m.c(m.a(x)) + m.b(m.a(x[:0])).sum()


@pytest.mark.parametrize("way", [read, called_directly, never, of_nothing])
def test_a_layer_that_is_not_seen_is_named_and_the_others_can_be_asked_for(way):
    with pytest.raises(InputError, match=r"'b' saw nothing.*only="):
        counts(Network(way), inputs())
    with pytest.raises(InputError, match=r"'b' saw nothing.*only="):
        observe(Network(way), [inputs()], count)
    assert counts(Network(way), inputs(), only=["a", "c"]) == six("a", "c")
    assert counts(Network(way), inputs(), into={})["a"] == {"count": 6}


def test_a_block_that_sees_nothing_says_so():
    model = Network(plain)
    with pytest.raises(InputError, match="no layer was seen to run"), observing(model, count):
        copy.deepcopy(model)(inputs())
    with pytest.raises(KeyError), observing(model, count):  # an error of yours comes first
        raise KeyError
    assert not any(m._forward_hooks for m in model.modules())


def test_attention_reads_the_weight_of_its_last_layer_itself():
    encoder = nn.TransformerEncoderLayer(4, 2, 7, batch_first=True).double().eval()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    with pytest.raises(InputError, match=r"'self_attn.out_proj' is never called: nn.MultiheadAttention"):
        observing(encoder, count).__enter__()
    with torch.no_grad():  # where torch would take its fast path
        assert counts(encoder, x, only=["linear1", "linear2"]) == six("linear1", "linear2")
    assert not any(m._forward_hooks for m in encoder.modules())


def test_evidence_is_not_touched_by_what_overwrites_the_outputs_later():
    def way(m, x):
        h = m.a(x)
        y = h.relu().sum() + h[:, :0].sum()
        h.mul_(0)
        return m.c(m.b(h)) + y

    first = Statistic("first", lambda s: s.y_NO[0])  # a piece of the output itself
    fires = counting("fires", lambda s: s.y_NO.relu().sign())
    model, x = Network(way), inputs()
    h = model.a(x).detach()
    with observing(model, first, fires, output, output_sum) as seen:
        y = model(x)
        y.sum().backward()
        model(x)
    torch.testing.assert_close(seen["a"][first], 2 * h[0])
    assert seen["a"][fires].tolist() == (2 * (h > 0).sum(0)).tolist()
    torch.testing.assert_close(seen["a"][output], 2 * h.sum(0))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64])
def test_outputs_of_any_type_and_layout_are_counted_exactly(dtype):
    class Layer(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return y.T.contiguous().T.mul(10).to(dtype)

    model = nn.Sequential(Layer(4, 5).double())
    x = inputs()
    with observing(model, active, count) as seen:
        for _ in range(300):
            y = model(x)
    assert seen["0"][active].tolist() == (300 * (y > 0).sum(0)).tolist()
    assert int(seen["0"][count]) == 1800


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    "layer", [lambda: nn.Linear(4, 5), lambda: nn.Conv1d(4, 5, 2), lambda: nn.ConvTranspose1d(4, 5, 2)]
)
def test_single_samples_are_laid_out_like_batches_of_one(layer, batched):
    model = nn.Sequential(layer()).double()
    x = inputs(4, 4) if not isinstance(model[0], nn.Linear) else inputs(1)[0]
    found = observe(model, [x[None] if batched else x], count, output, gram)["0"]
    y = model(x[None])[0]
    y_NO = y[None] if y.dim() == 1 else y.T
    assert int(found[count]) == len(y_NO)
    torch.testing.assert_close(found[output], y_NO.detach().sum(0))
    assert len(found[gram]) == model[0].weight.numel() // 5


def test_under_autocast_and_inference_mode_in_turn():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    x = inputs().float()
    with observing(model, active, count, output) as seen:
        with torch.inference_mode():
            model(x)
        model(x).sum().backward()
        with torch.autocast("cpu", torch.bfloat16):
            model(x)
        with torch.inference_mode():
            model(x)
    assert int(seen["0"][count]) == 24
    seen["0"][output].add_(1)  # an ordinary tensor


def test_layers_called_by_keyword_and_blocks_within_blocks():
    model = Network(lambda m, x: m.c(input=m.b(input=m.a(input=x))))
    with observing(model, count) as outer:
        model(inputs())
        with observing(model, count, gram) as inner:
            model(inputs())
    assert {int(s[count]) for s in outer.values()} == {12}
    assert {int(s[count]) for s in inner.values()} == {6}
    assert inner["a"][gram].shape == (4, 4)


def test_what_another_hook_makes_of_an_output_is_not_the_layers():
    model = Network(plain)
    before = counts(model, inputs(), active)
    model.a.register_forward_hook(lambda m, x, y: y.abs_())
    assert counts(model, inputs(), active)["a"] == before["a"]


@pytest.mark.parametrize("gives", [lambda y: (y, y), lambda y: torch.nested.nested_tensor(list(y)), lambda y: None])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_layers_that_give_no_tensor_are_named(gives):
    class Layer(nn.Linear):
        def forward(self, x):
            return gives(super().forward(x))

    model = nn.Sequential(Layer(4, 5))
    with pytest.raises(InputError, match=r"layer '0' gave a (tuple|nested tensor|NoneType)"):
        counts(model, torch.randn(6, 4))


def test_copies_made_inside_of_the_block_are_not_counted():
    model = Network(plain)
    with observing(model, count) as seen:
        model(inputs())
        best = copy.deepcopy(model)
        best(inputs())
    best(inputs())
    assert {int(s[count]) for s in seen.values()} == {6}


def test_copies_and_transforms_are_named():
    model = nn.Sequential(nn.Linear(4, 5))
    with observing(model, count, into={}):
        replica = model[0]._replicate_for_data_parallel()
        replica.weight, replica.bias = model[0].weight.detach(), None
        with pytest.raises(InputError, match=r"'0' ran as one of DataParallel's copies"):
            replica(torch.randn(2, 4))
        with pytest.raises(InputError, match=r"'0' ran inside of torch.func"):
            torch.vmap(model)(torch.randn(2, 4))


def test_what_was_not_seen_is_not_scored_and_the_error_knows_what_was():
    model = Network(plain)
    with observing(model, active, count, only=["a", "b"]) as seen:
        model(inputs())
    with pytest.raises(InputError, match=r"'active' of layer 'c'.*the evidence has it of 'a', 'b'"):
        score(model, CRITERIA["activity"], seen)
    assert set(score(model, CRITERIA["activity"], seen, only=hidden(model))) == {"a.weight", "b.weight"}
    with pytest.raises(InputError, match=r"observe\(model, batches, weight_grad, loss=...\)"):
        score(model, CRITERIA["snip"], seen)
