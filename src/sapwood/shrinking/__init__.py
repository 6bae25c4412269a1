"""Shrinking: which units of a network live and die together, and the same network without some, proven equal.

graph.py       the exported graph, run on ids instead of numbers      rules/       what each operator does to ids
site.py        units and every place they sit in                      cut.py       slicing a network and its optimiser
sites.py       finding them, and trying them                          fit.py        numbers that modules keep
shrink.py      the verbs: `shrink`, `compact`                         resize.py    what modules say about their own size
fold.py        constants of silent units, moved into biases           equal.py     the proof of equality
"""
