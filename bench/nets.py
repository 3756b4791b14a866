"""The nets of the benchmark: LeNet-5 as anybody would write it, and the book's own with the same weights."""

import torch
from torch import Tensor, nn

from simadv import models

IMAGE_SHAPES = {"lenet": (1, 28, 28), "resnet20": (3, 32, 32)}


def plain_lenet(weights: dict[str, Tensor]) -> nn.Sequential:
    """Return LeNet-5 of stock layers, each doing one thing, with the weights of the book's net."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), weights.values(), strict=True):
            parameter.copy_(value)
    return net


def book_net(name: str, weights: dict[str, Tensor] | None = None) -> nn.Module:
    """Return the book's net, with fresh weights where none are given."""
    net = models.build(name, image_shape=IMAGE_SHAPES[name], classes=10, seed=0)
    if weights is not None:
        net.load_state_dict(weights)
    return net


def frozen(net: nn.Module) -> nn.Module:
    """Return ``net`` in eval mode with frozen weights: nobody then computes a gradient that an attack does not need."""
    return net.eval().requires_grad_(False)
