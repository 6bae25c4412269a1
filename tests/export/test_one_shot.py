"""One pass over the blocks of a pretrained model: what is removed, on what it is judged, and what is left alone."""

import re
import weakref
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from decoder import D, decoder, padded, words
from torch import nn

from sapwood import CRITERIA, hold, layerwise, one_shot, select
from sapwood.errors import InputError
from sapwood.export import block_by_block
from sapwood.export.removal import Removal
from sapwood.reconstruction import output_error, refit, sparsegpt
from sapwood.reconstruction.flow import Flow
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import gram, input_square

INNER = [f"layers.{n}.{name}" for n in range(3) for name in ("attention.qkv", "attention.out", "up", "down")]
BATCHES = words(5, 9, 2)


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(one, other):
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def wanda(w_OI, gram_II):
    return select.per_row({"": w_OI.abs() * gram_II.diagonal().sqrt()}, 0.5)[""]


def solver(by, refitted):
    """The same by hand, for `layerwise`."""

    def solve(name, w_OI, sums):
        found, keep = sparsegpt(w_OI, sums[gram], sparsity=0.5) if by == "sparsegpt" else (None, None)
        if by != "sparsegpt":
            keep = wanda(w_OI, sums[gram]) if by == "wanda" else select.everywhere({"": w_OI.abs()}, 0.5)[""]
            found = w_OI * keep
        return refit(w_OI, sums[gram], keep=keep) if refitted else (found, keep)

    return solve


# -- what is removed


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(("by", "refitted"), [("wanda", False), ("sparsegpt", False), ("wanda", True)])
def test_each_block_is_solved_on_what_the_pruned_ones_give(by, refitted, told):
    model = decoder(told=told)
    other = deepcopy(model)
    shot = one_shot(model, BATCHES, sparsity=0.5, by=by, refit=refitted)
    masks = layerwise(other, BATCHES, solver(by, refitted), gram, only=INNER, blocks=[f"layers.{n}" for n in range(3)])
    assert list(shot.masks) == list(masks) == [f"{name}.weight" for name in INNER]
    for name, keep in masks.items():
        assert torch.equal(shot.masks[name], keep)
        assert torch.allclose(model.get_parameter(name), other.get_parameter(name), rtol=1e-7, atol=1e-10)
        assert not model.get_parameter(name)[~keep].any()


def test_the_order_matters():
    """Trap: later blocks observed in the whole model lose other weights."""
    model = decoder()
    at_once = observe(model, BATCHES, gram, only=INNER[-4:])
    wanted = {name: wanda(model.get_submodule(name).weight.detach(), at_once[name][gram]) for name in INNER[-4:]}
    shot = one_shot(model, BATCHES, sparsity=0.5)
    assert not all(torch.equal(shot.masks[f"{name}.weight"], keep) for name, keep in wanted.items())


@pytest.mark.parametrize("by", ["wanda", "sparsegpt", "magnitude"])
def test_exactly_as_many_are_removed_as_asked_for(by):
    for options, share in (({"sparsity": 0.75}, 0.75), ({"pattern": "2:4"}, 0.5), ({"pattern": "3:4"}, 0.25)):
        model = decoder()
        shot = one_shot(model, BATCHES, by=by, **options)
        for name, keep in shot.masks.items():
            assert int((~keep).sum()) == round(share * keep.numel())
            if "pattern" in options:
                assert keep.view(-1, 4).sum(1).eq(4 * (1 - share)).all()
            elif by == "wanda":
                assert keep.sum(1).eq(round((1 - share) * keep.shape[1])).all()
            assert not model.get_parameter(name)[~keep].any()
        assert shot.sparsity == share


def test_nothing_else_is_touched():
    model = decoder().train()
    before, modes = weights(model), [module.training for module in model.modules()]
    shot = one_shot(model, BATCHES, sparsity=0.5, by="sparsegpt")
    for name, p in before.items():
        assert torch.equal(model.get_parameter(name), p) == (name not in shot.masks)
    assert [module.training for module in model.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in model.modules())
    assert shot.untouched == ("head",)
    whole = decoder()
    for by in ("wanda", "sparsegpt", "magnitude"):
        again = decoder()
        one_shot(again, BATCHES, sparsity=0.0, by=by)
        assert same(whole, again)


