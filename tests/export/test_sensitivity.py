"""Sensitivity: what is asked, what is kept for later, what is read off, and what prune makes of it."""

from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from sapwood import InputError, prune, sensitivity, sites, spread
from sapwood.masking import masks


def net():
    """Two hidden layers of ten units; eight of the second one's are small, nothing hangs on the first one's last."""
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 2)).double()
    luck = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.rand(p.shape, generator=luck) + 0.1)
        model[2].weight[:8].mul_(1e-3)
        model[2].bias[:8].mul_(1e-3)
    return model.train()


X = torch.rand(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Asks:
    """The mean of the outputs, and how often it was asked for; `stops` after so many."""

    def __init__(self, of=X, stops=None):
        self.of, self.stops, self.count = of, stops, 0

    @torch.no_grad()
    def __call__(self, model):
        if self.count == self.stops:
            raise KeyboardInterrupt
        self.count += 1
        assert not model.training
        return model(self.of).mean()


def test_each_number_is_that_of_the_network_with_the_units_of_one_site_as_0():
    model = net()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    scan = sensitivity(model, X, asks := Asks(), shares=[0.5, 0.2])
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert model.training
    assert scan.shares == (0.5, 0.2)
    assert scan.counts == {"0": (5, 2), "2": (5, 2)}
    assert scan.asked == asks.count == 5
    for name, counts in scan.counts.items():
        for count, value in zip(counts, scan.values[name], strict=True):
            zeroed = net().eval()
            best = scan.scores[name].topk(count).indices
            keep = {name: torch.zeros(10, dtype=torch.bool).index_fill(0, best, True)}
            masks.apply_(dict(zeroed.named_parameters()), spread(zeroed, keep, sites(zeroed, X)))
            assert Asks()(zeroed) == value
    assert scan.lost["0"][0] == scan.whole - scan.values["0"][0]
    lower = sensitivity(model, X, Asks(), shares=[0.5], higher=False)
    assert lower.lost["0"][0] == lower.values["0"][0] - lower.whole


def test_what_is_read_off_between_the_shares_is_linear_and_never_falls():
    scan = sensitivity(net(), X, Asks(), shares=[0.5, 0.2])
    for name, ranks in scan.ranks.items():
        half, most = (max(0.0, loss) for loss in scan.lost[name])
        in_order = ranks[scan.scores[name].argsort()]
        assert torch.equal(in_order, ranks.sort().values)
        assert in_order[4] == pytest.approx(half)
        assert in_order[7] == pytest.approx(max(half, most))
        assert in_order[1] == pytest.approx(0.4 * half)
        assert in_order[9] == pytest.approx(max(half, most))


def test_prune_removes_first_where_least_is_lost():
    model = net()
    scan = sensitivity(model, X, Asks())
    assert max(scan.lost["2"][:3]) < min(scan.lost["0"])  # of the second layer eight units are hardly there
    asked = {"parameters": 0.66, "multiple": 1, "timing": 0}
    scanned, ranked, even = (
        prune(model, X, **asked, **options).model.eval()
        for options in ({"by": scan}, {"by": scan.ranks}, {"uniform": True})
    )
    assert scanned[0].out_features == ranked[0].out_features == 10
    assert scanned[2].out_features == ranked[2].out_features < even[2].out_features
    assert Asks()(scanned) > Asks()(even)


def test_a_second_call_asks_for_the_whole_network_only(tmp_path):
    file = tmp_path / "a.scan"
    first = sensitivity(net(), X, Asks(), cache=file)
    second = sensitivity(net(), X, asks := Asks(), cache=str(file))
    assert (second.asked, asks.count) == (1, 1)
    assert second.values == first.values
    more = sensitivity(net(), X, asks := Asks(), cache=file, shares=[0.8, 0.5])
    assert asks.count == more.asked == 3
    assert "asked    for 3 of 5 numbers; the others were in the cache" in str(more)
    assert sensitivity(net(), X, Asks(), cache=file, shares=[0.8, 0.5]).asked == 1


@pytest.mark.parametrize(
    "change",
    [
        {"evaluate": Asks(of=X * 2)},
        {"by": {"0": torch.arange(10), "2": torch.arange(10).flip(0)}},
        {"model": net().float().double()},
    ],
)
def test_numbers_of_other_data_units_or_weights_are_not_taken_for_these(tmp_path, change):
    file = tmp_path / "a.scan"
    sensitivity(net(), X, Asks(), cache=file)
    given = {"model": net(), "example": X, "evaluate": Asks()} | change
    fresh = sensitivity(**given)
    again = sensitivity(**given, cache=file)
    assert again.values == fresh.values
    assert again.asked > 1


def test_what_an_interrupted_scan_has_measured_is_kept(tmp_path):
    file, model = tmp_path / "a.scan", net()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        sensitivity(model, X, Asks(stops=4), cache=file)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert model.training
    rest = sensitivity(model, X, asks := Asks(), cache=file)
    assert asks.count == 9 - 3
    assert rest.values == sensitivity(model, X, Asks()).values


def test_widths_that_are_the_same_are_asked_for_once_and_a_unit_stays():
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    scan = sensitivity(model, X, asks := Asks(), shares=[0.9, 0.5, 0.3, 0.1])
    assert scan.counts["0"] == (2, 1, 1, 1)
    assert asks.count == 2
    assert scan.values["0"][0] == scan.whole
    assert len(set(scan.values["0"][1:])) == 1
    assert scan.ranks["0"].shape == (2,)


def test_it_prints_and_draws(tmp_path):
    scan = sensitivity(net(), X, Asks(), shares=[0.5, 0.2])
    said = str(scan)
    for words in ("50 %", f"{scan.values['2'][0]:.4f}", "most ", "next ", f"whole    {scan.whole:.4f}"):
        assert words in said
    scan.draw(tmp_path / "a.html")
    scan.draw(str(tmp_path / "a.svg"))
    page = (tmp_path / "a.html").read_text("utf-8")
    picture = ElementTree.fromstring((tmp_path / "a.svg").read_text("utf-8"))
    lines = [each for each in picture.iter("{http://www.w3.org/2000/svg}path") if each.get("stroke")]
    assert [each[0].text for each in lines] == ["0", "2"]
    assert f"{scan.values['0'][1]:.4f}" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    with pytest.raises(InputError, match=r"a.txt ends in '.txt'; give a name in .html or .svg"):
        scan.draw(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shares": [0.5, 1.0]}, "a share is 1.0; give the part"),
        ({"shares": [True]}, "shares is a list; give a list of shares to keep"),
        ({"shares": []}, "shares is empty"),
        ({"shares": 0.5}, "shares is 0.5; give a list of shares"),
        ({"by": "apoz"}, "the criterion needs active, count"),
        ({"by": 3}, "by is 3; give a criterion"),
        ({"evaluate": 3}, "evaluate is 3; give a function"),
        ({"evaluate": lambda model: "good"}, r"evaluate\(model\) gave a str"),
        ({"evaluate": lambda model: float("nan")}, r"evaluate\(model\) gave nan"),
        ({"model": nn.Linear(4, 2)}, "nothing of Linear can be removed"),
    ],
)
def test_bad_input_is_named(options, says):
    with pytest.raises(InputError, match=says):
        sensitivity(**{"model": net(), "example": X.to(options.get("model", net()).parameters().__next__().dtype),
                       "evaluate": Asks()} | options)  # fmt: skip


def test_a_file_that_is_no_scan_is_refused(tmp_path):
    (tmp_path / "a.scan").write_text("no scan")
    with pytest.raises(InputError, match=r"a.scan is not a readable checkpoint"):
        sensitivity(net(), X, Asks(), cache=tmp_path / "a.scan")
