"""The laws, public: run them on a criterion, statistic, selector, schedule, solver, optimiser or method of your own.

Each function tries the laws of one family and returns one Result per law; `broken` picks the ones that failed. The
files' functions `laws` give the same laws by name, not yet tried.
"""

from sapwood.checks.allocation import check_allocation as check_allocation
from sapwood.checks.checkpoint import check_checkpoint as check_checkpoint
from sapwood.checks.criterion import check_criterion as check_criterion
from sapwood.checks.gate import check_gate as check_gate
from sapwood.checks.holding import check_holding as check_holding
from sapwood.checks.law import Laws as Laws
from sapwood.checks.law import Result as Result
from sapwood.checks.law import broken as broken
from sapwood.checks.limit import check_above as check_above
from sapwood.checks.limit import check_within as check_within
from sapwood.checks.method import check_method as check_method
from sapwood.checks.pattern import check_pattern as check_pattern
from sapwood.checks.samples import check_samples as check_samples
from sapwood.checks.schedule import check_schedule as check_schedule
from sapwood.checks.schedule import check_shares as check_shares
from sapwood.checks.selector import check_selector as check_selector
from sapwood.checks.solver import check_solver as check_solver
from sapwood.checks.statistic import check_statistic as check_statistic
from sapwood.checks.stopping import check_rule as check_rule
from sapwood.checks.task import check_task as check_task
from sapwood.checks.tiny import tiny_model as tiny_model
from sapwood.checks.tiny import tiny_task as tiny_task
from sapwood.checks.unit_criterion import check_unit_criterion as check_unit_criterion
from sapwood.checks.unit_gate import check_unit_gate as check_unit_gate
