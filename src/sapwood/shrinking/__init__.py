"""Shrinking: which units of a network live and die together, and the same network without some, proven equal.

finding.py  units and every place they sit in, found and tried   tracing/  the exported graph, run on ids, not numbers
shrunk.py   the verbs: `shrink`, `compact`                       rules/    what each operator does to ids
fold.py     constants of silent units, moved into biases         cutting/  slicing a network and its optimiser,
fit.py      numbers that modules keep                                      and the proof that it computes the same
                                                                 costs/    what units take
"""
