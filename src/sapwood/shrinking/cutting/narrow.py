"""Narrow attention: torch's multi-head attention with fewer heads than its width asks for.

`nn.MultiheadAttention` wants as many rows of queries as the stream has numbers, so it cannot lose a head. Its narrow
form has the same parameters under the same names and takes the same arguments.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood.errors import InputError


class NarrowAttention(nn.MultiheadAttention):
    """Multi-head attention whose heads together are narrower than `embed_dim`; made by `narrowed_`, not by hand."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `nn.MultiheadAttention`; `is_causal` is a hint there and needs `attn_mask` here as well."""
        if is_causal and attn_mask is None:
            raise InputError("is_causal says what attn_mask is like; give the mask too")
        q, k, v = (self._heads(x, part) for part, x in enumerate((query, key, value)))
        padding = key_padding_mask if key_padding_mask is None or query.dim() == 3 else key_padding_mask[None]
        mask = _mask(attn_mask, padding, q, self.num_heads)
        if mask is not None and self.bias_k is not None:  # everybody may look at the place that is always there
            mask = F.pad(mask, (0, 1))
        if need_weights:
            scores = q @ k.transpose(-1, -2) * self.head_dim**-0.5
            weights = (scores if mask is None else scores + mask).softmax(-1)
            out = F.dropout(weights, self.dropout, self.training) @ v
        else:
            weights, out = None, F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        y = self.out_proj(out.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if query.dim() == 2:
            return y[0], weights if weights is None else weights[0]
        return y if self.batch_first else y.transpose(0, 1), weights

    def _heads(self, x: Tensor, part: int) -> Tensor:
        """Queries, keys or values, [batch, heads, positions, head dimension]."""
        x = x[None] if x.dim() == 2 else x if self.batch_first else x.transpose(0, 1)
        bias = None if self.in_proj_bias is None else self.in_proj_bias.chunk(3)[part]
        y = F.linear(x, _projections(self)[part], bias)
        more = None if part == 0 or self.bias_k is None else (self.bias_k, self.bias_v)[part - 1]
        y = y if more is None else torch.cat([y, more.expand(len(y), -1, -1)], 1)
        return y.view(*y.shape[:-1], -1, self.head_dim).transpose(1, 2)


def _projections(module: Any) -> Sequence[Tensor]:
    """The weights that make queries, keys and values."""
    if module.in_proj_weight is None:
        return module.q_proj_weight, module.k_proj_weight, module.v_proj_weight
    found: Sequence[Tensor] = module.in_proj_weight.chunk(3)
    return found


def _mask(attention: Tensor | None, padding: Tensor | None, q: Tensor, heads: int) -> Tensor | None:
    """What is added to the scores, to broadcast with [batch, heads, positions, positions]."""
    masks = []
    if attention is not None:
        added = _added(attention, q)
        masks.append(added.view(-1, heads, *added.shape[1:]) if added.dim() == 3 else added)
    if padding is not None:
        masks.append(_added(padding, q)[:, None, None])
    return None if not masks else masks[0] if len(masks) == 1 else masks[0] + masks[1]


def _added(mask: Tensor, q: Tensor) -> Tensor:
    """A mask as numbers to add: True, where nobody may look, is minus infinity."""
    mask = mask.to(q.device)
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask


def narrowed_(module: Any) -> None:
    """Give an attention whose projections have lost heads the form that can run."""
    if module.add_zero_attn:
        raise InputError("nn.MultiheadAttention loses heads only without add_zero_attn")
    queries, keys, values = _projections(module)
    rows, columns = queries.shape
    module.kdim, module.vdim = keys.shape[1], values.shape[1]
    module.num_heads = rows // module.head_dim
    if (rows, columns) != (module.embed_dim, module.embed_dim):
        module.__class__ = NarrowAttention
        module._qkv_same_embed_dim = False  # torch's short cuts for whole attentions would read the projection anew
