"""Deep compression: what is left takes few values, is 0 where masks say so, and is as many bytes as is noted."""

from dataclasses import replace

import pytest
import torch

from sapwood import codec
from sapwood.checks import method, tiny_task
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.tasks import TASKS
from sapwood.training.loop import evaluate
from sapwood.training.run import start

SHORT = {"first_epochs": 1, "rounds": 1, "round_epochs": 1, "share_epochs": 2, "share_rate": 0.1}


def lived(task=None, **options):
    run = start(task or tiny_task())
    moments = list(METHODS["deep_compression"](run, **SHORT | options))
    return run, moments


def values(run):
    """Of each weight, how many different ones are not 0."""
    return [len(p[p != 0].unique()) for p in run.model.parameters() if p.dim() > 1]


def test_weights_take_values_of_a_codebook_and_biases_do_not():
    run, _ = lived(sparsity=0.5, bits="3 2 1")
    assert [k / 2 < found <= k for found, k in zip(values(run), [8, 4, 2], strict=True)] == [True] * 3
    assert len(run.model[0].bias.unique()) == 8


def test_at_every_moment_of_the_training_of_what_is_shared():
    run = start(tiny_task())
    seen = []
    for now in METHODS["deep_compression"](run, **SHORT, sparsity=0.5, bits="2"):
        if now.phase == 2:
            assert max(values(run)) <= 4
            seen.append(run.model[0].weight.detach().unique())
    assert len(seen) == 12
    assert not torch.equal(seen[0], seen[-1]), "what is shared is not trained"


def test_what_is_removed_is_plainly_0_in_the_end():
    run, _ = lived(sparsity=0.7)
    weight = run.model[2].weight
    gone = weight[~run.masks["2.weight"]]
    assert len(gone) == 45
    assert not gone.view(torch.int64).any(), "0.0 and not -0.0"
    assert run.round == 2


def test_without_rounds_the_zeros_it_finds_stay():
    run = start(tiny_task())
    with torch.no_grad():
        for p in run.model.parameters():
            p.masked_fill_(torch.rand(p.shape) < 0.4, 0)
    before = [p == 0 for p in run.model.parameters() if p.dim() > 1]
    for now in METHODS["deep_compression"](run, **SHORT | {"rounds": 0, "first_epochs": 0}, bits="2"):
        assert now.phase == 1
    assert [torch.equal(p == 0, zero) for p, zero in zip(
        (p for p in run.model.parameters() if p.dim() > 1), before, strict=True)] == [True] * 3  # fmt: skip
    assert values(run) == [4, 4, 4]


def half_empty():
    model = tiny_task().model()
    with torch.no_grad():
        for p in model.parameters():
            p.masked_fill_(torch.rand(p.shape) < 0.5, 0)
    return model


GIVEN = {"rounds": 0, "first_epochs": 0, "share_epochs": 2, "share_rate": 0.1, "bits": "2"}
PRUNED_ELSEWHERE = replace(tiny_task(), model=half_empty)
LAWS = method.laws("of what is given", METHODS["deep_compression"], task=PRUNED_ELSEWHERE, **GIVEN)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_laws_hold_for_what_was_pruned_elsewhere(law):
    law()


def test_the_centroids_step_is_the_learning_rate_times_the_summed_gradient():
    """One step of plain SGD, worked out from the gradients of a network that does not share."""
    task = tiny_task(torch.optim.SGD, lr=0.5)
    run = start(task)
    list(METHODS["deep_compression"](run, **SHORT | {"rounds": 0, "first_epochs": 0, "share_epochs": 0}, bits="2"))
    before = run.model[2].weight.detach().clone()
    again = start(task)
    moments = METHODS["deep_compression"](again, **SHORT | {"rounds": 0, "first_epochs": 0}, bits="2")
    torch.manual_seed(5)  # for dropout
    next(moments)
    torch.manual_seed(5)
    batch = next(iter(task.batches(0, 0)))
    run.model.train()
    run.model.zero_grad()
    task.loss(run.model, batch, run.model(batch.inputs)).backward()
    for value in before.unique():
        members = before == value
        step = again.model[2].weight[members] - value
        assert torch.allclose(step, -0.5 * 0.1 * run.model[2].weight.grad[members].sum(), atol=1e-12)


def test_bytes_and_what_each_stage_cost_are_noted():
    run, moments = lived(TASKS["mlp_digits"](), sparsity=0.8, first_epochs=2)
    content, sizes = codec.encode(run.model, adaptive=False)
    notes = run.notes
    assert notes["stored_bytes"] == len(content)
    assert notes["stored_fold"] == sizes.fold > 8
    pruned = next(now for now in reversed(moments) if now.phase == 1 and now.ends_epoch)
    assert notes["pruned_valid_accuracy"] == pruned.metrics["valid_accuracy"]
    assert notes["shared_valid_loss"] != pruned.metrics["valid_loss"]
    assert evaluate(run)["loss"] == moments[-1].metrics["valid_loss"]


def test_biases_share_values_when_asked_and_all_that_is_shared_is_trained():
    run = start(tiny_task())
    seen = []
    for now in METHODS["deep_compression"](run, **SHORT, sparsity=0.5, bits="2", biases="1 2 1"):
        if now.phase == 2:
            biases = [p.detach().unique() for p in run.model.parameters() if p.dim() == 1]
            assert [len(each) for each in biases] == [2, 4, 2]
            seen.append(biases[0])
    assert not torch.equal(seen[0], seen[-1])
    assert max(values(run)) <= 4


def test_the_shortest_coder_notes_what_the_bytes_are_for():
    run, _ = lived(sparsity=0.7, bits="2", biases="2", coder="shortest")
    content, sizes = codec.encode(run.model)
    assert run.notes["stored_bytes"] == len(content) <= run.notes["by_huffman_bytes"]
    assert run.notes["by_huffman_bytes"] == codec.encode(run.model, adaptive=False)[1].bytes
    assert {name: run.notes[name] for name in sizes.parts()} == sizes.parts()
    plain, _ = lived(sparsity=0.7, bits="2", biases="2")
    assert "by_huffman_bytes" not in plain.notes
    assert plain.notes["stored_bytes"] == run.notes["by_huffman_bytes"]


def test_bad_bits_are_refused_before_anything_is_trained():
    run = start(tiny_task())
    with pytest.raises(InputError, match=r"bits is '6 6'; give one number, or 3: for 0\.weight, 2\."):
        next(METHODS["deep_compression"](run, bits="6 6"))
    with pytest.raises(InputError, match=r"bits is '6.5'; give whole numbers in 1\.\.15"):
        next(METHODS["deep_compression"](run, bits="6.5"))
    with pytest.raises(InputError, match="biases is '4 4'; give one number, or 3"):
        next(METHODS["deep_compression"](run, biases="4 4"))
    with pytest.raises(InputError, match="unknown coder 'arithmetic'"):
        next(METHODS["deep_compression"](run, coder="arithmetic"))
    assert run.step == 0
