"""Recurrent layers: a unit goes from every gate, layer and direction; against layers written out step by step."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import AdamW
from zoo import Written, settled

from sapwood.errors import InputError
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import couplings, sites
from sapwood.shrinking.rules import recurrent
from sapwood.shrinking.shrunk import compact, shrink
from sapwood.shrinking.tracing.site import Slot

TOKENS = torch.arange(12).view(3, 4) % 11


def steps(width, count=3, length=4):
    """[count, length, width]: a few sequences."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, length, width, generator=generator, dtype=torch.float64)


def tagger():
    def forward(of, x):
        return of["head"](of["rnn"](of["emb"](x))[0])

    rnn = nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True, dropout=0.2)
    return Written(forward, emb=nn.Embedding(11, 6), rnn=rnn, head=nn.Linear(10, 3)), TOKENS


def classifier():
    def forward(of, x):
        return of["head"](of["rnn"](F.relu(of["a"](x)))[0][:, -1])

    return Written(forward, a=nn.Linear(4, 6), rnn=nn.GRU(6, 5, batch_first=True), head=nn.Linear(5, 3)), steps(4)


def convolved():
    def forward(of, x):
        x = F.relu(of["a"](x.transpose(1, 2))).permute(2, 0, 1)
        return of["head"](of["rnn"](x)[1][0][-1])

    return Written(
        forward, a=nn.Conv1d(2, 6, 3, padding=1), rnn=nn.LSTM(6, 5), head=nn.Linear(5, 3)
    ), steps(2)  # fmt: skip


def frames():
    """Every frame of a film is convolved and flattened."""

    def forward(of, x):
        flat = F.relu(of["a"](x.flatten(0, 1))).flatten(1)
        return of["head"](of["rnn"](flat.view(x.shape[0], x.shape[1], -1))[0])

    return Written(
        forward, a=nn.Conv2d(2, 4, 3), rnn=nn.GRU(16, 5, batch_first=True), head=nn.Linear(5, 3)
    ), steps(32).view(3, 4, 2, 4, 4)  # fmt: skip


def stacked():
    def forward(of, x):
        return of["head"](of["rnn"](of["first"](x)[0])[0])

    return Written(
        forward, first=nn.LSTM(4, 6, bias=False), rnn=nn.RNN(6, 5, nonlinearity="relu"), head=nn.Linear(5, 3)
    ), steps(4)


def ends():
    """Last states of all layers and both directions, hidden and cells, side by side."""

    def forward(of, x):
        _, (h, c) = of["rnn"](x)
        return of["head"](torch.cat([h, c]).permute(1, 0, 2).flatten(1))

    return Written(forward, rnn=nn.LSTM(4, 5, 2, bidirectional=True), head=nn.Linear(40, 3)), steps(4)


def summed():
    def forward(of, x):
        there, back = of["rnn"](x)[0].chunk(2, -1)
        return of["head"](there + back)

    return Written(forward, rnn=nn.GRU(4, 5, bidirectional=True), head=nn.Linear(5, 3)), steps(4)


def translator():
    """What one has read is where the other starts: one site."""

    def forward(of, x):
        _, state = of["other"](x)
        return of["head"](of["rnn"](x, state)[0])

    return Written(forward, other=nn.LSTM(4, 5), rnn=nn.LSTM(4, 5), head=nn.Linear(5, 3)), steps(4)


def learned_start():
    def forward(of, x):
        return of["head"](of["rnn"](x, of["start"].expand(-1, x.shape[1], -1))[0])

    return Written(forward, start=nn.Parameter(torch.zeros(2, 1, 5)), rnn=nn.RNN(4, 5, 2), head=nn.Linear(5, 3)), steps(
        4
    )


def zeros_of_its_size():
    def forward(of, x):
        zeros = x.new_zeros(1, x.shape[1], of["rnn"].hidden_size)
        return of["head"](of["rnn"](x, (zeros, zeros))[0])

    return Written(forward, rnn=nn.LSTM(4, 5), head=nn.Linear(5, 3)), steps(4)


def residual():
    def forward(of, x):
        x = of["a"](x)
        return of["head"](x + of["rnn"](x)[0])

    return Written(forward, a=nn.Linear(4, 5), rnn=nn.GRU(5, 5), head=nn.Linear(5, 3)), steps(4)


