"""One pass that removes heads and widths: which go, on what they are judged, what is refitted, and what is written."""

import subprocess
import sys
from copy import deepcopy
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from decoder import D, decoder, padded, words
from torch import nn

from sapwood import one_shot, one_shot_units
from sapwood.errors import InputError
from sapwood.export import amounts, units_by_block
from sapwood.export.pretrained import takes_heads, unmarked_
from sapwood.reconstruction import refit, surgeon
from sapwood.reconstruction.surgery import outputs_of_units

BATCHES = words(20, 9, 14)


class Block(nn.Module):
    def __init__(self, width=4, middle=12):
        super().__init__()
        self.up, self.down = nn.Linear(width, middle), nn.Linear(middle, width)

    def forward(self, x):
        return x + self.down(self.up(x).relu())


def net(seed=0, middles=(12, 12, 12)):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(*(Block(middle=middle) for middle in middles)).double()
        for block in model:  # units of different sizes, so that rules differ
            block.up.weight.data.mul_(torch.linspace(0.2, 3, len(block.up.weight), dtype=D)[:, None])
    return model


def rows(count=60, seed=3):
    return torch.randn(count, 4, dtype=D, generator=torch.Generator().manual_seed(seed))


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def relative(y, like):
    return float(((y - like).square().sum() / like.square().sum()).detach())


def unchanged(model, before):
    return all(torch.equal(p, before[name]) for name, p in model.named_parameters())


# -- what goes, and what is refitted


def solved_by_hand(model, x, by, gone):
    """Block by block: the inputs of `down` with a 1 behind them for its bias, and least squares on what stays."""
    model, keep = deepcopy(model), {}
    for name, block in model.named_children():
        z = torch.cat([block.up(x).relu(), torch.ones(len(x), 1, dtype=D)], 1).detach()
        w, g = torch.cat([block.down.weight, block.down.bias[:, None]], 1).detach(), z.T @ z
        units = torch.cat([torch.arange(12), torch.tensor([-1])])
        if by == "surgeon":
            keep[name] = surgeon(w, g, sparsity=gone / 12, unit_of_I=units)[1]
        else:
            keep[name] = torch.ones(12, dtype=torch.bool)
            size = (
                outputs_of_units(w, g, units)
                if by == "outputs"
                else (block.up.weight.square().sum(1) + block.up.bias.square() + block.down.weight.square().sum(0))
            )
            keep[name][size.argsort()[:gone]] = False
        found, _ = refit(w, g, keep=torch.cat([keep[name], torch.ones(1, dtype=torch.bool)]))
        block.down.weight.data, block.down.bias.data = found[:, :-1], found[:, -1]
        x = block(x).detach()
    return model, keep


@pytest.mark.parametrize("by", ["surgeon", "outputs", "magnitude"])
def test_each_block_is_solved_on_what_the_smaller_ones_give(by):
    model, x = net(), rows()
    wanted, keep = solved_by_hand(model, x, by, 6)
    shot = one_shot_units(model, x.split(25), {"widths": 0.5}, by=by, multiple=1)
    assert list(shot.keep) == ["0.up", "1.up", "2.up"]
    for name, kept in keep.items():
        assert torch.equal(shot.keep[f"{name}.up"], kept)
    assert torch.allclose(shot.model(x), wanted(x), rtol=1e-8, atol=1e-10)
    assert [block.down.in_features for block in shot.model] == [6, 6, 6]
    assert shot.tokens == 60


def test_without_a_refit_the_weights_that_stay_are_those_that_were_there():
    model, x = net(), rows()
    shot = one_shot_units(model, [x], {"widths": 0.5}, refit=False, multiple=1)
    for name, block in shot.model.named_children():
        was, kept = model.get_submodule(name), shot.keep[f"{name}.up"]
        assert torch.equal(block.down.weight, was.down.weight[:, kept])
        assert torch.equal(block.down.bias, was.down.bias)
        assert torch.equal(block.up.weight, was.up.weight[kept])
    assert all(each.error == each.masked > 0 for each in shot.layers)
    better = one_shot_units(model, [x], {"widths": 0.5}, multiple=1)
    assert all(each.error < each.masked for each in better.layers)


def test_errors_in_the_record_are_those_of_the_outputs():
    model, x = net(), rows()
    shot = one_shot_units(model, [x], {"widths": 0.5}, multiple=1)
    first, down, z = shot.layers[0], model[0].down, model[0].up(x).relu()
    now, was = shot.model[0].down(z[:, shot.keep["0.up"]]), down(z)
    assert first.error == pytest.approx(relative(now, was))
    masked = down(z * shot.keep["0.up"])
    assert first.masked == pytest.approx(relative(masked, was))


