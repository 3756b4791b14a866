r"""Whole data sets as tensors on the device, batches as index tensors, and augmentation with an inverse."""

import hashlib
import os
import shutil
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor

from simadv.checks import InputError, one_of, whole


class Format(NamedTuple):
    r"""What `<name>.npz` must hold: images (N, \*image), N of each part; torchvision's class for it.

    ``sha256`` begins the digest of the four arrays that the published runs were trained and measured on.
    """

    image: tuple[int, ...]
    train: int
    test: int
    torchvision: str
    sha256: str = ""


FORMATS = {
    "mnist": Format((28, 28), 60_000, 10_000, "MNIST", "06b0d1f124c4e5fa"),
    "fmnist": Format((28, 28), 60_000, 10_000, "FashionMNIST", "ca3ab2a37f845e1b"),
    "cifar10": Format((32, 32, 3), 50_000, 10_000, "CIFAR10", "dddbf6d2fc05ee50"),
}
NAMES = ("digits", *FORMATS)
CLASSES = 10
KEYS = ("train_images", "train_labels", "test_images", "test_labels")
STALLED = 60  # seconds without a byte after which a download has failed


@dataclass(frozen=True, eq=False)
class Dataset:
    r"""A data set, whole, on one device.

    Args:
        name: what runs and messages call it.
        x_train, x_test: (N, C, H, W) float32, pixels in [0, 1].
        y_train, y_test: (N,) int64 labels from 0.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


def load(name: str, *, device: str | torch.device = "cpu", root: str | Path | None = None) -> Dataset:
    r"""The data set ``name``: digits come with scikit-learn, others from ``<root>/<name>.npz``.

    A file that is not there is downloaded first.

    Args:
        name: one of `NAMES`.
        device: where its tensors go.
        root: folder of the .npz files; default: the environment's SIMADV_DATA, else ``~/.cache/simadv``.

    Raises:
        InputError: unknown name, a corrupt file, or a download that failed; nothing half-done stays behind.
    """
    one_of("dataset", name, NAMES)
    root = Path(root or os.environ.get("SIMADV_DATA") or "~/.cache/simadv").expanduser()
    tensors = _digits() if name == "digits" else _stored(name, root / f"{name}.npz")
    return Dataset(name, *(tensor.to(device) for tensor in tensors))


def _digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Scikit-learn's 1,797 digits, 8 x 8 enlarged to 28 x 28, split 1,437 / 360 with equal class shares."""
    from sklearn.datasets import load_digits  # a second to import, and only the digits need it
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x = torch.from_numpy(digits.images).float().div(16).unsqueeze(1)
    x = F.interpolate(x, size=(28, 28), mode="bilinear", align_corners=False).clamp(0, 1)
    y = torch.from_numpy(digits.target).long()
    train, test = train_test_split(np.arange(len(y)), test_size=360, stratify=digits.target, random_state=0)
    return x[train], y[train], x[test], y[test]


