r"""What is seen only while a net is trained: the first epochs of a run once more, with an eye on some of the images.

Trained with the run's own seed, which on the same processor gives the same bits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from simadv.adversaries import Adversary
from simadv.attacks import input_gradient, predict
from simadv.checks import InputError, whole
from simadv.data import Dataset
from simadv.runs import trainer_of
from simadv.specs import RunSpec
from simbook.measures.base import Measure


class Watched(Adversary):
    """An adversary whose examples of the first ``images`` of the training set are looked at; looking is not counted."""

    def __init__(self, adversary: Adversary, images: int) -> None:
        self.adversary, self.images = adversary, images

    @property
    def passes(self) -> tuple[int, int]:
        """What the adversary costs."""
        return self.adversary.passes

    def __call__(self, model, x_hat, y, index, **about) -> Tensor:
        """Return the adversary's examples."""
        return self.adversary(model, x_hat, y, index, **about)

    def observe(self, x_hat, x_tilde, index, **about) -> None:
        """Let the adversary observe."""
        self.adversary.observe(x_hat, x_tilde, index, **about)

    def state(self) -> dict[str, Tensor]:
        """Return what the adversary keeps."""
        return self.adversary.state()


class Aged(Watched):
    """A free-SIM adversary; it is kept where images were trained on and with what gradient, to compare a fresh one."""

    def __init__(self, adversary: Adversary, images: int) -> None:
        super().__init__(adversary, images)
        self.points = torch.zeros_like(adversary.x[:images])
        self.stale = torch.zeros_like(self.points)
        self.agreed: dict[int, list[tuple[float, float, int]]] = {}

    def __call__(self, model, x_hat, y, index, *, epoch, **about) -> Tensor:
        """Compare the gradient that was kept with a fresh one at the same points; return the adversary's examples."""
        seen = index[index < self.images]
        if epoch > 0 and len(seen):
            stale = self.stale[seen]
            fresh = input_gradient(model, self.points[seen], y[index < self.images], mode="train")
            same = (fresh.sign() == stale.sign())[stale != 0].double()
            weight = fresh[stale != 0].abs().double()
            if weight.any():  # else there is nothing that could agree
                row = (float(same.sum()), float((same * weight).sum()) / float(weight.sum()), len(same))
                self.agreed.setdefault(epoch, []).append(row)
        return super().__call__(model, x_hat, y, index, epoch=epoch, **about)

    def observe(self, x_hat, x_tilde, index, **about) -> None:
        """Keep examples and gradients; then the adversary observes."""
        seen = index < self.images
        self.points[index[seen]], self.stale[index[seen]] = x_tilde.detach()[seen], x_tilde.grad[seen]
        super().observe(x_hat, x_tilde, index, **about)


class Weighed(Watched):
    """An adversary; of its examples it is noted how far they are from their images, and which fool the net."""

    def __init__(self, adversary: Adversary, images: int) -> None:
        super().__init__(adversary, images)
        self.seen: dict[int, list[tuple[float, int, int]]] = {}

    def __call__(self, model, x_hat, y, index, *, epoch, **about) -> Tensor:
        """Return the adversary's examples, looked at before the net is trained on them."""
        x_tilde = super().__call__(model, x_hat, y, index, epoch=epoch, **about)
        ours = index < self.images
        if ours.any():
            far = (x_tilde - x_hat)[ours].abs().mean(dim=(1, 2, 3))
            wrong = predict(model, x_tilde[ours]) != y[ours]
            self.seen.setdefault(epoch, []).append((float(far.sum()), int(wrong.sum()), int(ours.sum())))
        return x_tilde


def trained_again(spec: RunSpec, device: torch.device, epochs: int, watch: Callable[[Adversary], Watched]) -> Watched:
    """Train the first epochs of a run once more, without its monitor, and return its adversary as it was watched."""
    trainer = trainer_of(replace(spec, monitor=None), device)
    trainer.learner.adversary = watched = watch(trainer.learner.adversary)
    trainer.epochs = min(epochs, spec.epochs)
    trainer.run(label=f"{spec.id}, watched")
    return watched


@dataclass(frozen=True, kw_only=True)
class InTraining(Measure):
    """A measure that trains the first ``epochs`` of a run once more.

    Args:
        epochs: how far; no farther than the run goes.
        images: the first so many of the training set.
    """

    epochs: int
    images: int

    def __post_init__(self) -> None:
        whole("epochs", self.epochs, least=2)
        whole("images", self.images, least=1)


@dataclass(frozen=True, kw_only=True)
class Staleness(InTraining):
    """How often the gradient that free-SIM carried over an epoch points where a fresh one would."""

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return for each ``epoch`` (1 is the first) the share of pixels whose sign was still right.

        ``pixels`` counts each with a gradient once, ``weighted`` by the size of the fresh gradient; chance is 0.5.
        """
        if spec.method != "free-sim" or spec.augment != "none":
            raise InputError(f"{spec.id} is no free-sim without augmentation: it carries no gradient that could be old")
        watched = trained_again(spec, dataset.x_train.device, self.epochs, lambda own: Aged(own, self.images))
        rows = watched.agreed.items()
        pixels = [sum(same for same, _, _ in parts) / sum(count for *_, count in parts) for _, parts in rows]
        weighted = [sum(share * count for _, share, count in parts) / sum(c for *_, c in parts) for _, parts in rows]
        return {"images": self.images, "epoch": [e + 1 for e, _ in rows], "pixels": pixels, "weighted": weighted}


@dataclass(frozen=True, kw_only=True)
class Strength(InTraining):
    """How strong the examples are that SIM-Adv trains on."""

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return for each ``epoch`` (1 is the first) what the examples were when the net was trained on them.

        ``wrong`` is the share that fooled it, ``reach`` how far a pixel was from its image on average, in epsilon: less
        than 1 at full strength, too, since pixels stay in [0, 1].
        """
        if spec.method not in ("sim", "sim-k") or spec.augment != "none":
            raise InputError(f"{spec.id} is no sim without augmentation: it carries no examples that could be weak")
        watched = trained_again(spec, dataset.x_train.device, self.epochs, lambda own: Weighed(own, self.images))
        sums = [[sum(column) for column in zip(*parts, strict=True)] for parts in watched.seen.values()]
        found = {"images": self.images, "epoch": [e + 1 for e in watched.seen]}
        found["reach"] = [far / count / spec.epsilon for far, _, count in sums]
        return found | {"wrong": [wrong / count for _, wrong, count in sums]}
