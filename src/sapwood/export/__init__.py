"""Export: a network in a file, for another process, for ONNX Runtime, or for torch.export; each compared with it.

network.py     one safetensors file from which the smaller network is built again      onnx.py        ONNX
packed.py      tensors and words in one file, refused when damaged                     program.py     torch.export
attributes.py  the numbers that modules hold beside their tensors                      agreement.py   the comparison
skipping.py    a network whose gates decide for each sample, run without what they close
"""

from sapwood.export.network import load as load
from sapwood.export.network import save as save
from sapwood.export.onnx import to_onnx as to_onnx
from sapwood.export.pretrained import not_in_config as not_in_config
from sapwood.export.pretrained import to_transformers as to_transformers
from sapwood.export.program import to_program as to_program
from sapwood.export.pruned_text import to_timm as to_timm
from sapwood.export.reloadable import Reloadable as Reloadable
from sapwood.export.same import check_same as check_same
from sapwood.export.skipping import Skipping as Skipping