def cells():
    def forward(of, x):
        state, h = None, None
        for n in range(x.shape[1]):
            state = of["lstm"](x[:, n], state)
            h = of["gru"](state[0], h)
        return of["head"](torch.cat([h, of["rnn"](state[1])], 1))

    return Written(forward, lstm=nn.LSTMCell(4, 6), gru=nn.GRUCell(6, 5), rnn=nn.RNNCell(6, 3),
                   head=nn.Linear(8, 3)), steps(4)  # fmt: skip


def projected():
    def forward(of, x):
        return of["head"](of["rnn"](x)[0])

    return Written(forward, rnn=nn.LSTM(4, 9, 2, proj_size=3, bidirectional=True), head=nn.Linear(6, 3)), steps(4)


# every network, and the units of its sites: worked out by hand
NETS = {
    tagger: [6, 5],
    classifier: [6, 5],
    convolved: [6, 5],
    frames: [4, 5],
    stacked: [6, 5],
    ends: [5],
    summed: [5],
    translator: [5],
    learned_start: [5],
    zeros_of_its_size: [5],
    residual: [5],
    cells: [6, 5, 3],
    projected: [9, 3],
}
ALONE = [tagger, classifier, convolved, frames, stacked, ends, summed, learned_start, zeros_of_its_size]


def named(make):
    return make.__name__


def built(make):
    model, example = make()
    return settled(model), example


def of_rnn(found):
    """The site of the layer called rnn."""
    return next(site for site in found if any("rnn." in slot.tensor for slot in site.at("makes")))


def rnn_keep(found, keep_U):
    return {of_rnn(found).name: keep_U}


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("make", NETS, ids=named)
def test_the_units_worked_out_by_hand(make):
    assert [site.units for site in sites(*built(make))] == NETS[make]


@pytest.mark.parametrize("make", NETS, ids=named)
def test_what_is_left_computes_the_same(make, unchanged):
    model, example = built(make)
    unchanged(model)
    found = sites(model, example)
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        keep = {site.name: torch.rand(site.units, generator=generator) < 0.7 for site in found}
        for site in found:
            keep[site.name][[0, -1]] = torch.tensor([True, False])
        result = shrink(model, keep, found, example=example)
        assert result.difference < 1e-12
        assert size(result.model) < size(model)
        kept = [int(keep[site.name].sum()) for site in found]
        assert [site.units for site in sites(result.model, example)] == [units for units in kept if units > 1]
        assert float(macs_of(model, found, example)(keep)) == float(macs_of(result.model, (), example)({}))


# ---- against layers written out ----


