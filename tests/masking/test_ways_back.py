"""Every way by which removed weights are known to come back while a mask is held: shut, or refused by name.

`read` is what the forward pass reads: the layer's own input and output tell it, not the parameter afterwards.
"""

import copy
import gc
import io
import weakref
from functools import partial

import pytest
import torch
import torch.nn.utils.prune as torch_prune
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.utils.checkpoint import checkpoint

from sapwood.errors import InputError
from sapwood.masking import stepping
from sapwood.masking.holding import hold, seen_through
from sapwood.training.loop import train
from sapwood.training.run import start
from sapwood.training.task import Batch, Data, Task

X, Y = torch.randn(16, 6, dtype=torch.float64), torch.randint(3, (16,))
KEEP = torch.arange(48).view(8, 6) % 3 != 0
REMOVED = ~KEEP


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()


def read(model, layer=None, inputs=X):
    """The weight with which a linear layer computes, from its outputs for unit vectors."""
    layer = model[0] if layer is None else layer
    seen = []
    with torch.no_grad():
        handle = layer.register_forward_hook(lambda m, args, out: seen.append((args[0], out)))
        model(inputs)
        handle.remove()
    inputs_, outputs = seen[-1]
    bias = 0 if layer.bias is None else layer.bias
    return torch.linalg.lstsq(inputs_, outputs - bias).solution.T.detach()


def backward(model):
    nn.functional.cross_entropy(model(X), Y).backward()


def steps(model, optimizer, count=3):
    for _ in range(count):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()


def fill(weight):
    weight.data.fill_(1)


def is_pruned(model):
    return float(read(model)[REMOVED].abs().max()) < 1e-9 and bool((model[0].weight[REMOVED] == 0).all())