def test_errors_in_the_record_are_those_of_the_outputs():
    model, x = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)).double(), torch.randn(40, 8, dtype=D)
    w = model[0].weight.detach().clone()
    shot = one_shot(model, [x], sparsity=0.5, by="sparsegpt")
    first, keep = shot.layers[0], shot.masks["0.weight"]
    assert first.layer == first.block == "0"
    for error, now in ((first.masked, w * keep), (first.error, model[0].weight.detach())):
        assert error == pytest.approx(float((x @ (now - w).T).square().sum() / (x @ w.T).square().sum()))
    assert first.error < first.masked
    assert shot.tokens == 40


def test_a_refit_makes_errors_smaller_and_wanda_is_below_magnitude_here():
    errors = {}
    for by, refitted in (("magnitude", False), ("wanda", False), ("wanda", True), ("sparsegpt", False)):
        shot = one_shot(decoder(), BATCHES, sparsity=0.5, by=by, refit=refitted)
        errors[by, refitted] = sum(each.error for each in shot.layers[:4])  # of the first block: the same inputs
    assert errors["wanda", True] < errors["wanda", False] < errors["magnitude", False]
    assert errors["sparsegpt", False] < errors["magnitude", False]


# -- what it is judged on


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_not_counted(side):
    sentences = words(5, 9, 2, rows=1)
    one, other, third = decoder(), decoder(), decoder()
    alone = one_shot(one, sentences, sparsity=0.5, by="sparsegpt")
    together = one_shot(other, [padded(sentences, side)], sparsity=0.5, by="sparsegpt")
    assert alone.tokens == together.tokens == 16
    for name, keep in alone.masks.items():
        assert torch.equal(keep, together.masks[name])
        assert torch.allclose(one.get_parameter(name), other.get_parameter(name), rtol=1e-6, atol=1e-9)
    counted = padded(sentences, side)
    del counted["attention_mask"]
    assert one_shot(third, [counted], sparsity=0.5).tokens == 27


def test_the_same_bits_twice_and_on_a_device():
    models = [spiky(), spiky(), spiky()]
    for model, device in zip(models, (None, None, "cpu"), strict=True):
        one_shot(model, BATCHES, sparsity=0.5, by="sparsegpt", ratios="owl", device=device)
    assert same(models[0], models[1])
    assert same(models[0], models[2])


def test_what_lies_behind_the_blocks_runs_once():
    """The head of a language model is large: after the first batch, blocks are entered without it."""
    model, told = decoder(), decoder(told=True)
    for each in (model, told):
        one_shot(each, BATCHES, sparsity=0.5)
    assert model.calls == 1
    assert told.calls == 3  # its blocks must compute for that, which the first batch shows


def test_one_block_is_in_memory_at_a_time(monkeypatch):
    alive, observed, called = list[weakref.ref](), Flow.observed, Flow._called

    def watched(flow, number, statistics, layers, **options):
        assert not [ref for ref in alive if ref() is not None], "sums of an earlier block are still there"
        seen = observed(flow, number, statistics, layers, **options)
        alive.extend(weakref.ref(sums[gram]) for sums in seen.values())
        return seen

    def hooked(flow, block, x, beside):
        blocks = {name.split(".")[1] for name, m in model.named_modules() if m._forward_hooks}
        assert len(blocks) <= 1, f"hooks in blocks {blocks}"
        seen.append(blocks)
        return called(flow, block, x, beside)

    monkeypatch.setattr(Flow, "observed", watched)
    monkeypatch.setattr(Flow, "_called", hooked)
    model, seen = decoder(), []
    one_shot(model, BATCHES, sparsity=0.5)
    assert len(alive) == 12
    assert seen.count({"2"}) == len(BATCHES)  # observed once; nobody reads what the last block gives


def test_matrix_products_in_lower_precision_are_not_used():
    """Trap: with TF32 or bfloat16 products allowed, sums are made in float64."""
    x = torch.randn(50, 16) * 100
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))
    before = torch.get_float32_matmul_precision()
    sums = []
    try:
        torch.set_float32_matmul_precision("medium")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Removal, "solved", lambda asked, w, g, share: (sums.append(g), sparsegpt(w, g))[1])
            one_shot(model, [x], sparsity=0.5)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.allclose(sums[0], x.double().T @ x.double(), rtol=1e-12)


# -- ratios


def spiky():
    """A decoder in whose second block one input is far above the others; in the third a little."""
    model = decoder()
    model.layers[1].norm1.weight.data[0] = 300.0
    model.layers[2].norm1.weight.data[0] = 30.0
    return model


