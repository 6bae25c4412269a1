"""Layouts: every way of writing a tensor gives it back bit by bit, and the shortest is the one that is taken."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sapwood.codec import tensors
from sapwood.codec.places import LAYOUTS, gaps
from sapwood.codec.stream import CODERS, HUFFMAN

SHAPES = [(), (0,), (1,), (7,), (300,), (3, 0), (0, 3), (1, 5), (5, 1), (4, 6), (3, 2, 2, 2), (40, 60)]


def bits(tensor):
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def again(coded):
    parts = [part.pack() for part in coded.streams]
    assert [len(part) for part in parts] == [part.stream.size for part in coded.streams]
    return tensors.decode(coded.said(), parts)


def sparse(shape, density=0.3, seed=0, values=0):
    """Normal numbers, or `values` different ones, at some of the places."""
    luck = torch.Generator().manual_seed(seed)
    w = torch.randn(shape, generator=luck)
    if values:
        w = torch.linspace(-1, 1, values)[torch.randint(values, shape, generator=luck)]
    return w * (torch.rand(shape, generator=luck) < density)


def test_the_worked_example_of_gaps():
    """Positions 1, 4, 15 with gaps up to 8: 1, 3, a filler, 3. Places count from 0."""
    found, filled = gaps(np.array([1, 4, 15]) - 1, 8)
    assert found.tolist() == [1, 3, 8, 3]
    assert (filled + 1).tolist() == [1, 4, 12, 15]


@given(st.lists(st.integers(0, 2_000), unique=True), st.sampled_from([1, 2, 3, 32, 256]))
def test_gaps_lead_to_every_place_and_fillers_are_as_few_as_can_be(places, reach):
    places = np.array(sorted(places), dtype=np.int64)
    found, filled = gaps(places, reach)
    assert set(places) <= set(filled)
    assert np.cumsum(found).tolist() == (filled + 1).tolist()
    assert all(1 <= step <= reach for step in found)
    assert len(found) == sum(-(-step // reach) for step in np.diff(places, prepend=-1))


def test_the_worked_example_of_shared_weights():
    """16 weights of 4 values: 16 * 32 bits become 4 * 32 + 16 * 2, without gaps."""
    w = torch.tensor([2.0, -1.0, 1.5, 0.5]).repeat(4).reshape(4, 4)
    coded = tensors.encode(w, layout="dense", coders=())
    assert 16 * 32 / (8 * coded.size) == 3.2
    assert torch.equal(again(coded), w)


@pytest.mark.parametrize("layout", [None, *LAYOUTS])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("coders", [(), (HUFFMAN,), CODERS], ids=str)
def test_it_comes_back_bit_by_bit(layout, shape, coders):
    for values in (0, 5):
        for density in (0.0, 0.1, 1.0):
            w = sparse(shape, density, values=values)
            assert bits(again(tensors.encode(w, layout=layout, coders=coders))) == bits(w)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_bits_come_back_whatever_they_mean(layout):
    w = torch.tensor([[0.0, -0.0, float("nan"), -float("inf")], [1e-45, 0.0, 3.0, 0.0]])
    odd = w.view(torch.int32).clone()
    odd[0, 0] = 0x7FC12345  # a NaN with something to say
    for each in (w, odd.view(torch.float32)):
        assert bits(again(tensors.encode(each, layout=layout))) == bits(each)


@pytest.mark.parametrize("name", tensors.TYPES)
def test_every_type_comes_back(name):
    w = (sparse((9, 11), values=7) * 3).to(tensors.TYPES[name])
    for layout in LAYOUTS:
        assert bits(again(tensors.encode(w, layout=layout))) == bits(w)


def test_what_does_not_lie_in_order_comes_back():
    w = sparse((6, 4, 3, 3)).to(memory_format=torch.channels_last)
    assert bits(again(tensors.encode(w))) == bits(w)
    assert bits(again(tensors.encode(sparse((5, 7)).t()))) == bits(sparse((5, 7)).t())


@pytest.mark.parametrize(("values", "density"), [(0, 1.0), (0, 0.5), (0, 0.01), (16, 0.5), (16, 0.05), (2, 1.0)])
def test_the_shortest_is_taken(values, density):
    w = sparse((50, 80), density, values=values)
    sizes = {layout: tensors.encode(w, layout=layout).size for layout in LAYOUTS}
    assert min(sizes.values()) <= tensors.encode(w).size <= min(sizes.values()) + 4, "adaptive codes are estimated"
    by_huffman = {layout: tensors.encode(w, layout=layout, coders=(HUFFMAN,)).size for layout in LAYOUTS}
    assert tensors.encode(w, coders=(HUFFMAN,)).size == min(
        size for layout, size in by_huffman.items() if LAYOUTS[layout].coder is None
    )


def test_the_other_order_is_taken_where_it_is_shorter():
    w = torch.zeros(64, 100)
    w[:, 40:43] = sparse((64, 3), 1.0)
    coded = tensors.encode(w, layout="gaps of 5 bits")
    assert coded.order == "columns"
    assert bits(again(coded)) == bits(w)
    assert tensors.encode(w.t().contiguous(), layout="gaps of 5 bits").order == "rows"


def test_more_values_than_a_codebook_has_are_written_as_they_are():
    w = torch.arange(1, tensors.BOOK + 1).float()
    for each, book in ((w, False), (w[:-1].repeat(4), True), (torch.cat([w, w + 70_000]).repeat(4), False)):
        coded = tensors.encode(each, layout="dense")
        assert (len(coded.streams) == 2) == book
        assert bits(again(coded)) == bits(each)


def test_zeros_take_nothing():
    assert tensors.encode(torch.zeros(1_000, 1_000)).size == 0