@pytest.fixture
def trained():
    """A network with a history of momentum, and its optimiser."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    steps(model, optimizer)
    return model, optimizer


class Sharpness(torch.optim.Optimizer):
    """Up the slope, and then by the base optimiser from where it was; `step` itself is never called."""

    def __init__(self, params, base, **options):
        super().__init__(params, options)
        self.inner = base(self.param_groups, **options)

    @torch.no_grad()
    def up(self):
        for p in self.param_groups[0]["params"]:
            self.state[p]["before"] = p.data.clone()
            p.data.add_(p.grad, alpha=0.05).add_(0.01)

    @torch.no_grad()
    def down(self):
        for p in self.param_groups[0]["params"]:
            p.data = self.state[p]["before"]
        self.inner.step()


class LookAhead(torch.optim.Optimizer):
    """Every second step halfway back to slow weights, which it keeps for itself."""

    def __init__(self, fast):
        self.fast, self.param_groups, self.count = fast, fast.param_groups, 0
        self.slow = [p.detach().clone() for group in fast.param_groups for p in group["params"]]

    def zero_grad(self, set_to_none=True):
        self.fast.zero_grad(set_to_none)

    def step(self, closure=None):
        self.fast.step(closure)
        self.count += 1
        for p, slow in zip(self.param_groups[0]["params"], self.slow, strict=True):
            if self.count % 2 == 0:
                p.data.lerp_(slow, 0.5)


class Bare:
    """An optimiser that torch has never heard of."""

    def __init__(self, params):
        self.param_groups = [{"params": list(params)}]

    def step(self):
        pass


def test_sharpness_aware_training(trained):
    model, _ = trained
    optimizer = Sharpness(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    backward(model)
    optimizer.inner.step()  # momentum of the whole weight
    with hold(model, optimizer, {"0.weight": KEEP}):
        for _ in range(3):
            optimizer.zero_grad()
            backward(model)
            optimizer.up()
            assert float(read(model)[REMOVED].abs().max()) < 1e-9
            backward(model)
            optimizer.down()
            assert is_pruned(model)
            assert not optimizer.inner.state[model[0].weight]["momentum_buffer"][REMOVED].any()


def test_slow_weights_from_before(trained):
    model, optimizer = trained
    ahead = LookAhead(optimizer)
    with hold(model, ahead, {"0.weight": KEEP}):
        for _ in range(4):
            steps(model, ahead, 1)
            assert float(read(model)[REMOVED].abs().max()) < 1e-9


@pytest.mark.parametrize("make", [Bare, lambda params: object()], ids=["no torch optimiser", "no optimiser"])
def test_an_optimiser_whose_steps_nobody_sees_is_refused(make):
    model = network()
    with pytest.raises(InputError, match=r"step hooks|torch.optim.Optimizer"):
        hold(model, make(model.parameters()), {"0.weight": KEEP})


def test_a_second_optimiser_with_a_history_of_its_own(trained):
    model, optimizer = trained
    other = torch.optim.Adam(model.parameters(), lr=0.1)
    steps(model, other)
    with hold(model, optimizer, {"0.weight": KEEP}):
        steps(model, other, 1)
        assert not model[0].weight[REMOVED].any()  # after its step, not only in the next forward pass
        assert is_pruned(model)


def test_an_average_made_before_is_put_back(trained):
    model, optimizer = trained
    average = torch.optim.swa_utils.AveragedModel(model)
    with hold(model, optimizer, {"0.weight": KEEP}):
        steps(model, optimizer)
        average.update_parameters(model)
        for p, mean in zip(model.parameters(), average.module.parameters(), strict=True):
            p.data.copy_(mean)
        assert is_pruned(model)
        for p, mean in zip(model.parameters(), average.module.parameters(), strict=True):
            p.data, mean.data = mean.data, p.data
        assert is_pruned(model)


def test_an_average_made_meanwhile_is_held_and_let_go_with_the_model(trained):
    model, optimizer = trained
    held = hold(model, optimizer, {"0.weight": KEEP})
    average = torch.optim.swa_utils.AveragedModel(model)
    average.module[0].weight.data.fill_(1)
    assert is_pruned(average.module)
    held.release()
    average.module[0].weight.data.fill_(1)
    assert float(read(average.module)[REMOVED].abs().min()) > 0.99


def test_optimiser_state_from_before_is_loaded(trained):
    model, optimizer = trained
    before = copy.deepcopy(optimizer.state_dict())
    with hold(model, optimizer, {"0.weight": KEEP}):
        optimizer.load_state_dict(before)
        steps(model, optimizer, 1)
        assert not optimizer.state[model[0].weight]["momentum_buffer"][REMOVED].any()
        assert is_pruned(model)


@pytest.mark.parametrize("assign", [False, True])
def test_weights_from_before_are_loaded_and_read_at_once(trained, assign):
    model, optimizer = trained
    dense = {name: value.clone() for name, value in model.state_dict().items()}
    with hold(model, optimizer, {"0.weight": KEEP}):
        model.load_state_dict(dense, assign=assign)
        assert not model[0].weight[REMOVED].any()
        model[0].load_state_dict({"weight": dense["0.weight"], "bias": dense["0.bias"]}, assign=assign)
        assert is_pruned(model)


def test_a_pair_copied_while_held_is_held_with_its_optimiser(trained):
    model, optimizer = trained
    with hold(model, optimizer, {"0.weight": KEEP}):
        copied, its = copy.deepcopy((model, optimizer))
        assert copied[0].weight is not model[0].weight
        read(copied)
        for group in its.param_groups:
            for p in group["params"]:
                p.grad = torch.ones_like(p)
        its.step()
        assert not copied[0].weight[REMOVED].any()
        backward(copied)
        assert not copied[0].weight.grad[REMOVED].any()
        part = copy.deepcopy(model[0])
        part.weight.data.fill_(1)
        part(X)
        assert not part.weight[REMOVED].any()


def test_a_held_model_is_not_pickled(trained):
    model, optimizer = trained
    with hold(model, optimizer, {"0.weight": KEEP}):
        for what in (model, (model, optimizer), model[0]):
            with pytest.raises(InputError, match="state_dict"):
                torch.save(what, io.BytesIO())
        torch.save((model.state_dict(), optimizer.state_dict()), io.BytesIO())
        copied = copy.deepcopy(model)
    file = io.BytesIO()
    torch.save((model, copied), file)
    file.seek(0)
    for again in torch.load(file, weights_only=False):
        again(X)
        assert not any(m._forward_pre_hooks for m in again.modules())


def test_layers_and_parameters_are_changed_while_held(trained):
    model, optimizer = trained
    with hold(model, optimizer, {"0.weight": KEEP}):
        model[0].weight = nn.Parameter(torch.ones(8, 6, dtype=torch.float64))
        assert is_pruned(model)
        backward(model)
        assert not model[0].weight.grad[REMOVED].any()
        model[0].weight = nn.Parameter(torch.ones(7, 6, dtype=torch.float64))
        with pytest.raises(InputError, match=r"shape \(7, 6\)"):
            model(X)
        model[0] = nn.Linear(6, 8).double()
        with pytest.raises(InputError, match=r"0\.weight"):
            model(X)
        del model[0].weight
        with pytest.raises(InputError, match=r"0\.weight"):
            model(X)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_float32_is_made_float64_while_held():
    model = network().float()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with hold(model, optimizer, {"0.weight": KEEP}):
        model.double()
        model[0].weight.data.fill_(float("nan"))
        model(X)
        assert (model[0].weight[REMOVED] == 0).all()


class Borrowing(nn.Module):
    """Reads its layers' weights itself; none of these layers ever runs."""

    def __init__(self):
        super().__init__()
        self.inside = nn.ModuleDict({"a": nn.Linear(6, 8), "b": nn.Linear(6, 8)})
        self.inside["b"].weight = self.inside["a"].weight
        self.out = nn.MultiheadAttention(8, 2)

    def forward(self, x):
        hidden = nn.functional.linear(x, self.inside["a"].weight) + nn.functional.linear(x, self.inside["b"].weight)
        return self.out(hidden, hidden, hidden)[0]