class ByHand(nn.Module):
    """A recurrent layer as its documentation writes it, whose units other than `keep_U` are 0 after every step."""

    def __init__(self, layer, keep_U):
        super().__init__()
        self.layer, self.keep_U, self.hidden_size = layer, keep_U, layer.hidden_size

    def forward(self, x, start=None):
        x = x.transpose(0, 1) if self.layer.batch_first else x
        ends = []
        for number in range(self.layer.num_layers):
            ways = []
            for suffix in ("", "_reverse") if self.layer.bidirectional else ("",):
                state = self._start(x, start, len(ends))
                out = []
                for x_BI in x.flip(0) if suffix else x:
                    state = [part * self.keep_U for part in self._step(x_BI, state, f"_l{number}{suffix}")]
                    out.append(state[0])
                ways.append(torch.stack(out[::-1] if suffix else out))
                ends.append(state)
            x = torch.cat(ways, -1)
        last = [torch.stack(parts) for parts in zip(*ends, strict=True)]
        return x.transpose(0, 1) if self.layer.batch_first else x, last[0] if len(last) == 1 else tuple(last)

    def _start(self, x, start, at):
        parts = 2 if self.layer.mode == "LSTM" else 1
        if start is None:
            return [x.new_zeros(x.shape[1], self.layer.hidden_size)] * parts
        return [part[at] for part in (start if parts == 2 else (start,))]

    def _step(self, x_BI, state, suffix):
        w_ih, w_hh, b_ih, b_hh = (
            getattr(self.layer, f"{name}{suffix}", None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        read, back = F.linear(x_BI, w_ih, b_ih), F.linear(state[0] * self.keep_U, w_hh, b_hh)
        if self.layer.mode == "LSTM":
            i, f, g, o = (read + back).chunk(4, 1)
            c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
            return o.sigmoid() * c.tanh(), c
        if self.layer.mode == "GRU":
            (r, z, n), (r_back, z_back, n_back) = read.chunk(3, 1), back.chunk(3, 1)
            z = (z + z_back).sigmoid()
            return ((1 - z) * (n + (r + r_back).sigmoid() * n_back).tanh() + z * state[0],)
        return ((read + back).relu() if self.layer.mode == "RNN_RELU" else (read + back).tanh(),)


def by_hand(make, keep_U):
    model, example = built(make)
    model.layers["rnn"] = ByHand(model.layers["rnn"], keep_U)
    return model(example)


@pytest.mark.parametrize("make", ALONE, ids=named)
def test_the_layers_by_hand_are_those_of_torch(make):
    model, example = built(make)
    torch.testing.assert_close(by_hand(make, torch.ones(5)), model(example), rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", ALONE, ids=named)
def test_removed_units_count_as_zero_at_every_step(make):
    model, example = built(make)
    found = sites(model, example)
    for keep_U in (torch.arange(5) != 1, torch.tensor([0, 0, 1, 0, 1]).bool()):
        small = shrink(model, rnn_keep(found, keep_U), found, example=example).model
        torch.testing.assert_close(small(example), by_hand(make, keep_U), rtol=0, atol=1e-12)


# ---- sizes ----


def test_sizes_and_the_list_of_weights_follow():
    model, example = built(tagger)
    found = sites(model, example)
    keep = {found[0].name: torch.arange(6) > 1, found[1].name: torch.arange(5) > 1}
    small = shrink(model, keep, found, example=example).model
    rnn = small.layers["rnn"]
    assert (rnn.input_size, rnn.hidden_size, small.layers["head"].in_features) == (4, 3, 6)
    assert all(mine is its for mine, its in zip(rnn.parameters(), rnn._flat_weights, strict=True))
    # embedding, then for each direction 4 gates of 3 units that read, read back and have two biases, then the head
    assert size(small) == 11 * 4 + 2 * (4 * 3) * (4 + 3 + 2) + 2 * (4 * 3) * (6 + 3 + 2) + (3 * 6 + 3)


def test_cells_and_projections_know_their_sizes():
    model, example = built(cells)
    found = sites(model, example)
    keep = {site.name: torch.arange(site.units) > 0 for site in found}
    of = shrink(model, keep, found, example=example).model.layers
    assert [(of[n].input_size, of[n].hidden_size) for n in ("lstm", "gru", "rnn")] == [(4, 5), (5, 4), (5, 2)]
    model, example = built(projected)
    found = sites(model, example)
    keep = {site.name: torch.arange(site.units) > 0 for site in found}
    rnn = shrink(model, keep, found, example=example).model.layers["rnn"]
    assert (rnn.input_size, rnn.hidden_size, rnn.proj_size) == (4, 8, 2)


def test_as_many_projections_as_units_are_refused(unchanged):
    model, example = built(projected)
    unchanged(model)
    found = sites(model, example)
    with pytest.raises(InputError, match="an LSTM of 3 units would send 3 projections"):
        shrink(model, {found[0].name: torch.arange(9) < 3}, found, example=example)


class Started(nn.Module):
    """A layer that starts from numbers written in the code."""

    def __init__(self, start):
        super().__init__()
        self.width, self.start = 5, start
        self.rnn, self.head = nn.GRU(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.rnn(x, self.start(self, x))[0])


def test_a_size_of_the_models_own_follows():
    model, example = settled(Started(lambda of, x: x.new_zeros(1, x.shape[1], of.width))), steps(4)
    found = sites(model, example)
    small = shrink(model, rnn_keep(found, torch.arange(5) > 1), found, example=example).model
    assert small.width == small.rnn.hidden_size == 3


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (lambda of, x: x.new_zeros(1, x.shape[1], 5), "a size may be written into aten.gru"),
        (lambda of, x: torch.arange(float(of.width)).to(x).expand(1, x.shape[1], -1), "aten.gru"),
        (lambda of, x: x[:1, :, [0, 1, 2, 3, 0]], "aten.gru starts from numbers that belong to no unit"),
    ],
    ids=["literal", "different", "input"],
)
def test_what_starts_from_numbers_of_a_fixed_size_stays(start, says, unchanged):
    model, example = settled(Started(start)), steps(4)
    unchanged(model)
    found = couplings(model, example)
    assert not found.sites
    assert any(pin.name.startswith("rnn") and says in pin.because and __file__ in pin.because for pin in found.pinned)


def test_units_along_time_stay():
    def forward(of, x):
        return of["head"](of["rnn"](of["a"](x).transpose(1, 2))[0])

    model = Written(forward, a=nn.Linear(4, 6), rnn=nn.GRU(4, 5, batch_first=True), head=nn.Linear(5, 3))
    found = couplings(settled(model), steps(4))
    assert [site.units for site in found.sites] == [5]
    assert any(pin.name == "layers.a" and "aten.gru keeps the dimension" in pin.because for pin in found.pinned)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_packed_sequences_lose_units(kind, ordered, unchanged):
    """What a step behind the end of a sequence would be is never looked at, before and after."""

    def forward(of, x):
        lengths = torch.tensor([4, 3, 2] if ordered else [2, 4, 3])
        packed = nn.utils.rnn.pack_padded_sequence(of["a"](x), lengths, batch_first=True, enforce_sorted=ordered)
        y, states = of["rnn"](packed)
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, padding_value=7.0)
        last = states[0] if isinstance(states, tuple) else states
        return of["head"](torch.cat([y[:, 0], last[-1]], -1))

    layers = {"a": nn.Linear(4, 6), "rnn": kind(6, 5, batch_first=True), "head": nn.Linear(10, 3)}
    model, example = settled(Written(forward, **layers)), steps(4)
    unchanged(model)
    found = sites(model, example)
    assert {site.name: site.units for site in found} == {"layers.a": 6, "layers.rnn": 5}
    result = shrink(model, {site.name: torch.arange(site.units) % 3 != 1 for site in found}, found, example=example)
    assert result.difference < 1e-13
    assert result.model.layers["rnn"].hidden_size == 3


