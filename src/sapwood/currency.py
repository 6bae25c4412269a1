"""Currency: the types in which rooms pay each other. All are plain dicts of tensors, by name."""

from torch import Tensor

Scores = dict[str, Tensor]  # by parameter name (shaped like it) or by site name ([units]); higher stays
Keep = dict[str, Tensor]  # the same keys and shapes, bool: True stays
Masks = dict[str, Tensor]  # {parameter name: bool tensor of the parameter's shape}