def test_blocks_with_outliers_keep_more():
    ratios = one_shot(spiky(), BATCHES, sparsity=0.7, ratios="owl").ratios
    assert ratios["layers.1"] == min(ratios.values())
    assert max(ratios.values()) - min(ratios.values()) == pytest.approx(0.16)
    assert sum(ratios.values()) / 3 == pytest.approx(0.7)


def test_owl_looks_at_the_whole_model():
    model, scores = spiky(), {}
    for name, sums in observe(model, BATCHES, input_square, only=INNER).items():
        w = model.get_submodule(name).weight.detach()
        scores.setdefault(name[:8], []).append(CRITERIA["wanda"].score(w, sums))
    wanted = block_by_block.by_outliers(
        {name: block_by_block.share_of_outliers(each) for name, each in scores.items()}, 0.6
    )
    assert one_shot(model, BATCHES, sparsity=0.6, ratios="owl").ratios == pytest.approx(wanted)


def test_ratios_may_be_said():
    ratios = {"layers.0": 0.25, "layers.1": 0.5, "layers.2": 0.75}
    shot = one_shot(decoder(), BATCHES, ratios=ratios)
    assert shot.sparsity == 0.5
    assert {each.block: each.sparsity for each in shot.layers} == ratios


# -- interruptions


@pytest.mark.parametrize("at", [0, 3, 5, 11])
def test_interrupted_anywhere_blocks_are_whole_and_it_goes_on_to_the_same_bits(at, monkeypatch):
    options = {"sparsity": 0.5, "by": "sparsegpt", "ratios": "owl"}
    whole, model = spiky(), spiky()
    shot = one_shot(whole, BATCHES, **options)
    before, solved, calls = weights(model), Removal.solved, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == at + 1:
            raise KeyboardInterrupt
        return solved(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Removal, "solved", interrupted)
        with pytest.raises(KeyboardInterrupt) as stopped:
            one_shot(model, BATCHES, **options)
    done = at // 4
    for name, p in model.named_parameters():
        block = int(name.split(".")[1]) if name.startswith("layers") else 9
        assert torch.equal(p, (weights(whole) if block < done else before)[name])
    left = stopped.value.pruned
    assert len(left.masks) == 4 * done
    assert left.left == [f"layers.{n}" for n in range(done, 3)]
    said = f"{done} of 3 blocks are pruned" if done else "nothing is pruned"
    assert said in stopped.value.__notes__[0]
    rest = one_shot(model, BATCHES, after=left, **options)
    assert same(model, whole)
    assert rest.left == []
    assert rest.layers == shot.layers
    assert all(torch.equal(rest.masks[name], keep) for name, keep in shot.masks.items())


def test_interrupted_while_weights_are_written_they_are_as_they_were(monkeypatch):
    model = decoder()
    before, shaped, calls = weights(model), block_by_block.shaped, []

    def torn(layer, found, like):
        calls.append(1)
        return shaped(layer, found, like)[:, :3] if len(calls) == 5 else shaped(layer, found, like)

    monkeypatch.setattr(block_by_block, "shaped", torn)
    with pytest.raises(RuntimeError):
        one_shot(model, BATCHES, sparsity=0.5)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_progress_is_told_block_by_block():
    lines = []
    one_shot(decoder(), BATCHES, sparsity=0.5, progress=lines.append)
    assert [line.split(":")[0] for line in lines] == [f"block {n} of 3, layers.{n - 1}" for n in (1, 2, 3)]


# -- afterwards