def test_a_packed_sequence_as_an_input():
    """Which of its numbers belong to one step only the numbers say; the units are the same."""
    packed = nn.utils.rnn.pack_sequence([steps(4)[0], steps(4)[1, :2]])
    layers = {"rnn": nn.GRU(4, 5), "head": nn.Linear(5, 3)}
    model = settled(Written(lambda of, x: of["head"](of["rnn"](x)[0].data), **layers))
    found = sites(model, (packed,))
    assert [site.units for site in found] == [5]
    assert shrink(model, {"layers.rnn": torch.arange(5) > 1}, found, example=(packed,)).difference < 1e-13


# ---- the optimiser goes on ----


def test_training_goes_on_bit_by_bit_as_a_network_built_small_from_the_start():
    def net(units):
        forward = classifier()[0].how
        return Written(forward, a=nn.Linear(4, 6), rnn=nn.GRU(6, units, batch_first=True), head=nn.Linear(units, 3))

    def train(model, optimizer):
        for n in range(5):
            optimizer.zero_grad()
            model(steps(4) + n).square().mean().backward()
            optimizer.step()

    model, keep_U = settled(net(5)), torch.tensor([1, 0, 1, 1, 0]).bool()
    optimizer = AdamW(model.parameters(), lr=0.01)
    train(model, optimizer)
    cuts = {"rnn.weight_ih_l0": (0, 3), "rnn.bias_ih_l0": (0, 3), "rnn.bias_hh_l0": (0, 3), "head.weight": (1, 1)}

    def cut(name, tensor):
        if name == "rnn.weight_hh_l0":
            return tensor[keep_U.repeat(3)][:, keep_U]
        dim, times = cuts.get(name, (0, 0))
        return tensor.index_select(dim, keep_U.repeat(times).nonzero().flatten()) if times else tensor

    small = net(3).double()
    names = [name.removeprefix("layers.") for name, _ in model.named_parameters()]
    small.load_state_dict({f"layers.{n}": cut(n, p) for n, p in zip(names, model.parameters(), strict=True)})
    memory = optimizer.state_dict()
    memory["state"] = {
        at: {key: cut(names[at], value) if value.dim() else value.clone() for key, value in state.items()}
        for at, state in memory["state"].items()
    }
    fresh = AdamW(small.parameters(), lr=0.01)
    fresh.load_state_dict(memory)
    found = sites(model, steps(4))
    result = shrink(model, rnn_keep(found, keep_U), found, example=steps(4), optimizer=optimizer)
    train(result.model, result.optimizer)
    train(small, fresh)
    for mine, its in zip(result.model.parameters(), small.parameters(), strict=True):
        assert torch.equal(mine, its)


