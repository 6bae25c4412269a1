"""Group L1: the sum of all absolute weights that would go with a unit: those that make it, scale it and read it.

    s_u = sum over tensors of the unit's group of sum_r |w_ur|

Paper: Fang, Ma, Song, Mi, Wang, "DepGraph: towards any structural pruning", arXiv:2301.12900, CVPR 2023, for the group.
Differs: absolute values, summed and not divided by the group's mean, so that groups can be compared; biases and running
statistics do not count.
"""

from sapwood.criteria.l1 import score
from sapwood.scoring.unit_criterion import UnitCriterion

group_l1 = UnitCriterion(score, of="group", group="sum")