def _stored(name: str, path: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""The tensors of ``path``, which is downloaded if it is not there."""
    if not path.exists():
        _download(name, path)
    arrays = _read(path, FORMATS[name])
    if not hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest().startswith(FORMATS[name].sha256):
        than = "than those that the published runs were trained and measured on"
        warnings.warn(f"{path.name} holds other images, or the same in another order, {than}", stacklevel=2)
    x, y, x_test, y_test = map(torch.from_numpy, arrays)
    return _pixels(x), y.long(), _pixels(x_test), y_test.long()


def _pixels(images: Tensor) -> Tensor:
    r"""(N, H, W) or (N, H, W, C) uint8 -> (N, C, H, W) float32 in [0, 1]."""
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _read(path: Path, form: Format) -> list[np.ndarray]:
    r"""The four arrays of ``path`` in the order of `KEYS`, checked against ``form``."""
    try:
        with open(path, "rb") as file, np.load(file) as archive:
            arrays = [archive[key] for key in KEYS]
    except Exception as error:  # a damaged archive can fail in any way
        must = f"an .npz file with the uint8 arrays {', '.join(KEYS)}; without the file the set is downloaded again"
        raise InputError(f"{path.name} cannot be read ({_reason(error)}); it must be {must}") from error
    for key, array in zip(KEYS, arrays, strict=True):
        count = form.train if key.startswith("train") else form.test
        shape = (count, *form.image) if key.endswith("images") else (count,)
        if array.shape != shape or array.dtype != np.uint8:
            raise InputError(f"{path.name}: {key} must be {shape} uint8, not {array.shape} {array.dtype}")
        if key.endswith("labels") and array.max() >= CLASSES:
            raise InputError(f"{path.name}: {key} must lie in 0..{CLASSES - 1}, but reach {array.max()}")
    return arrays


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _download(name: str, path: Path) -> None:
    r"""Make ``path`` from torchvision's download, all of it or nothing: it appears whole, by a rename."""
    staging, lock = (path.with_name(f".{name}.{kind}") for kind in ("part", "lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            shutil.rmtree(staging, ignore_errors=True)  # of a download that was killed
            timeout = socket.getdefaulttimeout()
            try:
                socket.setdefaulttimeout(STALLED)  # torchvision sets none, and would wait for ever
                if not path.exists():  # another process may have brought it while this one waited
                    _fetch(name, staging, path)
            finally:
                socket.setdefaulttimeout(timeout)
                shutil.rmtree(staging, ignore_errors=True)
                lock.unlink(missing_ok=True)  # whoever waits for it then makes a new one
    except Exception as error:  # network, disk, archive: the remedies are the same
        raise InputError(
            f"dataset {name!r} could not be downloaded ({_reason(error)}); allow the network, or put "
            f"{path.name}, with the uint8 arrays {', '.join(KEYS)}, into the folder that SIMADV_DATA names"
        ) from error


def _fetch(name: str, staging: Path, path: Path) -> None:
    r"""Download into ``staging`` (torchvision shows progress and checks MD5), convert, check, rename."""
    import torchvision.datasets  # a second to import, and only a download needs it

    source = getattr(torchvision.datasets, FORMATS[name].torchvision)
    arrays = {}
    for part in ("train", "test"):
        half = source(staging, train=part == "train", download=True)
        arrays[f"{part}_images"] = np.asarray(half.data)
        arrays[f"{part}_labels"] = np.asarray(half.targets).astype(np.uint8)
    made = staging / path.name
    np.savez(made, **arrays)
    with open(made, "rb+") as file:
        os.fsync(file.fileno())
    _read(made, FORMATS[name])
    os.replace(made, path)


def batches(n: int, batch_size: int, *, generator: torch.Generator) -> Iterator[Tensor]:
    r"""A random permutation of 0..n-1 cut into int64 index tensors; the last may be shorter.

    The permutation is drawn at the call, on the generator's device.

    Raises:
        InputError: ``n`` or ``batch_size`` is no whole number of at least 1.
    """
    n, batch_size = whole("n", n, least=1), whole("batch_size", batch_size, least=1)
    return iter(torch.randperm(n, generator=generator, device=generator.device).split(batch_size))


class Identity:
    r"""The augmentation that changes nothing and draws nothing."""

    def __init__(self, shape: torch.Size | None = None, generator: torch.Generator | None = None) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        r"""``x`` itself."""
        return x

    def inverse_into(self, stored: Tensor, x_aug: Tensor) -> Tensor:
        r"""``x_aug`` itself: every pixel of ``stored`` is visible, so all are replaced."""
        return x_aug


class PadCropFlip:
    r"""Zero-pad, crop back to size at a random offset, mirror left-right half of the time; per image.

    The draws are made once, so that an image and its stored adversarial example go the same way, and so
    that the example can be brought back to the unaugmented frame.

    Args:
        shape: (B, C, H, W) of the batch.
        generator: source of the 2 offsets and 1 flip an image; drawn on its device.
        pad: pixels of padding on each side.
    """

    def __init__(self, shape: torch.Size, generator: torch.Generator, pad: int = 4) -> None:
        b, c, h, w = shape
        self.pad, self.size = pad, (h, w)

        def draw(high: int) -> Tensor:
            return torch.randint(high, (b, 1), generator=generator, device=generator.device)

        def count(n: int) -> Tensor:
            return torch.arange(n, device=generator.device)

        rows, cols, flip = draw(2 * pad + 1) + count(h), draw(2 * pad + 1) + count(w), draw(2).bool()
        cols = torch.where(flip, cols.flip(1), cols)
        # The place in the padded batch that each pixel (b, c, h, w) of the augmented batch comes from.
        self._place = (
            count(b).view(b, 1, 1, 1), count(c).view(1, c, 1, 1), rows.view(b, 1, h, 1), cols.view(b, 1, 1, w)
        )  # fmt: skip

    def _padded(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return F.pad(x, (self.pad,) * 4), tuple(index.to(x.device) for index in self._place)

    def forward(self, x: Tensor) -> Tensor:
        r"""The augmented batch of ``x``; both (B, C, H, W)."""
        canvas, place = self._padded(x)
        return canvas[place]

    def inverse_into(self, stored: Tensor, x_aug: Tensor) -> Tensor:
        r"""A copy of ``stored`` with the pixels that the crop shows replaced by those of ``x_aug``.

        Args:
            stored: (B, C, H, W), in the unaugmented frame.
            x_aug: (B, C, H, W), in the augmented frame; what it holds in the padding is dropped.
        """
        canvas, place = self._padded(stored)
        canvas[place] = x_aug
        (h, w), pad = self.size, self.pad
        return canvas[..., pad : pad + h, pad : pad + w].contiguous()