@pytest.mark.parametrize("name", ["inside.a.weight", "inside.b.weight", "out.out_proj.weight", "out.in_proj_weight"])
def test_weights_that_another_module_reads(name):
    model = Borrowing().double()
    weight = model.get_parameter(name)
    keep = torch.rand(weight.shape) > 0.5
    with hold(model, torch.optim.SGD(model.parameters(), lr=0.1), {name: keep}):
        weight.data.fill_(float("inf"))
        assert model(X).isfinite().logical_not().any()  # what is kept is as it was left
        assert (weight[~keep] == 0).all()
        weight.data.fill_(1)
        model.out(X[:, :1].expand(16, 8), X[:, :1].expand(16, 8), X[:, :1].expand(16, 8))
        assert (weight[~keep] == 0).all() or not name.startswith("out.")


def test_one_tensor_under_two_names():
    model = Borrowing()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    keep = torch.rand(8, 6) > 0.5
    held = hold(model, optimizer, {"inside.a.weight": keep, "inside.b.weight": keep.clone()})
    assert set(held.masks) == {"inside.a.weight", "inside.b.weight"}
    held.release()
    with pytest.raises(InputError, match="tied"):
        hold(model, optimizer, {"inside.a.weight": keep, "inside.b.weight": ~keep})
    with hold(model, optimizer, {"inside.a.weight": keep}):
        model.inside["b"].weight = nn.Parameter(torch.ones(8, 6))
        with pytest.raises(InputError, match="tied"):
            model(torch.ones(4, 6))


def test_recomputed_and_repeated_layers_do_not_find_their_weights_changed(trained):
    model, optimizer = trained
    model[0].weight.detach().numpy()  # so that no seal is trusted, and every pass clears
    with hold(model, optimizer, {"0.weight": KEEP}):
        for reentrant in (True, False):
            x = X.clone().requires_grad_()
            hidden = checkpoint(model[0], x, use_reentrant=reentrant) + model[0](x)
            hidden.sum().backward()
            assert not model[0].weight.grad[REMOVED].any()


def test_another_tensor_for_one_pass(trained):
    model, optimizer = trained
    with hold(model, optimizer, {"0.weight": KEEP}):
        parameters = dict(model.named_parameters())
        torch.func.functional_call(model, parameters, (X,))
        fast = parameters | {"0.weight": parameters["0.weight"] * 2}
        torch.func.functional_call(model, fast, (X,))
        with pytest.raises(InputError, match="functional_call"):
            torch.func.functional_call(model, parameters | {"0.weight": parameters["0.weight"] + 1}, (X,))
        several = {name: torch.stack([p.detach(), p.detach()]) for name, p in parameters.items()}
        with pytest.raises(InputError, match="cannot be looked into"):
            torch.func.vmap(lambda p: torch.func.functional_call(model, p, (X,)))(several)
        assert is_pruned(model)


def test_after_torch_prune(trained):
    model, _ = trained
    torch_prune.random_unstructured(model[0], "weight", 0.5)
    theirs = model[0].weight_mask.bool()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for name in ("0.weight", "0.weight_orig"):
        with hold(model, optimizer, {name: KEEP}) as held:
            assert list(held.masks) == [name]
            steps(model, optimizer)
            assert not read(model)[~(KEEP & theirs)].abs().gt(1e-9).any()
            model[0].weight_orig.data.fill_(1)
            assert not read(model)[~(KEEP & theirs)].abs().gt(1e-9).any()


