"""Updates in lower precision and by compiled networks: near, the same, refused by name."""

import pytest
import torch
from planted.hastening import hasten_laws

from sapwood.errors import InputError
from sapwood.training.hastened import casting


@pytest.mark.parametrize("law", hasten_laws().values(), ids=hasten_laws())
def test_law(law):
    law()


def test_float16_is_refused():
    with pytest.raises(InputError, match=r"dtype is torch.float16; give torch.bfloat16"):
        casting(torch.float16)
