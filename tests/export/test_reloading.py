"""Reloading where people live: transformers' folders, timm's text, Lightning's checkpoints, and models built again."""

import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import kinds
import nets
import pytest
import torch
from torch import nn

from sapwood import export, prune, shrink, sites
from sapwood.errors import InputError
from sapwood.export import pretrained

ELSEWHERE = """
import sys
sys.modules["sapwood"] = None  # importing it fails
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
ids = torch.arange(8)[None]
for auto, folder in ((AutoModelForSequenceClassification, "bert"), (AutoModelForCausalLM, "qwen")):
    model = auto.from_pretrained(folder)
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # in the file they lie anywhere, where some processors add otherwise
    with torch.no_grad():
        torch.save(model(input_ids=ids).logits, folder + ".pt")
"""


def qwen(neurons=24, heads=8):
    """As pruning leaves Qwen2: two queries for each key, heads of 4 numbers, which the config does not say."""
    transformers = pytest.importorskip("transformers")
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "vocab_size": 40, "max_position_embeddings": 16}
    config = transformers.Qwen2Config(
        **sizes, bos_token_id=0, eos_token_id=1, intermediate_size=neurons, num_attention_heads=heads,
        num_key_value_heads=heads // 2, head_dim=4,
    )  # fmt: skip
    model = transformers.Qwen2ForCausalLM(config).eval()
    del model.config.head_dim
    model.config.intermediate_size, model.config.num_attention_heads, model.config.num_key_value_heads = 24, 8, 4
    return model


def bert(neurons=24):
    """As pruning leaves BERT without some of its neurons."""
    transformers = pytest.importorskip("transformers")
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "vocab_size": 40}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes, intermediate_size=neurons))
    model.config.intermediate_size = 24
    return model.eval()


WORDS = {"input_ids": torch.arange(8)[None]}


def test_a_folder_loads_by_auto_classes_where_there_is_no_sapwood(tmp_path):
    smaller = {"bert": bert(10), "qwen": qwen(6, 4)}
    for name, model in smaller.items():
        before = model.config.to_dict()
        assert export.to_transformers(model, WORDS, tmp_path / name) <= 1e-5
        assert model.config.to_dict() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bert", "qwen"]
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    for name, model in smaller.items():
        with torch.no_grad():
            assert torch.equal(torch.load(tmp_path / f"{name}.pt"), model(**WORDS).logits)


def test_widths_that_differ_are_named_with_what_to_do(tmp_path):
    model = qwen(12, 4)
    model.model.layers[0].mlp = qwen(6, 4).model.layers[0].mlp
    says = r"Qwen2Config has one intermediate_size for all of these layers: 'model.layers.0.mlp.\w+' needs 6, "
    with pytest.raises(InputError, match=says + r"'model.layers.1.mlp.\w+' needs 12; prune with uniform=True"):
        export.to_transformers(model, WORDS, tmp_path / "qwen")
    assert list(tmp_path.iterdir()) == []


