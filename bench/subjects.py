"""What is attacked and trained: images, labels and a trained LeNet-5 of the published store, or images by chance."""

import os
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from bench.nets import IMAGE_SHAPES
from simadv import data, runs
from simadv.checks import InputError
from simadv.specs import RunSpec
from simadv.store import PUBLISHED, Store
from simadv.training import Trainer

NET = "mnist/sim-10-20-staggered-"
EPSILON = 0.3


@dataclass(frozen=True)
class Subject:
    """A trained net's weights, and the test images on which it is attacked."""

    dataset: str
    run: str
    weights: dict[str, Tensor]
    x: Tensor
    y: Tensor


def dataset_here() -> str:
    """Return ``mnist`` where its file is, else ``digits``: a benchmark downloads no data."""
    folder = Path(os.environ.get("SIMADV_DATA") or "~/.cache/simadv").expanduser()
    return "mnist" if (folder / "mnist.npz").exists() else "digits"


def subject(images: int) -> Subject:
    """Return the published SIM-Adv net and the first ``images`` test images (of digits, all that there are).

    Raises:
        InputError: the store holds no such net.
    """
    store = Store(PUBLISHED)
    run = next((name for name in store.ids() if name.startswith(NET)), None)
    if run is None:
        raise InputError(f"the published store has no run {NET}..., the net that is attacked")
    found = data.load(dataset_here())
    x, y = found.x_test, found.y_test
    if found.name == "digits":
        x, y = torch.cat([x, found.x_train]), torch.cat([y, found.y_train])
    return Subject(found.name, run, store.model(run).state_dict(), x[:images], y[:images])


def made_up(net: str, images: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return images and labels by chance, on the device."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(images, *IMAGE_SHAPES[net], generator=generator)
    return x.to(device), torch.randint(10, (images,), generator=generator).to(device)


def by_chance(spec: RunSpec, device: torch.device) -> Trainer:
    """Return the trainer of a run, as the book makes it, on images by chance: what they show changes no time."""
    x, y = made_up(spec.model, spec.images, device)
    with mock.patch.object(runs, "load_data", lambda name, device: data.Dataset(name, x, y, x, y)):
        return runs.trainer_of(spec, device)