def test_masks_are_held_in_training():
    model = decoder()
    shot = one_shot(model, BATCHES, sparsity=0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    with hold(model, optimizer, shot.masks):
        for batch in BATCHES:
            model(batch).square().mean().backward()
            optimizer.step()
    for name, keep in shot.masks.items():
        assert not model.get_parameter(name)[~keep].any()
        assert model.get_parameter(name)[keep].all()


def test_it_prints_what_was_done():
    shot = one_shot(decoder(), BATCHES, sparsity=0.5, by="sparsegpt", refit=True)
    said = str(shot).splitlines()
    assert said[0].startswith(
        "sparsegpt, 50 %, refitted: 50.0 % of 1,536 weights removed, in 12 layers of 3 of 3 blocks"
    )
    assert [line.split()[0] for line in said[3:15]] == INNER
    assert any(line.startswith("whole  head") for line in said)
    deep = one_shot(decoder(depth=11), BATCHES, pattern="2:4")
    assert [line.split(",")[0] for line in str(deep).splitlines()[3:14]] == [f"layers.{n}" for n in range(11)]
    assert "wanda, 2 of 4 kept" in str(deep)


# -- other networks


def test_any_list_of_blocks_will_do():
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3, groups=2), nn.Conv2d(4, 4, 1))
    shot = one_shot(conv, [torch.randn(2, 3, 8, 8), torch.randn(5, 3, 6, 6)], sparsity=0.5)
    assert list(shot.masks) == ["0.weight", "3.weight"]
    assert shot.untouched == ("2",)
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False
    )
    shot = one_shot(encoder, [torch.randn(2, 5, 8)], pattern="2:4")
    assert list(shot.masks) == [f"layers.{n}.linear{m}.weight" for n in (0, 1) for m in (1, 2)]
    named = decoder()
    assert list(one_shot(named, BATCHES, sparsity=0.5, blocks=["layers.0"]).masks) == [f"{n}.weight" for n in INNER[:4]]
    assert list(one_shot(decoder(), BATCHES, sparsity=0.5, only=INNER[1::4]).masks) == [
        f"{n}.weight" for n in INNER[1::4]
    ]


def test_a_layer_that_does_not_run_is_left_whole_unless_it_was_named():
    model = decoder()
    model.layers[1].spare = nn.Linear(8, 8).double()
    for ratios in ("uniform", "owl"):
        shot = one_shot(deepcopy(model), BATCHES, sparsity=0.5, ratios=ratios)
        assert list(shot.masks) == [f"{name}.weight" for name in INNER]
        assert shot.untouched == ("head", "layers.1.spare")
    with pytest.raises(InputError, match=r"layer 'spare' of block 'layers.1' did not run; leave it out by only="):
        one_shot(model, BATCHES, sparsity=0.5, only=["layers.0.up", "layers.1.spare"])


def forked():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

        def forward(self, x):
            return self.blocks[0](x) + self.blocks[1](x)

    return Forked()