def test_what_no_config_says_is_named_with_what_to_do(tmp_path):
    model = bert(10)
    model.bert.pooler.dense, model.classifier = nn.Linear(32, 16), nn.Linear(16, 2)
    says = r"BertConfig has no number for the widths of 'bert.pooler.dense', 'classifier'; prune with uniform=True and "
    with pytest.raises(InputError, match=says + "keep=export.not_in_config"):
        export.to_transformers(model, WORDS, tmp_path / "bert")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone_and_a_wrong_model_refused(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="there is there already; give the name of a new folder"):
        export.to_transformers(bert(), WORDS, tmp_path / "there")
    with pytest.raises(InputError, match=r"model is a Linear, no model of transformers; use export.save"):
        export.to_transformers(nn.Linear(2, 2), torch.ones(1, 2), tmp_path / "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "tokenizer.json"]


def test_other_answers_leave_no_folder(tmp_path, monkeypatch):
    exact = pretrained._loaded

    def tilted(*given):
        model = exact(*given)
        model.classifier.bias.data.add_(1)
        return model

    monkeypatch.setattr(pretrained, "_loaded", tilted)
    with pytest.raises(InputError, match="the model that from_pretrained loads answers differently from the network"):
        export.to_transformers(bert(), WORDS, tmp_path / "bert")
    assert list(tmp_path.iterdir()) == []


def listed():
    """A model whose config has a list of widths, and a number for one layer of its own that may be None."""
    transformers = pytest.importorskip("transformers")

    class Config(transformers.PreTrainedConfig):
        model_type = "listed"

        def __init__(self, widths=(16, 16), last=None, **more):
            self.widths, self.last = list(widths), last
            super().__init__(**more)

    class Model(transformers.PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            one, two = config.widths
            self.a, self.b, self.c = nn.Linear(4, one), nn.Linear(one, two), nn.Linear(two, config.last or 12)
            self.d = nn.Linear(config.last or 12, 3)
            self.post_init()

        def forward(self, x):
            return self.d(self.c(self.b(self.a(x).relu()).relu()).relu())

    return Model(Config()), torch.rand(2, 4)


def test_lists_of_widths_and_numbers_that_were_not_said(tmp_path):
    model, x = listed()
    small = shrink(model, {"a": torch.arange(16) < 5, "b": torch.arange(16) < 9, "c": torch.arange(12) < 7},
                   sites(model, x), example=x).model  # fmt: skip
    assert export.to_transformers(small, x, tmp_path / "listed") == 0.0
    config = type(model.config).from_pretrained(tmp_path / "listed")
    assert (list(config.widths), config.last) == ([5, 9], 7)
    assert export.not_in_config(model, x) == []


def test_a_model_built_again_from_its_configuration_is_told_apart(tmp_path):
    model, x = kinds.made("residual")
    pruned = prune(model, x, macs=0.5, timing=0)
    export.save(pruned.model, tmp_path / "small.safetensors", of=model)
    wrapped = nn.Sequential()
    wrapped.module = pruned.model
    for of in (pruned, pruned.model, tmp_path / "small.safetensors"):
        for same in (pruned.model, wrapped):
            export.check_same(same, of)
        with pytest.raises(
            InputError, match=r"not the pruned network: '1.a.weight' has the shape \(24, 16, .*was \(16, 16"
        ) as e:
            export.check_same(model, of)
        assert "more places; something built it again" in str(e.value)
    other = export.load(tmp_path / "small.safetensors", lambda: kinds.made("residual")[0])
    with torch.no_grad():
        other[5].weight[0, 0] += 1
    with pytest.raises(InputError, match=r"other numbers in 1 of 28 tensors, '5.weight' first; its weights were not"):
        export.check_same(other, pruned)
    export.check_same(other, pruned, weights=False)
    with pytest.raises(InputError, match=r"'5.weight' is missing; '5.bias' is missing"):
        export.check_same(pruned.model[:5], pruned, weights=False)
    for bad in ((lambda x: x, pruned), (pruned.model, 3)):
        with pytest.raises(InputError, match=r"is (a function|3); give"):
            export.check_same(*bad)


def lit():
    """A LightningModule whose checkpoints say its sizes: heads, whose number no shape tells, and a buffer not kept."""
    lightning = pytest.importorskip("lightning")

    class Lit(export.Reloadable, lightning.LightningModule):
        def __init__(self, width=16):
            super().__init__()
            self.save_hyperparameters()
            self.heads, self.up, self.norm = nets.Attention(), nn.Linear(3, width), nn.BatchNorm1d(width)
            self.down = nn.Linear(width, 3)
            self.register_buffer("scale", torch.arange(1.0, width + 1), persistent=False)

        def forward(self, x):
            return self.down((self.norm(self.up(self.heads(x).mean(1))) * self.scale).relu())

        def training_step(self, batch, number):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.1)

    return Lit, lightning


def trained(lightning, model, epochs, **how):
    """The trainer, after so many epochs."""
    data = torch.utils.data.TensorDataset(
        torch.rand(4, 5, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 3
    )
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=epochs, **quiet)
    trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=2), **how)
    return trainer


