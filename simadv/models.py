r"""The nets of the paper: pixels in [0, 1] in, logits out, `forward(x) = head(features(x))`."""

import math
from collections import OrderedDict
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

    replayable = True  # what it does depends on shapes alone, see :mod:`simadv.graphs`

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head

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
        out, hit = torch.empty_like(h), torch.empty_like(largest)
        *parts, _ = h.chunk(4, 1)
        *targets, last = out.chunk(4, 1)
        for part, target in zip(parts, targets, strict=True):
            # 1.0 where equal: products of floats are vectorised on the CPU, masks are not
            torch.mul(gradient, torch.eq(part, largest, out=hit), out=target)
            # what is left for those that follow; the fourth takes all that the first three did not
            gradient = torch.sub(gradient, target, out=last if target is targets[2] else None)
        return out


class ConvMaxPool(nn.Conv2d):
    r"""A convolution and 2 x 2 max-pooling in one, exact, from one folded map to the next, for few channels.

    A map folded by f holds each f x f block of pixels as f^2 channels (``pixel_unshuffle``). A convolution that
    reads a map folded by 2 ``fold`` makes all outputs of a block at once, as a smaller kernel between many more
    channels. It computes more products than the plain one, and is faster: one input channel and six outputs leave
    a processor's vectors empty. The four outputs of a pooling window are four contiguous blocks of channels, and
    what is left after pooling is folded by ``fold``, ready for the next layer.

    Args:
        inputs, outputs: channels of the unfolded maps.
        size: side of the kernel.
        fold: of the map that comes out; the one that goes in is folded by 2 ``fold``.
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, fold: int) -> None:
        super().__init__(inputs, outputs, size)
        self.fold, block = fold, 2 * fold
        self.window = math.ceil((block + size - 1) / block)  # blocks that the outputs of one block depend on
        free = self.window * block - size
        # folding a kernel is linear: row i says where its weight i goes, at each place that an output has in its block
        units = torch.eye(size**2).view(-1, 1, size, size)
        places = [F.pad(units, (j, free - j, i, free - i)) for i in range(block) for j in range(block)]
        spread = F.pixel_unshuffle(torch.stack(places, 1).flatten(0, 1), block)
        self.register_buffer("spread", spread.view(size**2, -1), persistent=False)

    def folded(self) -> tuple[Tensor, Tensor]:
        r"""Return kernel and bias between folded maps, (4 outputs fold^2, inputs (2 fold)^2, window, window)."""
        outputs, inputs = self.weight.shape[:2]
        f, w = self.fold, self.window
        # the place of an output in its block is one of fold x fold pooling windows, and one of 2 x 2 in that
        kernel = (self.weight.flatten(2) @ self.spread).view(outputs, inputs, f, 2, f, 2, 4 * f * f, w, w)
        kernel = kernel.permute(3, 5, 0, 2, 4, 1, 6, 7, 8).reshape(4 * outputs * f * f, inputs * 4 * f * f, w, w)
        return kernel, self.bias.repeat_interleave(f * f).repeat(4)

    def forward(self, x: Tensor) -> Tensor:
        r"""(B, inputs (2 fold)^2, H, W) -> (B, outputs fold^2, H', W'), both folded."""
        return MaxOfFour.apply(F.conv2d(x, *self.folded()))


def _lenet(classes: int, fold: int, convolutions: dict[str, nn.Module], widths: tuple[int, ...]) -> Net:
    # named by their places in the plain net, as in the stored weights; the image is padded and folded before them
    layers = {"pad": nn.ZeroPad2d(2), "fold": nn.PixelUnshuffle(fold)} | convolutions | {"5": nn.Flatten()}
    for place, (inputs, outputs) in enumerate(pairwise(widths)):
        layers |= {str(6 + 2 * place): nn.Linear(inputs, outputs), str(7 + 2 * place): nn.ReLU()}
    return Net(nn.Sequential(OrderedDict(layers)), nn.Linear(widths[-1], classes))


def lenet(classes: int) -> Net:
    r"""LeNet-5 as it is built today (conv6-conv16-120-84, ReLU, max-pooling): 61,706 parameters; LeCun et al. 1998."""
    # ReLU commutes with max-pooling (both keep order) and costs a quarter after it
    first = {"0": ConvMaxPool(1, 6, 5, fold=2), "1": nn.ReLU()}
    second = {"2": ConvMaxPool(6, 16, 5, fold=1), "4": nn.ReLU()}
    return _lenet(classes, 4, first | second, (16 * 5 * 5, 120, 84))


def lenet_wide(classes: int) -> Net:
    r"""Madry et al.'s MNIST net (conv32-conv64-1024) for 1 x 28 x 28: the sensitivity check on width."""
    first = {"0": ConvMaxPool(1, 32, 5, fold=1), "1": nn.ReLU()}
    # 32 channels fill the vectors without folding
    second = {"2": nn.Conv2d(32, 64, 5, padding=2).to(memory_format=torch.channels_last)}
    return _lenet(classes, 2, first | second | {"3": nn.MaxPool2d(2), "4": nn.ReLU()}, (64 * 7 * 7, 1024))


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
        raise InputError(f"model {name!r} takes images (C, H, W) of {shape}, not {tuple(image_shape)}")
    classes, seed = whole("classes", classes, least=2), whole("seed", seed, least=0)
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed every GPU too, which the fork does not restore.
        torch.default_generator.manual_seed(seed)
        return make(classes)
