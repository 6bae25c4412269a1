"""Codec: what a pruned network is stored as, in real bytes: a .swz file, beside what its symbols' entropy allows.

network.py   a network as a file, the sizes of all in it, the network again      huffman.py     a code by how often
file.py      30 bytes, words, streams; refused unless whole                      arithmetic.py  a code that learns
tensors.py   where there is something, and what: the shortest of several ways    bits.py        numbers of any width
places.py    where: bit mask, sparse rows, gaps with fillers                     kmeans.py      few values for many
mask.py      where, by an adaptive code, in contexts of rows and columns         sharing.py     training shared values
stream.py    symbols of one kind, by the shortest code or with equally many bits
"""

from sapwood.codec.network import Sizes as Sizes
from sapwood.codec.network import encode as encode
from sapwood.codec.network import load as load
from sapwood.codec.network import save as save
