"""The small network that comes trained: right as often as it says, as it was shipped, and as the docstring counts."""

import pytest
import torch

from sapwood import measure
from sapwood.errors import InputError
from sapwood.models import trained_digits
from sapwood.tasks.conv_digits import conv_digits


def test_it_is_trained_and_in_evaluation_mode():
    model, data = trained_digits.trained_digits()
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) == 116_810
    assert len(data.train) == 1_154
    assert measure.accuracy(model, data.test.take(slice(None)), k=(1,))["top1"] > 0.98


def test_its_data_is_that_of_the_task_with_the_same_digits():
    _, data = trained_digits.trained_digits()
    for part in ("train", "valid", "test"):
        mine, theirs = (getattr(each, part).take(slice(None)) for each in (data, conv_digits().data))
        assert torch.equal(mine.inputs, theirs.inputs)
        assert torch.equal(mine.targets, theirs.targets)


def test_other_weights_than_those_that_came_with_it_are_refused(tmp_path, monkeypatch):
    content = bytearray(trained_digits.WEIGHTS.read_bytes())
    content[-100] ^= 1
    damaged = tmp_path / "trained_digits.npz"
    damaged.write_bytes(content)
    monkeypatch.setattr(trained_digits, "WEIGHTS", damaged)
    with pytest.raises(InputError, match="is not the file that came with sapwood"):
        trained_digits.trained_digits()
