"""Augmentation: every place and both ways round, as often as they should be, and the same for the same luck."""

import torch

from sapwood.data.augment import blanked, crop_and_flip
from sapwood.training.task import Batch


def luck(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(count, height=5, width=6, channels=2):
    """Images that are alike, with another number above 0 at every pixel."""
    image = torch.arange(1.0, 1 + channels * height * width).view(channels, height, width)
    return Batch(image.repeat(count, 1, 1, 1), torch.arange(count))


def windows(image, border):
    """Every image that can come out: {its bytes: (top, left, mirrored)}."""
    channels, height, width = image.shape
    framed = torch.zeros(channels, height + 2 * border, width + 2 * border)
    framed[:, border : border + height, border : border + width] = image
    found = {}
    for top in range(2 * border + 1):
        for left in range(2 * border + 1):
            window = framed[:, top : top + height, left : left + width]
            found[window.numpy().tobytes()] = (top, left, False)
            found[window.flip(2).numpy().tobytes()] = (top, left, True)
    return found


def test_every_window_and_its_mirror_image_come_out_equally_often():
    batch = numbered(18_000)
    possible = windows(batch.inputs[0], border=1)
    out = crop_and_flip(batch, luck(), border=1)
    assert torch.equal(out.targets, batch.targets)
    seen = dict.fromkeys(possible.values(), 0)
    for image in out.inputs:
        seen[possible[image.numpy().tobytes()]] += 1
    assert len(seen) == 18
    assert all(abs(count - 1_000) < 150 for count in seen.values())  # 4.9 standard deviations of a binomial


def test_four_pixels_are_usual():
    batch = numbered(200)
    possible = windows(batch.inputs[0], border=4)
    places = [possible[image.numpy().tobytes()] for image in crop_and_flip(batch, luck()).inputs]
    assert {top for top, _, _ in places} == {left for _, left, _ in places} == set(range(9))


def test_without_a_border_images_are_only_mirrored():
    batch = numbered(50)
    out = crop_and_flip(batch, luck(), border=0).inputs
    straight = (out == batch.inputs).flatten(1).all(1)
    assert 10 < int(straight.sum()) < 40
    assert torch.equal(out[~straight], batch.inputs[~straight].flip(3))


def test_the_same_luck_gives_the_same_images_and_nothing_else_matters():
    batch = numbered(20)
    before = batch.inputs.clone()
    torch.manual_seed(1)
    one = crop_and_flip(batch, luck(3)).inputs
    state = torch.get_rng_state()
    other = crop_and_flip(batch, luck(3)).inputs
    assert torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(one, crop_and_flip(batch, luck(4)).inputs)
    assert torch.equal(before, batch.inputs)


def test_blanks_are_as_many_as_asked_for_and_leave_means_as_they_are():
    batch = Batch(torch.ones(400, 50), torch.arange(400))
    out = blanked(batch, luck(), share=0.2)
    assert torch.equal(out.targets, batch.targets)
    assert set(out.inputs.unique().tolist()) == {0.0, 1.25}
    spread = (0.2 * 0.8 / 20_000) ** 0.5
    assert abs(float((out.inputs == 0).double().mean()) - 0.2) < 5 * spread
    assert torch.equal(blanked(batch, luck(3), share=0.2).inputs, blanked(batch, luck(3), share=0.2).inputs)
    assert not torch.equal(blanked(batch, luck(3), share=0.2).inputs, blanked(batch, luck(4), share=0.2).inputs)
