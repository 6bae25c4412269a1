"""Network files with a right digest and wrong words: refused by name, whatever the words are."""

import sys

import nets
import pytest
import torch
from safetensors.torch import load as tensors_in
from safetensors.torch import save as file_of
from small import halved

from sapwood.errors import InputError
from sapwood.export import load, packed, save

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The bytes of good files, by network."""
    folder = tmp_path_factory.mktemp("good")
    for name in ("Residual", "Attention"):
        save(halved(name), folder / name, of=nets.MAKE[name]())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def forged(content, change):
    """The file with its words changed; the digest is theirs."""
    tensors, words = packed.unpack(content, "it")
    change(words)
    return packed.pack(tensors, words)


def with_text(content, text, **more):
    """The file with this text for its words, and perhaps other entries beside them."""
    flat = tensors_in(content)
    digest = packed._digest(flat, text) if text.isascii() else ""
    about = packed.json.dumps({"version": 1, "digest": digest, "words": text} | more)
    return file_of(flat, metadata={packed.ENTRY: about})


def held(name, **what):
    return lambda words: words["tensors"][name].update(what)


def change(**what):
    return lambda words: words["changes"][0].update(what)


WORDS = {  # of "Residual": what is changed, and what is said to it
    "narrow is a word": (lambda w: w.update(narrow="stem"), "narrow is 'stem', not a list"),
    "narrow holds a number": (lambda w: w.update(narrow=[0]), "narrow.0. is 0, not a word"),
    "narrow is a convolution": (lambda w: w.update(narrow=["stem"]), "'stem' is a Conv2d, and only torch's multi-head"),
    "narrow is all of it": (lambda w: w.update(narrow=[""]), "'' is a Residual, and only torch's multi-head"),
    "narrow is nobody": (lambda w: w.update(narrow=["stem.x"]), "'stem.x' is not there, and only torch's"),
    "no tensors are said": (lambda w: w.pop("tensors"), "it has no 'tensors'"),
    "something is said besides": (lambda w: w.update(more=1), "it has 'more', which does not belong there"),
    "a tensor is not said": (lambda w: w["tensors"].pop("head.bias"), "'head.bias' is only there"),
    "a tensor is only said": (lambda w: w["tensors"].update(x=w["tensors"]["head.bias"]), "'x' is only said to be"),
    "a tie to nobody": (held("head.bias", same_as="nobody"), "'head.bias' is only there"),
    "a tie to another shape": (
        lambda w: w["tensors"].update({"head.bias": w["tensors"]["head.bias"] | {"same_as": "norm.bias"}}),
        "'head.bias' is only there",
    ),
    "trained is 1": (held("head.bias", requires_grad=1), "'requires_grad'. is 1, not true or false"),
    "numbers of batches are trained": (held("norm.num_batches_tracked", requires_grad=True), "torch does not train"),
    "a running mean is trained": (held("norm.running_mean", requires_grad=True), "a buffer without gradients"),
    "a kind of its own": (held("head.bias", kind="secret"), "'kind'. is 'secret', not one of parameter, buffer"),
    "a negative size": (held("head.weight", shape=(-1, 3)), "is -1, not a whole number in 0"),
    "a size that is true": (held("head.weight", shape=(True, 3)), "is True, not a whole number"),
    "a shape of more numbers": (held("head.bias", shape=(2**40,)), "'head.bias' is said to have shape"),
    "a stride too few": (held("stem.weight", stride=(1,)), "'stem.weight' has strides .1,. for shape"),
    "strides that overlap": (held("head.weight", stride=(1, 1)), "'head.weight' has strides .1, 1."),
    "strides that leave gaps": (held("head.weight", stride=(1000, 1)), "'head.weight' has strides .1000, 1."),
    "strides that stay": (held("head.weight", stride=(0, 0)), "'head.weight' has strides .0, 0."),
    "changes in a dict": (lambda w: w.update(changes={}), "changes is {}, not a list"),
    "a change of nothing": (change(at=[]), "'at'. is .., not a list of at least 1"),
    "a change at no place": (change(at=[()]), "is .., not a tuple of at least 1"),
    "a change to a word": (change(now={"num_features": "3"}), "'num_features'. is '3', not a number"),
    "a change to true": (change(now={"out_channels": True}), "True is no such thing"),
    "a change to none": (change(now={"out_channels": None}), "None is no such thing"),
    "a change to a fraction": (change(now={"out_channels": 3.0}), "3.0 is no such thing"),
    "a change to two": (change(now={"out_channels": (3, 3)}), ".3, 3. is no such thing"),
    "a stride of nothing": (change(now={"stride": (0, 0)}), "stride of 'stem' is .1, 1., which no shrinking changes"),
    "a size the tensors have not": (change(now={"out_channels": 77}), "is said to have a weight of shape .77, 3"),
    "the mode is changed": (change(now={"training": 3}), "has no number 'training' on"),
    "settings of a list": (lambda w: w.update(settings={"stem": []}), "settings.'stem'. is .., not a dict"),
    "classes of numbers": (lambda w: w.update(classes={"": 3}), "classes.''. is 3, not a word"),
}  # fmt: skip


RESHAPED = {  # another shape of a tensor, for its values and its words alike
    "one less": lambda tensor: tensor[1:],
    "one dimension more": lambda tensor: tensor[None],
    "its last dimension twice": lambda tensor: tensor.repeat(*[1] * (tensor.dim() - 1), 2),
}


@pytest.mark.parametrize("how", RESHAPED)
@pytest.mark.parametrize("name", [name for name, value in nets.Residual().state_dict().items() if value.dim()])
def test_a_tensor_of_another_shape_is_refused(files, name, how, tmp_path):
    tensors, words = packed.unpack(files["Residual"], "it")
    tensors[name] = RESHAPED[how](tensors[name]).contiguous()
    words["tensors"][name].update(shape=tuple(tensors[name].shape))
    (tmp_path / "f").write_bytes(packed.pack(tensors, words))
    with pytest.raises(InputError, match=r"f does not hold what its format says .*shape|f is not of the network"):
        load(tmp_path / "f", nets.Residual)


@pytest.mark.parametrize("how", WORDS)
def test_words_that_are_wrong_are_refused(files, how, tmp_path, monkeypatch):
    spoil, says = WORDS[how]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.safetensors").write_bytes(forged(files["Residual"], spoil))
    with pytest.raises(InputError, match=f"^f.safetensors .*{says}") as caught:
        load("f.safetensors", nets.Residual)
    assert "\n" not in str(caught.value)


TEXTS = {
    "no JSON": ("{", {}, "it is no JSON"),
    "a list": ("[]", {}, r"is \[\], not a dict"),
    "nested deep": (DEEP, {}, "it is nested too deep"),
    "nested rather deep": ("[" * 300 + "]" * 300, {}, "it is nested more than 200 deep"),
    "said twice": ('{"narrow": [], "narrow": []}', {}, "it says 'narrow' twice"),
    "a version of words": ("{}", {"version": "1"}, "version is '1', not a whole number"),
    "version 0": ("{}", {"version": 0}, "version is 0, not a whole number"),
    "half a character": ("\ud800", {}, "half a character"),
    "words of no text": ("{}", {"words": {}}, "words is {}, not a word"),
    "more entries": ("{}", {"more": 0}, "it has 'more', which does not belong there"),
}


@pytest.mark.parametrize("how", TEXTS)
def test_texts_that_are_no_words_are_refused(files, how, tmp_path):
    text, more, says = TEXTS[how]
    (tmp_path / "f").write_bytes(with_text(files["Residual"], text, **more))
    with pytest.raises(InputError, match=f"f does not hold what its format says .*{says}"):
        load(tmp_path / "f", nets.Residual)


@pytest.mark.parametrize("named", ["_inductor", "onnx", "distributed", "qint8", "nowhere", "float64", "nn"])
def test_a_type_is_looked_up_in_a_list_and_not_in_torch(files, named, tmp_path):
    content = files["Residual"]
    words = packed.json.loads(packed.json.loads(packed._header(content)[packed.ENTRY])["words"])
    words["types"]["head.bias"] = named
    (tmp_path / "f").write_bytes(with_text(content, packed.json.dumps(words)))
    before = {name for name in sys.modules if name.startswith("torch")}
    with pytest.raises(InputError, match=rf"types\['head.bias'\] is '{named}', not "):
        load(tmp_path / "f", nets.Residual)
    assert {name for name in sys.modules if name.startswith("torch")} == before


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda w: w.update(narrow=[]), "'attention' is said to have 2 heads of 2 in a stream of 8"),
        (lambda w: w.update(narrow=["attention.out_proj"]), "'attention.out_proj' is a NonDynamically"),
        (lambda w: w["changes"][0]["now"].update(num_heads=0), "is said to have 0 heads"),
        (lambda w: w["changes"][0]["now"].update(num_heads=3), "is said to have 3 heads"),
    ],
)
def test_heads_that_do_not_fit_are_refused(files, spoil, says, tmp_path):
    assert load_file(files["Attention"], tmp_path).attention.num_heads == 2
    with pytest.raises(InputError, match=says):
        load_file(forged(files["Attention"], spoil), tmp_path)


def load_file(content, folder):
    (folder / "f").write_bytes(content)
    return load(folder / "f", nets.Attention)


def test_a_whole_attention_is_not_called_narrow(tmp_path):
    save(nets.Attention(), tmp_path / "whole", of=nets.Attention())
    content = forged((tmp_path / "whole").read_bytes(), lambda w: w.update(narrow=["attention"]))
    with pytest.raises(InputError, match="'attention' is said to have 4 heads of 2 in a stream of 8"):
        load_file(content, tmp_path)


def test_what_is_saved_can_be_loaded_or_is_refused_at_once(tmp_path):
    small = nets.Tied()
    small.width = True
    with pytest.raises(InputError, match="width of 'the network' is 6 in the original, and True is no such thing"):
        save(small, tmp_path / "f", of=nets.Tied())
    small.width = None
    save(small, tmp_path / "f", of=nets.Tied())
    assert load(tmp_path / "f", nets.Tied).width is None


def test_half_truths_are_refused(tmp_path):
    model = torch.nn.Module()
    model.register_buffer("keep", torch.tensor([True, False]))
    save(model, tmp_path / "f", of=model)
    content = bytearray((tmp_path / "f").read_bytes())
    content[-2] = 2
    words = packed.json.loads(packed._header(bytes(content))[packed.ENTRY])["words"]
    (tmp_path / "f").write_bytes(with_text(bytes(content), words))
    with pytest.raises(InputError, match="'keep' holds what is neither true nor false"):
        load(tmp_path / "f", lambda: model)
