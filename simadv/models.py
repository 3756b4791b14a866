r"""The nets of the paper: pixels in [0, 1] in, logits out, `forward(x) = head(features(x))`."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simadv.checks import InputError, one_of, whole

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


class Net(nn.Module):
    r"""A body that makes features and a linear head that makes logits.

    Args:
        body: (B, C, H, W) pixels in [0, 1] -> (B, width) features, the penultimate layer.
        head: (B, width) -> (B, classes) logits.
    """

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def features(self, x: Tensor) -> Tensor:
        r"""Penultimate layer of ``x`` (B, C, H, W), pixels in [0, 1]; (B, width)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        r"""Logits of ``x`` (B, C, H, W), pixels in [0, 1]; (B, classes)."""
        return self.head(self.features(x))


class Normalise(nn.Module):
    r"""Pixels in [0, 1] to zero mean and unit deviation, channel by channel; no state to save or learn."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        r"""``x`` normalised, same shape."""
        return (x - self.mean) / self.std


class Block(nn.Module):
    r"""Two 3x3 convolutions and a shortcut without parameters (He et al. 2016, option A)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.extra = (1 if inputs == outputs else 2), outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        r"""(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.extra:  # every second pixel, and zeros for the channels that x does not have
            x = F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        return F.relu(y + x)


class MaxOfFour(torch.autograd.Function):
    r"""The largest of four channel groups; where several are equal, the first has the gradient, as in max-pooling."""

    @staticmethod
    def forward(ctx, h: Tensor) -> Tensor:
        r"""(B, 4 C, H, W) -> (B, C, H, W)."""
        a, b, c, d = h.chunk(4, 1)
        largest = torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
        ctx.save_for_backward(h, largest)
        return largest

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        r"""(B, C, H, W) -> (B, 4 C, H, W)."""
        h, largest = ctx.saved_tensors
        gradient = gradient.contiguous()  # one copy now, or every product below walks through two orders at once
        out, hit = torch.empty_like(h), torch.empty_like(largest)
        parts, targets = h.chunk(4, 1), out.chunk(4, 1)
        for part, target in zip(parts[:3], targets[:3], strict=True):
            # 1.0 where equal: products of floats are vectorised on the CPU, masks are not
            torch.mul(gradient, torch.eq(part, largest, out=hit), out=target)
            gradient = gradient - target
        targets[3].copy_(gradient)  # whatever the first three have not taken
        return out


class ConvMaxPool(nn.Conv2d):
    r"""A convolution of odd size and even padding and 2 x 2 max-pooling in one, exact, for images of few channels.

    A pooling window holds four outputs of the convolution. With the image folded 2 x 2 into channels, all four
    come from one smaller convolution with four times the channels, which fills the processor's vectors where
    one input channel and six outputs do not; pooling is then the largest of four contiguous blocks.
    """

    def forward(self, x: Tensor) -> Tensor:
        r"""(B, C, H, W), H and W even -> (B, outputs, H', W') of the pooled map."""
        phases = [F.pad(self.weight, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)]
        weight = F.pixel_unshuffle(torch.cat(phases), 2)
        folded = F.conv2d(F.pixel_unshuffle(x, 2), weight, self.bias.repeat(4), padding=self.padding[0] // 2)
        return MaxOfFour.apply(folded).contiguous(memory_format=torch.channels_last)


def _lenet(classes: int, *, channels: tuple[int, int], padding: tuple[int, int], hidden: tuple[int, ...]) -> Net:
    side = (28 + 2 * padding[0] - 4) // 2
    side = (side + 2 * padding[1] - 4) // 2
    # ReLU commutes with max-pooling (both keep order) and costs a quarter after it
    layers = [ConvMaxPool(1, channels[0], 5, padding=padding[0]), nn.ReLU()]
    conv2 = nn.Conv2d(*channels, 5, padding=padding[1]).to(memory_format=torch.channels_last)
    layers += [conv2, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    for inputs, outputs in pairwise((channels[1] * side**2, *hidden)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return Net(nn.Sequential(*layers), nn.Linear(hidden[-1], classes))


def lenet(classes: int) -> Net:
    r"""LeNet-5 (conv6-conv16-120-84) for 1 x 28 x 28: 61,706 parameters at 10 classes; LeCun et al. 1998."""
    return _lenet(classes, channels=(6, 16), padding=(2, 0), hidden=(120, 84))


def lenet_wide(classes: int) -> Net:
    r"""Madry et al.'s MNIST net (conv32-conv64-1024) for 1 x 28 x 28: the sensitivity check on width."""
    return _lenet(classes, channels=(32, 64), padding=(2, 2), hidden=(1024,))


def resnet20(classes: int) -> Net:
    r"""ResNet-20 for 3 x 32 x 32: 269,722 parameters at 10 classes; He et al. 2016, section 4.2."""
    widths = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
    stem = [Normalise(CIFAR10_MEAN, CIFAR10_STD), nn.Conv2d(3, 16, 3, padding=1, bias=False)]
    blocks = [Block(i, o) for i, o in pairwise(widths)]
    body = nn.Sequential(*stem, nn.BatchNorm2d(16), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return Net(body, nn.Linear(64, classes)).to(memory_format=torch.channels_last)


MODELS: dict[str, tuple[Callable[[int], Net], tuple[int, int, int]]] = {
    "lenet": (lenet, (1, 28, 28)),
    "lenet_wide": (lenet_wide, (1, 28, 28)),
    "resnet20": (resnet20, (3, 32, 32)),
}


def build(name: str, *, image_shape: tuple[int, int, int], classes: int, seed: int) -> Net:
    r"""A net whose first weights depend on ``seed`` alone; torch's own random state is left as it was.

    Args:
        name: one of `MODELS`.
        image_shape: (C, H, W) of the images it will see.
        classes: number of logits, at least 2.
        seed: a whole number of at least 0.

    Returns:
        The net on the CPU, in training mode.

    Raises:
        InputError: unknown name, an image shape the net is not made for, classes or seed out of range.
    """
    make, shape = MODELS[one_of("model", name, MODELS)]
    if tuple(image_shape) != shape:
        got, need = (" x ".join(map(str, s)) for s in (image_shape, shape))
        raise InputError(f"model {name!r} takes images of {need} (C x H x W), not {got}")
    whole("classes", classes, least=2)
    whole("seed", seed, least=0)
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed every GPU too, which the fork does not restore.
        torch.default_generator.manual_seed(seed)
        return make(classes)
