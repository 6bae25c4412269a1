"""Adapters: pruning inside other people's trainers. Nothing else in the package imports them.

in_lightning.py     a callback of Lightning            pruner.py   what a user asks for
in_transformers.py  a callback of Hugging Face's       due.py      after which epochs, and how much
outside.py          the line that installs them        chosen.py   which weights or units
                                                       life.py     observed, pruned, held, released
                                                       noted.py    masks as text in a trainer's checkpoint
                                                       small.py    a model becomes smaller where it stands
"""