def shared():
    model = decoder()
    model.layers[1].up.weight = model.layers[0].up.weight
    return model


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (decoder, {}, "sparsity is None, pattern None; give one of sparsity=0.5"),
        (decoder, {"sparsity": 0.5, "pattern": "2:4"}, "give one of"),
        (decoder, {"sparsity": 1.0}, r"sparsity is 1\.0"),
        (decoder, {"sparsity": float("nan")}, "sparsity is nan"),
        (decoder, {"pattern": "5:4"}, "pattern is '5:4'; give how many of how many are kept"),
        (decoder, {"pattern": "half"}, "pattern is 'half'"),
        (decoder, {"pattern": "2:3"}, r"layer 'layers.0.attention.qkv' has 8 inputs, no multiple of 3"),
        (decoder, {"pattern": "2:4", "ratios": "owl"}, "a pattern removes the same of every layer"),
        (spiky, {"sparsity": 0.95, "ratios": "owl"}, "lower reach"),
        (decoder, {"sparsity": 0.5, "by": "wander"}, "did you mean 'wanda'"),
        (decoder, {"sparsity": 0.5, "ratios": "fair"}, "unknown ratios 'fair'"),
        (decoder, {"ratios": {"layers.0": 0.5}}, "block 'layers.1' has no ratio"),
        (decoder, {"ratios": {"layer.0": 0.5}}, "unknown block in ratios 'layer.0'; did you mean 'layers.0'"),
        (decoder, {"sparsity": 0.5, "blocks": "layer"}, "unknown list of blocks 'layer'; did you mean 'layers'"),
        (decoder, {"sparsity": 0.5, "blocks": ["layers.7"]}, "unknown block 'layers.7'"),
        (decoder, {"sparsity": 0.5, "blocks": []}, "blocks is empty"),
        (decoder, {"sparsity": 0.5, "only": ["head"]}, "Decoder has no list of blocks with layers to prune"),
        (decoder, {"sparsity": 0.5, "only": ["head"], "blocks": "layers"}, "no layer to prune is in a block"),
        (decoder, {"sparsity": 0.5, "only": ["head", "layers.0.up"]}, "layer 'head' of only= is in no block"),
        (shared, {"sparsity": 0.5}, "the weight of 'layers.0.up' is shared"),
        (forked, {"sparsity": 0.5}, "block 'blocks.1' does not read what the one before gives"),
        (lambda: nn.Bilinear(2, 2, 2), {"sparsity": 0.5}, "has no Linear or Conv layer"),
        (lambda: nn.Linear(4, 4), {"sparsity": 0.5}, "Linear has no list of blocks"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(make, options, says):
    model = make()
    before = weights(model)
    batches = BATCHES if hasattr(model, "embed") else [torch.randn(3, 4)]
    with pytest.raises(InputError, match=says):
        one_shot(model, batches, **options)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_a_layer_with_sums_that_are_not_finite_is_named():
    model = decoder()
    model.layers[1].norm2.weight.data[0] = float("inf")
    with pytest.raises(InputError, match=r"layer 'layers.1.up': what it reads holds NaN or infinite values") as stopped:
        one_shot(model, BATCHES, sparsity=0.5)
    assert list(stopped.value.pruned.seconds) == ["layers.0"]


def test_going_on_wants_the_same_model_and_the_same_request():
    model = decoder()
    shot = one_shot(model, BATCHES, sparsity=0.5)
    with pytest.raises(InputError, match=r"tells of zeros in 'layers.0.attention.qkv.weight' that this model does not"):
        one_shot(decoder(), BATCHES, sparsity=0.5, after=shot)
    with pytest.raises(InputError, match="after= tells of wanda, 50 % in 3 blocks, and asked for is wanda, 60 %"):
        one_shot(model, BATCHES, sparsity=0.6, after=shot)
    assert one_shot(model, BATCHES, sparsity=0.5, after=shot).masks.keys() == shot.masks.keys()


# -- Hugging Face's models


def tiny(kind, **more):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = {
        "gpt2": lambda: transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=29, n_positions=16),
        "llama": lambda: transformers.LlamaConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=29, max_position_embeddings=32, tie_word_embeddings=True),
    }[kind]()  # fmt: skip
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def test_conv1d_of_gpt2_is_pruned_by_its_outputs():
    """Its weights are [inputs, outputs]: each output loses half of its inputs, along the first dimension."""
    model = tiny("gpt2").double()
    ids = words(7, 4)
    before, seen = weights(model), observe(model, ids, gram, only=["transformer.h.0.mlp.c_fc"])
    shot = one_shot(model, ids, sparsity=0.5)
    assert len(shot.masks) == 8
    name = "transformer.h.0.mlp.c_fc.weight"
    keep = shot.masks[name]
    assert keep.shape == (16, 64)
    assert keep.sum(0).eq(8).all()
    assert torch.equal(keep.T, wanda(before[name].T, seen["transformer.h.0.mlp.c_fc"][gram]))
    pairs = one_shot(tiny("gpt2").double(), ids, pattern="2:4", by="sparsegpt").masks[name]
    assert pairs.T.reshape(64, 4, 4).sum(2).eq(2).all()
    assert (
        output_error(model.get_parameter(name).detach().T, before[name].T, seen["transformer.h.0.mlp.c_fc"][gram]) < 1
    )


def test_a_llama_in_bfloat16_with_padding_keeps_its_type_its_head_and_its_cache():
    model = tiny("llama").bfloat16()
    batch = padded(words(7, 4, rows=1), "left")
    before, lengths = weights(model), []
    hook = model.lm_head.register_forward_hook(lambda module, args, y: lengths.append(y.shape[1]))
    shot = one_shot(model, [batch, {"input_ids": words(5)[0]}], sparsity=0.5, by="sparsegpt", refit=True)
    hook.remove()
    assert lengths == [1]  # one batch, of which the last token only
    assert shot.tokens == 11 + 15
    assert next(iter(shot.masks)) == "model.layers.0.self_attn.q_proj.weight"
    assert len(shot.masks) == 14
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert torch.equal(model.model.embed_tokens.weight, before["model.embed_tokens.weight"])
    assert model.config.use_cache
    for name, keep in shot.masks.items():
        assert not model.get_parameter(name)[~keep].any()
    assert model(**batch).logits.isfinite().all()


def test_the_page_prunes_evaluates_saves_and_loads_in_under_forty_lines():
    page = (Path(__file__).parents[2] / "docs" / "language-models.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    code = [line for block in blocks[:2] for line in block.splitlines() if line.strip()]
    assert len(code) < 40
    said = "\n".join(code)
    assert all(word in said for word in ("one_shot(", "perplexity(", "save_pretrained(", "from_pretrained("))
    assert "make a mainstream server of language models faster" in " ".join(page.split())