def test_sums_do_not_care_how_samples_come_and_how_many_there_are():
    model, x = net(), rows()
    one = one_shot_units(model, [x], {"widths": 0.5}, multiple=1)
    for batches in (x.split(7), [x, x, x, x]):
        other = one_shot_units(model, batches, {"widths": 0.5}, multiple=1)
        assert all(torch.equal(one.keep[name], kept) for name, kept in other.keep.items())
        assert torch.allclose(one.model(x), other.model(x), rtol=1e-9)
    placed = one_shot_units(model, [x], {"widths": 0.5}, multiple=1, device="cpu")
    assert torch.equal(one.model(x), placed.model(x))


def test_the_model_is_as_it_was_and_so_it_is_when_interrupted():
    model = decoder().train()
    before, lines = parameters(model), []

    def stop(line):
        lines.append(line)
        if len(lines) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one_shot_units(model, BATCHES, 0.4, multiple=1, progress=stop)
    assert unchanged(model, before)
    assert lines[1].startswith("block 2 of 3, layers.1: largest error ")
    shot = one_shot_units(model, BATCHES, 0.4, multiple=1)
    assert unchanged(model, before)
    assert model.training
    assert shot.model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in model.modules())


def test_it_equals_the_model_with_the_removed_units_as_0_and_prints_it():
    model = decoder()
    shot = one_shot_units(model, BATCHES, {"widths": 0.25, "heads": 0.5}, refit=False, multiple=4)
    zeroed = deepcopy(model)
    for number, layer in enumerate(zeroed.layers):
        layer.down.weight.data[:, ~shot.keep[f"layers.{number}.up"]] = 0
        heads = shot.keep[f"layers.{number}.attention.qkv"].repeat_interleave(4)
        layer.attention.out.weight.data[:, ~heads] = 0
    assert torch.allclose(shot.model(BATCHES[0]), zeroed(BATCHES[0]), rtol=1e-12)
    assert shot.difference < 1e-12
    assert (shot.proven, shot.loads) == (D, False)
    assert [(each.site.split(".")[-1], each.kind, each.left) for each in shot.layers[:2]] == [
        ("qkv", "heads", 1), ("up", "widths", 12)]  # fmt: skip
    said = str(shot)
    assert said.startswith("outputs, 25 % of the widths, 50 % of the heads, uniform: 37.5 % of the blocks' weights")
    assert "proof  equal to the model with the removed units as 0" in said
    assert "export.save(shot.model, path, of=model)" in said
    assert shot.parameters == tuple(sum(p.numel() for p in m.parameters()) for m in (model, shot.model))


