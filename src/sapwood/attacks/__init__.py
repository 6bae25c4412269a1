"""Attacks: images changed a little so that a network errs; what withstands them, and whether to believe it."""

from sapwood.attacks.ball import Ball as Ball
from sapwood.attacks.latent import features as features
from sapwood.attacks.latent import relative as relative
from sapwood.attacks.latent import vulnerability as vulnerability
from sapwood.attacks.normalised import Normalised as Normalised
from sapwood.attacks.obfuscated import Signs as Signs
from sapwood.attacks.obfuscated import signs_of_masking as signs_of_masking
from sapwood.attacks.sign import fgsm as fgsm
from sapwood.attacks.sign import pgd as pgd
from sapwood.attacks.sign import withstands as withstands
