"""Initial: the rules by which the networks here get their first weights, for `Task.fresh`."""

from collections.abc import Callable

from torch import Tensor, nn

from sapwood.fresh import reset


def glorot(network: nn.Module) -> None:
    """Draw weights from U(-a, a), a = sqrt(6 / (inputs + outputs)), biases 0: the rule of `mlp` and `conv`.

    *Paper:* Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", eq. 16.
    *Differs:* nothing known.
    """
    _draw(network, nn.init.xavier_uniform_)


def he(network: nn.Module) -> None:
    """Draw weights from N(0, 2 / inputs), biases 0, norms neutral: the rule of `resnet_cifar` and `vgg_cifar`.

    *Paper:* He, Zhang, Ren, Sun 2015, "Delving Deep into Rectifiers", arXiv 1502.01852, eq. 10.
    *Differs:* nothing known.
    """
    _draw(network, nn.init.kaiming_normal_)


def _draw(network: nn.Module, rule: Callable[[Tensor], Tensor]) -> None:
    """Layer by layer, what torch draws and then the rule's: the generator gives each what it gave the constructor."""

    def draw(layer: nn.Module) -> None:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            rule(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    reset(network, draw)
