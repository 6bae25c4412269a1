"""Maps of non-zero weights: kept bit for bit, shown of the right trials, and foreign files refused."""

import numpy as np
import pytest
import torch
from made_up import extras, figures, made, with_maps

from sapwood import checkpoint
from sapwood.errors import InputError
from sapwood.study.maps import FILE, keep_maps, maps


def test_maps_survive_being_kept_bit_for_bit(tmp_path):
    with_maps(tmp_path / "ran")
    seen = maps(made(), tmp_path / "ran", extras.MAPPED_ARMS)
    assert list(seen) == list(extras.MAPPED_ARMS)
    keep_maps(made(), tmp_path / "ran", tmp_path / FILE, extras.MAPPED_ARMS, figures.PARAMETERS)
    kept = maps(made(), tmp_path)
    assert {label: list(each) for label, each in kept.items()} == {
        label: list(figures.PARAMETERS) for label in extras.MAPPED_ARMS
    }
    for label, each in kept.items():
        for name, alive in each.items():
            assert alive.dtype == bool
            assert np.array_equal(alive, seen[label][name])
    assert 0.2 < kept["G1"]["hidden1.weight"].mean() < 0.6


def test_kept_maps_are_small(tmp_path):
    with_maps(tmp_path, shape=((300, 784), (200, 300), (100, 200), (50, 100)))
    keep_maps(made(), tmp_path, tmp_path / FILE, extras.MAPPED_ARMS, figures.PARAMETERS)
    assert 4 * 320_200 / 8 < (tmp_path / FILE).stat().st_size < 200_000


def test_weights_count_more_than_kept_maps_and_masks_are_applied(tmp_path):
    trial = with_maps(tmp_path)["G1"]
    keep_maps(made(), tmp_path, tmp_path / FILE, ["G1"], ["hidden1.weight"])
    masks = {"hidden1.weight": torch.tensor([[True, False], [True, True]])}
    weights = {"hidden1.weight": torch.tensor([[1.0, 2.0], [0.0, -3.0]]), "hidden1.bias": torch.ones(2)}
    checkpoint.write(tmp_path / trial / "weights.safetensors", {"model": weights, "masks": masks})
    (found,) = maps(made(), tmp_path, ["G1"])["G1"].items()
    assert found[0] == "hidden1.weight"
    assert found[1].tolist() == [[True, False], [False, True]]


def test_maps_of_another_trial_of_the_same_row_are_not_shown(tmp_path):
    with_maps(tmp_path / "ran")
    keep_maps(made(), tmp_path / "ran", tmp_path / FILE, extras.MAPPED_ARMS, figures.PARAMETERS)
    others = [row | {"trial": f"{row['trial']}x"} if row["row"] == "G1" else row for row in made()]
    assert list(maps(others, tmp_path, extras.MAPPED_ARMS)) == ["M", "G1 retrained", "M retrained"]
    assert maps([], tmp_path) == {}


def test_maps_side_by_side_are_of_one_seed(tmp_path):
    with_maps(tmp_path)
    later = [row for row in made() if row["seed"] == 1]
    assert maps(later, tmp_path) == {}


def test_a_map_that_is_not_there_cannot_be_kept(tmp_path):
    with_maps(tmp_path)
    with pytest.raises(InputError, match=r"arm 'G2' has no finished trial with weights in .*; run it, or leave it out"):
        keep_maps(made(), tmp_path, tmp_path / FILE, ["G1", "G2"], ["hidden1.weight"])
    with pytest.raises(InputError, match=r"hidden9\.weight"):
        keep_maps(made(), tmp_path, tmp_path / FILE, ["G1"], ["hidden9.weight"])
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: path.write_bytes(b"no tensors at all"), "is not a readable checkpoint"),
        (lambda path: checkpoint.write(path, {"model": {"w": torch.ones(2)}}), "is a checkpoint but holds no maps"),
        (lambda path: checkpoint.write(path, {"maps": {"x": {"w": {"bits": torch.ones(1)}}}}), "map of .w."),
        (lambda path: checkpoint.write(path, {"maps": {"x": {"w": {"shape": [2], "bits": torch.ones(9)}}}}), "cannot"),
        (lambda path: checkpoint.write(path, {"maps": {"x": 3}}), "holds no maps"),
    ],
)  # fmt: skip
def test_a_foreign_file_of_maps_is_refused(tmp_path, write, says):
    write(tmp_path / FILE)
    with pytest.raises(InputError, match=says):
        maps(made(), tmp_path, ["G1"])