@pytest.mark.filterwarnings("ignore:.*(num_workers|LeafSpec|log_every_n_steps|checkpoint directory)")
def test_a_checkpoint_of_a_pruned_lightning_module_loads(tmp_path):
    Lit, lightning = lit()
    model, x = Lit(24), torch.rand(2, 5, 8)
    small = prune(model, x, macs=0.6, multiple=1, timing=0).model
    assert (small.heads.attention.num_heads, small.up.out_features) < (4, 24)
    trained(lightning, small, 1).save_checkpoint(tmp_path / "small.ckpt")
    again = Lit.load_from_checkpoint(tmp_path / "small.ckpt")
    assert again.hparams == {"width": 24}
    assert torch.equal(again.eval()(x), small.eval()(x))
    fresh = Lit(24)
    for each in (small.train(), again.train(), fresh):
        trained(lightning, each, 2, ckpt_path=tmp_path / "small.ckpt")
    for each in (again, fresh):
        assert all(torch.equal(value, small.state_dict()[name]) for name, value in each.state_dict().items())
    trained(lightning, model, 1).save_checkpoint(tmp_path / "whole.ckpt")
    assert "sapwood-network" not in torch.load(tmp_path / "whole.ckpt", weights_only=True)
    assert Lit.load_from_checkpoint(tmp_path / "whole.ckpt").up.out_features == 24
    with pytest.raises(InputError, match=r"the checkpoint is not of the network that the class gives: 'up.weight' is"):
        Lit.load_from_checkpoint(tmp_path / "small.ckpt", width=32)


def test_an_original_that_cannot_be_made_is_named(tmp_path):
    Lit, _ = lit()

    class Given(Lit):
        def __init__(self, net):
            super().__init__()

    with pytest.raises(InputError, match=r"Given is not made from its saved hyperparameters \(.*save_hyperparameters"):
        Given(None).on_save_checkpoint({"state_dict": {}})


def test_timm_builds_a_pruned_model_from_its_text(tmp_path):
    timm = pytest.importorskip("timm")
    model, x = timm.create_model("resnet18", num_classes=3), torch.rand(1, 3, 32, 32)
    small = prune(model, x, macs=0.5, timing=0).model
    assert export.to_timm(small, x, tmp_path / "small", of=model) <= 1e-5
    text = (tmp_path / "small" / "shapes.txt").read_text()
    again = timm.models.adapt_model_from_string(timm.create_model("resnet18", num_classes=3), text)
    load = import_module("safetensors.torch").load_file
    again.load_state_dict(load(tmp_path / "small" / "model.safetensors"))
    with torch.no_grad():
        assert torch.equal(again.eval()(x), small.eval()(x))
    with pytest.raises(InputError, match="small is there already"):
        export.to_timm(small, x, tmp_path / "small", of=model)


def as_timm(build):
    """Stands in for timm, whose text is read by `build`."""
    return SimpleNamespace(adapt_model_from_string=build)


def test_what_timm_builds_otherwise_is_refused(tmp_path, monkeypatch):
    model, x = kinds.made("residual")
    small = prune(model, x, macs=0.5, timing=0).model

    def failing(of, text):
        raise KeyError("norm.weight")

    def turned(of, text):
        again = export.load(tmp_path / "s", lambda: of)
        again.forward = lambda x: nn.Sequential.forward(again, x) + 1
        return again

    export.save(small, tmp_path / "s", of=model)
    for build, says in (
        (
            lambda of, text: of,
            r"timm would build '1.a.weight' of this Sequential with the shape \(24, 16.*use export.save",
        ),
        (failing, r"timm does not build this Sequential from shapes \(KeyError: 'norm.weight'\)"),
        (turned, "the model that timm builds answers differently from the network"),
    ):
        monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(models=as_timm(build)))
        monkeypatch.setitem(sys.modules, "timm.models", as_timm(build))
        with pytest.raises(InputError, match=says):
            export.to_timm(small, x, tmp_path / "small", of=model)
    monkeypatch.setitem(sys.modules, "timm.models", None)
    with pytest.raises(InputError, match=r"to_timm needs timm.models, .*; run: pip install timm"):
        export.to_timm(small, x, tmp_path / "small", of=model)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_the_text_is_timms(tmp_path, monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    x = torch.rand(1, 3, 2, 2)
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "timm.models", as_timm(lambda of, text: of))
    assert export.to_timm(model, x, tmp_path / "same", of=model) == 0.0
    assert (tmp_path / "same" / "shapes.txt").read_text() == (
        "0.weight:[4, 3, 1, 1]***1.weight:[4]***1.bias:[4]***1.running_mean:[4]***1.running_var:[4]"
        "***1.num_batches_tracked:[]"
    )
