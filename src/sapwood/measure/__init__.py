"""Measuring: what a network gets right, how large it is in every sense, and how long it takes."""

from sapwood.measure.accuracy import accuracy as accuracy
from sapwood.measure.accuracy import class0_top1 as class0_top1
from sapwood.measure.accuracy import class0_top5 as class0_top5
from sapwood.measure.accuracy import top_k_correct as top_k_correct
from sapwood.measure.compression import Compression as Compression
from sapwood.measure.compression import compression as compression
from sapwood.measure.flops import activation_density as activation_density
from sapwood.measure.flops import flops as flops
from sapwood.measure.flops import macs as macs
from sapwood.measure.latency import Ratio as Ratio
from sapwood.measure.latency import Timing as Timing
from sapwood.measure.latency import latency as latency
from sapwood.measure.latency import ratio as ratio
from sapwood.measure.latency import verdict as verdict
from sapwood.measure.spectrum import Spectrum as Spectrum
from sapwood.measure.spectrum import dead_share as dead_share
from sapwood.measure.spectrum import effective_rank as effective_rank
from sapwood.measure.spectrum import live_columns as live_columns
from sapwood.measure.spectrum import nuclear_norm as nuclear_norm
from sapwood.measure.spectrum import rank as rank
from sapwood.measure.spectrum import singular_values as singular_values
from sapwood.measure.spectrum import spectrum as spectrum
from sapwood.measure.spectrum import stable_rank as stable_rank