# ---- compacting ----


def test_units_that_nobody_reads_go_and_what_a_unit_sends_is_never_taken_for_a_constant():
    model, example = built(tagger)
    rnn, head = model.layers["rnn"], model.layers["head"]
    with torch.no_grad():
        for name, weight in rnn.named_parameters():
            if name.startswith("weight_hh"):
                weight[:, 1] = 0.0
            if name.startswith("weight_ih_l1"):
                weight[:, [1, 6]] = 0.0
            if name.startswith("weight"):
                weight[torch.arange(20) % 5 == 2] = 0.0  # its biases still drive it, differently at every step
        head.weight[:, [1, 6]] = 0.0
    result = compact(model, example=example)
    assert result.model.layers["rnn"].hidden_size == 4
    assert result.difference < 1e-13
    torch.testing.assert_close(result.model(example), model(example), rtol=0, atol=1e-13)


# ---- planted mistakes ----


def planted(found, wrong):
    """The sites, with some slots of the layer called rnn made wrong; only the proof is left to notice."""
    site = of_rnn(found)
    slots = tuple(changed for slot in site.slots for changed in [wrong(slot)] if changed is not None)
    return tuple(replace(site, slots=slots, asked=(), guessed=False) if each is site else each for each in found)


def moved(slot, unit_of):
    return Slot(slot.tensor, slot.dim, unit_of, slot.role)


def mixed_up(slot):
    """Gates of each unit side by side, instead of units in each gate."""
    rows = slot.dim == 0 and len(slot.unit_of) > 5
    return moved(slot, torch.arange(len(slot.unit_of)) // (len(slot.unit_of) // 5)) if rows else slot


def one_gate(slot):
    """In one bias the gates stand in another order of units."""
    return moved(slot, slot.unit_of.flip(0)) if slot.tensor.endswith("bias_hh_l0") else slot


def one_direction(slot):
    """The second layer reads the backward units shifted by one."""
    if not slot.tensor.endswith("weight_ih_l1") or slot.role != "reads":
        return slot
    return moved(slot, torch.cat([slot.unit_of[:5], slot.unit_of[5:].roll(1)]))


def read_back(slot):
    """The columns of the matrix that reads back, shifted by one."""
    return moved(slot, slot.unit_of.roll(1)) if "weight_hh" in slot.tensor and slot.role == "reads" else slot


@pytest.mark.parametrize("wrong", [mixed_up, one_gate, one_direction, read_back], ids=named)
def test_units_in_the_wrong_place_are_caught(wrong):
    model, example = built(tagger)
    found = planted(sites(model, example), wrong)
    with pytest.raises(InputError, match="differ from the original by"):
        shrink(model, rnn_keep(found, torch.arange(5) != 1), found, example=example)


@pytest.mark.parametrize("role", ["reads", "makes", "holds"])
def test_a_forgotten_slot_is_caught(role):
    model, example = built(tagger)
    found = sites(model, example)
    for left_out in of_rnn(found).at(role):
        wrong = planted(found, lambda slot, out=left_out: None if slot is out else slot)
        with pytest.raises(InputError, match="the smaller network fails"):
            shrink(model, rnn_keep(wrong, torch.arange(5) != 1), wrong, example=example)


def test_a_rule_that_mixes_up_gates_is_caught(monkeypatch):
    monkeypatch.setattr(recurrent, "in_parts", lambda ids, dim, parts: ids.view(-1, parts).T)
    model, example = built(tagger)
    found = couplings(model, example)
    assert [site.units for site in found.sites] == [6]
    assert any("aten.lstm" in pin.because and "outputs would be others" in pin.because for pin in found.pinned)
