"""Skipping: a network with saliency gates, run so that what they close for a sample is not computed for it.

Every linear layer and convolution multiplies, for samples with the same masks, only the open rows and columns of its
weight, W[out][:, in], with the open channels of what it is given.
"""

from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sapwood.errors import InputError, unknown
from sapwood.export.open_channels import Norm, Part, Pass
from sapwood.gates import Gated, Saliency
from sapwood.scoring.layers import every_layer
from sapwood.scoring.layout import Straight
from sapwood.shrinking.tracing.site import Site, Slot


class Skipping(nn.Module):
    """A copy of a gated network, in evaluation mode, that computes what each sample's gates leave open and no more.

    Its outputs are those of the gated network. After a pass `executed`, int64 [B], says how many multiply-adds each
    sample took, in linear layers, convolutions and gates. Gates decide layer by layer, so that equal masks are looked
    for in each layer: of many samples that differ, groups are small, and nothing but multiply-adds is saved. For one
    sample, too, copying slices of weights may take longer than what is left out, as where maps have few positions: see
    `benchmarks/skipping.py`. Layers named in `whole` multiply everything, closed inputs being 0.

    gated: its gates are all saliency gates. sites: where they are, as found in `gated.model`. example: with one, what
    runs between layers is tried on as few channels as are open; where that gives the same, `compact` is True and a
    sample by itself is run so, else at full size, closed channels being 0. whole: names of layers, or "measured": those
    that were not slower so, one sample of the example after another, on this machine and as many threads as now; the
    attribute `whole` tells which. InputError names a layer of whose weight no rows or columns can be left out, as of a
    grouped convolution.
    Example: `fast = Skipping(gated, sites(gated.model, image), image, whole="measured"); answers = fast(image)`.
    """

    def __init__(
        self,
        gated: Gated,
        sites: Sequence[Site],
        example: Tensor | None = None,
        *,
        whole: Collection[str] | Literal["measured"] = (),
    ) -> None:
        super().__init__()
        self.network, self.gates = deepcopy(gated.model), deepcopy(gated.gates)
        self.executed = torch.zeros(0, dtype=torch.int64)
        self._pass, known = Pass(), {site.name: site for site in sites}
        layers = every_layer(self.network)
        parts = {n: Part(m, self._pass) for n, m in layers.items() if isinstance(m, Straight | nn.Linear)}
        norms = dict[str, Norm]()
        for name, gate in zip(gated.points, self.gates.values(), strict=True):
            if name not in known or not isinstance(gate, Saliency):
                raise InputError(f"site {name!r} has a {type(gate).__name__} gate, or is not among the sites given; "
                                 "give sites(gated.model, example), and Saliency gates only")  # fmt: skip
            for slot in known[name].slots:
                _put(parts, norms, self.network, self._pass, known[name], slot)
            _part(parts, known[name], name.partition("#")[0]).decides.append((name, gate))
        replaced: dict[str, Part | Norm] = {**parts, **norms}
        for name, part in replaced.items():
            self.network.get_submodule(name).forward = part.forward
        self.eval()
        self.compact = self._pass.compact = example is not None and self._agrees(sites, example[:1])
        self.whole = self._fixed(parts, example, whole)

    def train(self, mode: bool = True) -> "Skipping":
        """Stay in evaluation mode; it is the gated network that is trained."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """The gated network's outputs."""
        self._pass.begin({})
        outputs = self.network(*inputs)
        self.executed = self._pass.executed()
        return outputs

    @torch.no_grad()
    def _fixed(self, parts: "dict[str, Part]", example: Tensor | None, whole: Collection[str]) -> tuple[str, ...]:
        """Settle which layers multiply everything; their names."""
        if whole != "measured":
            for name in whole:
                if name not in parts:
                    raise unknown("layer", name, parts)
        elif example is None:
            raise InputError("whole='measured' times layers on an example; give one, of a few samples")
        else:
            self._pass.timing = True
            for sample in example[:, None]:
                self._pass.begin({})
                self.network(sample)
            self._pass.timing = False
            whole = [name for name, part in parts.items() if 0 < part.seconds[True] <= part.seconds[False]]
        for name, part in parts.items():
            part.whole = name in whole
        return tuple(name for name, part in parts.items() if part.whole)

    @torch.no_grad()
    def _agrees(self, sites: Sequence[Site], sample: Tensor) -> bool:
        """Whether, with every second unit closed, it answers on open channels as it does at full size."""
        for first in (0, 1):
            halves = {site.name: (torch.arange(site.units) + first) % 2 == 0 for site in sites}
            given = {name: mask[None].to(sample.device) for name, mask in halves.items()}
            answers = []
            for compact in (False, True):
                self._pass.begin(given)
                self._pass.compact = compact
                try:
                    answers.append(self.network(sample))
                except (RuntimeError, ValueError, IndexError, TypeError):  # code that wants all channels
                    return False
            full, small = answers
            if full.shape != small.shape or not torch.allclose(full, small, rtol=1e-3, atol=1e-4):
                return False
        return True


def _put(parts: dict[str, Part], norms: dict[str, Norm], network: nn.Module, now: Pass, site: Site, slot: Slot) -> None:
    """Tell a layer of a site's units among its outputs or inputs, or a norm."""
    name, _, last = slot.tensor.rpartition(".")
    order = torch.equal(slot.unit_of, torch.arange(site.units))
    place = site.name, None if order else slot.unit_of
    if slot.role == "holds" and name not in parts:
        norm = network.get_submodule(name)
        if isinstance(norm, _BatchNorm) and last == "running_mean":
            norms.setdefault(name, Norm(norm, now)).holds.append(place)
    elif last != "bias":
        part = _part(parts, site, name)
        if last != "weight" or slot.role in ("both", "holds") or slot.dim != (slot.role == "reads"):
            raise _stuck(site, slot.tensor)
        (part.reads if slot.dim else part.makes).append(place)


def _part(parts: dict[str, Part], site: Site, name: str) -> Part:
    if name not in parts or getattr(parts[name].layer, "groups", 1) > 1:
        raise _stuck(site, name)
    return parts[name]


def _stuck(site: Site, name: str) -> InputError:
    return InputError(f"units of site {site.name!r} cannot be skipped at {name!r}: their rows and columns are left out "
                      "of linear layers and ungrouped convolutions only; leave this site without a gate")  # fmt: skip