class Joined(nn.Module):
    """Two hidden layers that one layer reads side by side."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.down = nn.Linear(4, 8), nn.Linear(4, 6), nn.Linear(14, 4)

    def forward(self, x):
        return x + self.down(torch.cat([self.one(x).relu(), self.other(x).tanh()], -1))


def test_a_layer_that_reads_two_hidden_layers_is_solved_for_both():
    torch.manual_seed(1)
    model, x = nn.Sequential(Joined(), Block()).double(), rows()
    before = parameters(model)
    shot = one_shot_units(model, [x], {"widths": 0.5}, multiple=1)
    assert unchanged(model, before)
    first = shot.model[0]
    assert (first.one.out_features, first.other.out_features, first.down.in_features) == (4, 3, 7)
    z = torch.cat([first.one(x).relu(), first.other(x).tanh(), torch.ones(len(x), 1, dtype=D)], 1)
    assert (z.T @ (model[0](x) - first(x))).abs().max() < 1e-6  # no weights that read these are better


def test_padding_is_not_counted():
    sentences = words(15, 9, 12, rows=1)
    alone = one_shot_units(decoder(), sentences, 0.3, multiple=1)
    together = one_shot_units(decoder(), [padded(sentences, "left")], 0.3, multiple=1)
    assert alone.tokens == together.tokens == 36
    assert all(torch.equal(together.keep[name], kept) for name, kept in alone.keep.items())
    pairs = zip(alone.model.parameters(), together.model.parameters(), strict=True)
    assert all(torch.allclose(p, q, rtol=1e-6, atol=1e-8) for p, q in pairs)


# -- how many go


def place(kind, units, step, weights, name):
    site = SimpleNamespace(name=name, units=units)
    return amounts.Place(
        site, "", kind, None, None, (0, *sorted(units - left for left in range(step, units, step))), weights
    )


def blocks_of(*places):
    return amounts.Inside(places, (), sum(p.site.units * p.weights for p in places))


def test_widths_make_up_for_heads_which_go_whole():
    """3 heads of 100 weights and 40 widths of 10: 20 % of 700 are 140, one head is 100, four widths the rest."""
    found = blocks_of(place("heads", 3, 1, 100, "h"), place("widths", 40, 1, 10, "w"))
    assert amounts.alike(found, 0.2) == {"h": 1, "w": 4}
    assert amounts.alike(found, 0.1) == {"h": 0, "w": 7}
    assert amounts.alike(found, {"widths": 0.1}) == {"h": 0, "w": 4}
    assert amounts.alike(found, {"heads": 0.9}) == {"h": 2, "w": 0}  # one stays
    by_eight = blocks_of(place("widths", 44, 8, 10, "w"))
    assert [amounts.alike(by_eight, share)["w"] for share in (0.05, 0.2, 0.5, 0.99)] == [4, 12, 20, 36]


def test_one_ranking_removes_what_loses_least_for_each_weight():
    found = blocks_of(place("widths", 4, 1, 10, "a"), place("widths", 4, 1, 20, "b"), place("heads", 2, 1, 30, "h"))
    losses = {"a": [4.0, 1, 2, 3], "b": [1.0, 9, 9, 9], "h": [3.3, 99.0]}
    losses = {name: torch.tensor(each) for name, each in losses.items()}
    # for each weight: a 0.1 0.2 0.3 (0.4), b 0.05 0.45 0.45, h 0.11; the best of each place stays
    wanted = [("b", 20), ("a", 10), ("h", 30), ("a", 10), ("a", 10), ("b", 20)]
    for count in range(len(wanted) + 1):
        first = wanted[:count]
        counts = amounts.ranked(found, sum(size for _, size in first) / found.weights, losses)
        assert counts == {name: sum(each == name for each, _ in first) for name in "abh"}
    kinds = amounts.ranked(found, {"heads": 0.5}, losses)
    assert kinds == {"a": 0, "b": 0, "h": 1}


def test_not_uniform_a_block_that_matters_less_loses_more():
    model, x = net(), rows()
    model[1].down.weight.data[:, 3:] *= 1e-3  # nine of its units add next to nothing
    same = one_shot_units(model, [x], 0.3, multiple=1)
    assert {each.left for each in same.layers} == {8}
    free = one_shot_units(model, [x], 0.3, by="surgeon", multiple=1, uniform=False)
    assert free.layers[1].left == 3
    assert free.sparsity == pytest.approx(0.3, abs=1 / 36)
    for by in ("outputs", "magnitude"):
        assert one_shot_units(model, [x], 0.3, by=by, multiple=1, uniform=False).layers[1].left < 8


def test_multiples_and_what_keeps_its_shape():
    model, x = net(middles=(12, 24, 24)), rows()
    shot = one_shot_units(model, [x], 0.3, multiple=8, keep=["2.down"])
    assert [block.up.out_features for block in shot.model] == [8, 16, 24]
    assert [(pin.name, pin.because) for pin in shot.stays] == [("2.up", "keep= names '2.down'")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sparsity": 1.0}, r"sparsity is 1\.0; it is the fraction removed and must lie in \[0, 1\)"),
        ({"sparsity": {}}, r"sparsity is \{\}; give a share for each kind"),
        ({"sparsity": {"head": 0.5}}, "unknown kind of units in sparsity 'head'; did you mean 'heads'"),
        ({"sparsity": {"heads": -1}}, "the sparsity of heads is -1"),
        ({"sparsity": {"heads": 0.5}}, "sparsity asks for heads, of which Sequential has none that can go"),
        ({"by": "surgery"}, "unknown by 'surgery'; did you mean 'surgeon'"),
        ({"multiple": 0}, "multiple is 0"),
        ({"multiple": 16}, "nothing in the blocks of Sequential can be removed: '0.up' stays: multiple=16 leaves"),
        ({"sparsity": 0.01}, r"sparsity 0\.01 removes nothing: at least 2 of 12 widths go together; give more"),
        ({"keep": ["3"]}, "unknown name in keep '3'"),
        ({"blocks": "layers"}, "unknown list of blocks 'layers'"),
        ({"by": "wanda", "batches": []}, "unknown by 'wanda'"),
        ({"batches": []}, "was given no batches"),
        ({"batches": [torch.full((3, 4), torch.inf, dtype=D)]}, "layer '0.down': what it reads holds NaN or infinite"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(options, says):
    model, options = net(), {"batches": [rows()], "multiple": 2, "sparsity": 0.3, **options}
    before = parameters(model)
    with pytest.raises(InputError, match=says):
        one_shot_units(model, **options)
    assert unchanged(model, before)


def test_written_weights_go_back_whatever_happens(monkeypatch):
    model, before = net(), parameters(net())

    def failing(*args, **options):
        assert not unchanged(model, before)
        raise MemoryError

    monkeypatch.setattr(units_by_block, "shrink", failing)
    with pytest.raises(MemoryError):
        one_shot_units(model, [rows()], 0.3, multiple=1)
    assert unchanged(model, before)


# -- Hugging Face's models


def tiny(kind):
    transformers = pytest.importorskip("transformers")
    llama = {"hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 6,
             "num_key_value_heads": 3, "head_dim": 8, "vocab_size": 29, "max_position_embeddings": 64}  # fmt: skip
    config = {
        "gpt2": lambda: transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=29, n_positions=32,
                                                bos_token_id=0, eos_token_id=0),
        "llama": lambda: transformers.LlamaConfig(**llama),
    }[kind]()  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config).eval()


@cache
def gpt_without_widths():
    return one_shot_units(tiny("gpt2"), words(24), 0.3)


ELSEWHERE = """
import sys
sys.modules["sapwood"] = None  # whoever imports it fails
import torch
from transformers import AutoModelForCausalLM
ids = torch.load(sys.argv[1])
for folder in sys.argv[2:]:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        torch.save(model(ids).logits, f"{folder}/logits.pt")
assert not [name for name, module in sys.modules.items() if name.startswith("sapwood") and module is not None]
"""


def test_what_save_pretrained_writes_loads_in_a_process_without_sapwood_to_the_same_logits(tmp_path):
    """Of both passes: single weights, whose zeros are in the file, and heads and widths, as the config says them."""
    model, ids = tiny("llama"), words(24, 24)
    shot = one_shot_units(model, ids, {"heads": 0.34, "widths": 0.3})
    config = shot.model.config
    assert (config.num_attention_heads, config.num_key_value_heads, config.intermediate_size) == (4, 2, 32)
    assert (config.head_dim, config.hidden_size, config.use_cache) == (8, 48, True)
    assert (model.config.num_attention_heads, model.config.intermediate_size) == (6, 48)
    assert shot.loads
    assert "save_pretrained" in str(shot)
    half = tiny("llama")
    masks = one_shot(half, ids, sparsity=0.5, by="sparsegpt").masks
    gpt = gpt_without_widths().model
    assert gpt.config.n_inner == gpt.transformer.h[0].mlp.c_fc.nf < 64
    models = {"units": shot.model, "weights": half, "gpt": gpt}
    torch.save(ids[0], tmp_path / "ids.pt")
    for name, each in models.items():
        each.save_pretrained(tmp_path / name)
    folders = [str(tmp_path / name) for name in models]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "ids.pt"), *folders], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, each in models.items():
        assert torch.equal(torch.load(tmp_path / name / "logits.pt"), each(ids[0]).logits), name
    again = type(half).from_pretrained(tmp_path / "weights")
    assert not any(again.get_parameter(name)[~keep].any() for name, keep in masks.items())


@pytest.mark.parametrize("packed", [{}, {"model.layers.0.mlp.up_proj": 1}])
def test_a_model_that_was_read_from_gguf_is_one_like_any_other_once_its_weights_are_plain(packed):
    """Trap: transformers refuses to write a model that says it is quantised, though it was dequantised when read."""
    model, told = tiny("llama"), []
    model.hf_quantizer = SimpleNamespace(
        quantization_config=SimpleNamespace(quant_method="gguf"),
        packed_modules=packed,
        remove_quantization_config=told.append,
    )
    unmarked_(model)
    assert told == ([] if packed else [model])
    model.hf_quantizer.quantization_config.quant_method = "bitsandbytes"
    unmarked_(model)
    assert len(told) == (not packed)


def test_heads_of_gpt2_stay_where_its_config_has_no_number_for_them():
    shot = gpt_without_widths()
    assert {each.kind for each in shot.layers} == {"widths"}
    assert "transformer.h.0.attn.c_attn and 1 more: the config has no number for them" in str(shot)
    options = {"sparsity": {"heads": 0.5, "widths": 0.3}, "multiple": 1}
    with pytest.raises(InputError, match=r"asks for heads, .* none that can go: .* uniform=False removes them"):
        one_shot_units(tiny("gpt2"), words(24), **options)
    free = one_shot_units(tiny("gpt2").double(), words(24), uniform=False, **options)
    heads = [each.left for each in free.layers if each.kind == "heads"]
    assert sum(heads) == 2
    assert [h.attn.c_attn.weight.shape[1] for h in free.model.transformer.h] == [24 * left for left in heads]
    assert not free.loads


def test_of_heads_only_so_many_go_as_a_config_takes():
    """Trap: Llama's config refuses a number of heads by which the width of the stream cannot be divided."""
    config = tiny("llama").config
    assert [left for left in range(1, 4) if takes_heads(config, left, 3)] == [1, 2, 3]
    config.num_attention_heads = config.num_key_value_heads = 6
    assert [left for left in range(1, 7) if takes_heads(config, left, 6)] == [1, 2, 3, 4, 6]