@pytest.mark.parametrize("form", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("older", [False, True])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_weights_computed_from_the_masked_parameter(form, older):
    model = network()
    getattr(nn.utils if older else nn.utils.parametrizations, form)(model[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with hold(model, optimizer, {"0.weight": KEEP}):
        steps(model, optimizer)
        assert float(read(model)[REMOVED].abs().max()) < 1e-9
    if form == "weight_norm":
        with pytest.raises(InputError, match="0"):  # its norm would be 0, and 0 / 0 is NaN
            hold(model, optimizer, {"0.weight": KEEP & (torch.arange(8) > 2)[:, None]})


class PlusOne(nn.Module):
    """A part that is learned beside the weight, as an adapter's is; it begins at 0."""

    def __init__(self):
        super().__init__()
        self.beside = nn.Parameter(torch.zeros(8, 6))

    def forward(self, weight):
        return weight + self.beside


@pytest.mark.parametrize("what", ["orthogonal", "an adapter that begins at 0"])
def test_zeros_that_a_parametrisation_would_lose_are_refused(what):
    model = network().float()
    if what == "orthogonal":
        nn.utils.parametrizations.orthogonal(model[0])
    else:
        nn.utils.parametrize.register_parametrization(model[0], "weight", PlusOne())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    keep, before = torch.arange(48).view(8, 6) % 5 != 0, model[0].parametrizations.weight.original.detach().clone()
    for name in ("0.weight", "0.parametrizations.weight.original"):
        with pytest.raises(InputError, match=r"Orthogonal|PlusOne"):
            hold(model, optimizer, {name: keep})
    assert torch.equal(model[0].parametrizations.weight.original, before)  # nothing was done


def unusable(how):
    layer = nn.Linear(6, 8)
    if how == "expanded":
        layer.weight = nn.Parameter(torch.ones(8, 1).expand(8, 6))
    return {"meta": layer.to("meta"), "expanded": layer, "lazy": nn.LazyLinear(8)}[how]


@pytest.mark.parametrize("how", ["meta", "expanded", "lazy"])
def test_weights_without_values_of_their_own_are_refused(how):
    layer = unusable(how)
    with pytest.raises(InputError, match=r"meta device|expanded|no shape yet"):
        hold(layer, torch.optim.SGD(layer.parameters(), lr=0.1), {"weight": KEEP})


def test_gradients_by_hand_and_by_halves(trained):
    """Accumulated, scaled to a norm, replaced, or written to behind autograd's back: the step finds 0."""
    model, optimizer = trained
    weight = model[0].weight
    with hold(model, optimizer, {"0.weight": KEEP}):
        backward(model)
        backward(model)
        alive = [p.grad for p in model.parameters()]
        assert not weight.grad[REMOVED].any()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        assert float(norm.detach()) == pytest.approx(
            float(torch.cat([g.flatten() / 1e-3 * norm for g in alive]).norm()), rel=1e-4
        )
        ways = (
            lambda: setattr(weight, "grad", torch.full_like(weight, float("inf"))),
            lambda: weight.grad.data.add_(1),
            lambda: weight.grad.numpy().fill(float("nan")),
        )
        for by_hand in ways:
            optimizer.zero_grad(set_to_none=False)
            backward(model)
            by_hand()
            optimizer.step()
            assert (weight[REMOVED] == 0).all()
            assert (optimizer.state[weight]["momentum_buffer"][REMOVED] == 0).all()
            optimizer.state[weight]["momentum_buffer"].zero_()
            weight.data.copy_(network()[0].weight)


def test_gradients_are_left_when_a_method_looks_at_them(trained):
    model, optimizer = trained
    with hold(model, optimizer, {"0.weight": KEEP}, gradients=False):
        for _ in range(2):
            steps(model, optimizer, 1)
            assert model[0].weight.grad[REMOVED].any()
            assert is_pruned(model)


def test_weights_of_a_run_written_between_its_steps():
    """A run looks before passes of its whole model and after loading, which is all that its own loop does."""
    little = Batch(X, Y)
    run = start(Task("little", network, Data(little, little, little), partial(torch.optim.SGD, lr=0.1), 8))
    run.prune({"0.weight": KEEP})
    moments = train(run, steps=3)
    next(moments)
    run.model[0].weight.data.fill_(1)
    assert is_pruned(run.model)
    run.model.load_state_dict({name: torch.ones_like(value) for name, value in run.model.state_dict().items()})
    assert torch.all(run.model[0].weight[REMOVED] == 0)
    run.model[0].weight.data.fill_(1)
    next(moments)
    assert torch.all(run.model[0].weight[REMOVED] == 0)
    assert run.model[0].weight[KEEP].any()


ODD_STEPS = ["Adam with eps 0", "an infinite rate", "a closure", "a hook before the step", "a hook after the step"]


@pytest.mark.parametrize("made", ODD_STEPS)
def test_steps_that_do_not_leave_zeros_alone(made):
    model = network()
    options = {"eps": 0.0} if made == "Adam with eps 0" else {}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, **options)
    given = ()
    if made == "an infinite rate":
        optimizer.param_groups[0]["lr"] = float("inf")
    with hold(model, optimizer, {"0.weight": KEEP}):
        backward(model)
        if made == "a closure":

            def closure():
                model[0].weight.grad.data.fill_(1)
                return torch.tensor(0.0)

            given = (closure,)
        if made == "a hook before the step":
            optimizer.register_step_pre_hook(lambda *_: fill(model[0].weight))
        if made == "a hook after the step":
            optimizer.register_step_post_hook(lambda *_: fill(model[0].weight))
        optimizer.step(*given)
        assert (model[0].weight[REMOVED] == 0).all()


def test_sparse_gradients():
    table = nn.Embedding(5, 4, sparse=True)
    keep = torch.arange(20).view(5, 4) % 3 != 0
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    with hold(table, optimizer, {"weight": keep}):
        for _ in range(3):
            optimizer.zero_grad()
            table(torch.tensor([1, 1, 4])).sum().backward()
            assert not table.weight.grad.to_dense()[~keep].any()
            optimizer.step()
            assert not table.weight[~keep].any()


def test_one_weight_held_twice_and_released_in_either_order(trained):
    model, optimizer = trained
    other = torch.arange(48).view(8, 6) % 2 == 0
    for order in ((0, 1), (1, 0)):
        held = [hold(model, optimizer, {"0.weight": keep}) for keep in (KEEP, other)]
        for _ in range(2):
            model[0].weight.data.fill_(1)
            assert not read(model)[~(KEEP & other)].abs().gt(1e-9).any()
            steps(model, optimizer, 1)
            assert (model[0].weight[~(KEEP & other)] == 0).all()
        held[order[0]].release()
        left = (KEEP, other)[order[1]]
        model[0].weight.data.fill_(1)
        model(X)
        assert torch.equal(model[0].weight == 1, left)
        held[order[1]].release()
        held[order[1]].release()
    assert not any(m._forward_pre_hooks or m._load_state_dict_post_hooks for m in model.modules())


def test_an_error_in_the_block_leaves_no_hook(trained):
    model, optimizer = trained
    with pytest.raises(KeyError), hold(model, optimizer, {"0.weight": KEEP}):
        raise KeyError
    assert not any(m._forward_pre_hooks or m._load_state_dict_post_hooks for m in model.modules())
    assert not model[0].weight._post_accumulate_grad_hooks


def test_a_refused_mask_changes_nothing(trained):
    model, optimizer = trained
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError):
        hold(model, optimizer, {"0.weight": KEEP, "2.weight": KEEP})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_who_drops_a_held_model_is_rid_of_it(trained):
    model, optimizer = network(), None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    others = {force for known in stepping._forces if (force := known()) is not None}  # of tests in this process before
    hold(model, optimizer, {"0.weight": KEEP})
    steps(model, optimizer, 1)
    gone = weakref.ref(model)
    del model, optimizer
    gc.collect()
    assert gone() is None
    hold(*trained, {"0.weight": KEEP}).release()
    assert {known() for known in stepping._forces} == others
    assert len(_global_optimizer_pre_hooks) == len(_global_optimizer_post_hooks) == bool(others)


def test_looking_through_another_mask_while_one_is_held(trained):
    model, optimizer = trained
    with hold(model, optimizer, {"0.weight": KEEP}):
        before = model[0].weight.detach().clone()
        with seen_through(model, {"0.weight": torch.zeros_like(KEEP)}):
            assert not read(model).abs().gt(1e-9).any()
        assert torch.equal(model[0].weight, before)
