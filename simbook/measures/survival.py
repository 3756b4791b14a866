r"""Would it survive? Attacks that nobody trained against, signs of masked gradients, and how stale a gradient gets."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from simadv.adversaries import Adversary
from simadv.attacks import Attack, input_gradient, predict, random_start
from simadv.checks import InputError, whole
from simadv.data import Dataset
from simadv.evaluation import accuracy
from simadv.runs import trainer_of
from simadv.specs import RunSpec
from simadv.store import Store, default
from simadv.training import generator_for
from simbook.measures.base import Measure

RADII = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # of epsilon
DRAWS = 100  # uniform points of the ball that the random search looks at


@dataclass(frozen=True, kw_only=True)
class UnderAttack(Measure):
    """A measure of one iterated attack on a slice of the test set.

    Args:
        attack: in the paper's notation, with the epsilon of the run that is measured.
        images: the first so many of the test set.
    """

    attack: str
    images: int

    def __post_init__(self) -> None:
        Attack.parse(self.attack, epsilon=1.0)
        whole("images", self.images, least=1)


@dataclass(frozen=True, kw_only=True)
class Signs(UnderAttack):
    """What Athalye et al. (2018) look at: one step against many, no bound, chance, no gradient, larger epsilon."""

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return how many images are classified correctly under each, and at how many the loss has no gradient.

        ``random``: those right at all of :data:`DRAWS` points; ``chance``: those that withstand ``attack``, and are
        wrong at one of the points.
        ``radii`` are multiples of epsilon, ``at`` what is right under ``attack`` with each.
        """
        x, y = dataset.x_test[: self.images], dataset.y_test[: self.images]
        attack = Attack.parse(self.attack, epsilon=spec.epsilon)

        def right(of: Attack | None) -> int:
            return accuracy(model, x, y, of, label=f"{spec.id} under {of}").true

        stands = predict(model, attack(model, x, y, generator=generator_for(0, device=x.device))) == y
        lucky = withstands_chance(model, x, y, epsilon=spec.epsilon)
        found = {"clean": right(None), "fgsm": right(Attack(kind="FGSM", epsilon=spec.epsilon))}
        found |= {"iterated": int(stands.sum()), "random": int(lucky.sum()), "chance": int((stands & ~lucky).sum())}
        found["flat"] = int((input_gradient(model, x, y).flatten(1).abs().amax(1) == 0).sum())
        found["unbounded"] = right(replace(attack, epsilon=1.0))
        at = [right(replace(attack, epsilon=spec.epsilon * radius)) for radius in RADII]
        return {"images": len(y)} | found | {"radii": list(RADII), "at": at}


def withstands_chance(model: nn.Module, x: Tensor, y: Tensor, *, epsilon: float, draws: int = DRAWS) -> Tensor:
    """Return which images are classified correctly at each of ``draws`` uniform points of their balls."""
    right = torch.ones(len(y), dtype=torch.bool, device=x.device)
    generator = generator_for(1, device=x.device)
    for _ in range(draws):
        right &= predict(model, random_start(x, epsilon=epsilon, generator=generator)) == y
    return right


@dataclass(frozen=True, kw_only=True)
class Transfer(UnderAttack):
    """Accuracy on examples that were made for another net: the attacker sees nothing of this one.

    Args:
        source: the id of the other net's run.
        attack, images: as in :class:`UnderAttack`.
    """

    source: str

    def obstacle(self, store: Store) -> str | None:
        """Return that the other net is still to be trained, where it is, or has no weights."""
        there = self.source in store.ids() and store.get(self.source).measurable
        return None if there else f"it needs {self.source} and its weights"

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return how many of ``images`` are classified correctly, ``true``; and by the ``source`` itself."""
        x, y = dataset.x_test[: self.images], dataset.y_test[: self.images]
        source = default().model(self.source, device=x.device)
        attack = Attack.parse(self.attack, epsilon=spec.epsilon)
        x_tilde = attack(source, x, y, generator=generator_for(0, device=x.device))
        right = {name: int((predict(net, x_tilde) == y).sum()) for name, net in (("true", model), ("own", source))}
        return {"images": len(y)} | right


class Watched(Adversary):
    """A free-SIM adversary; of the first ``images`` it is kept where they were trained on and with what gradient."""

    def __init__(self, adversary, images: int) -> None:
        self.adversary, self.images = adversary, images
        self.points = torch.zeros_like(adversary.x[:images])
        self.stale = torch.zeros_like(self.points)
        self.agreed: dict[int, list[tuple[float, float, int]]] = {}

    @property
    def passes(self) -> tuple[int, int]:
        """What the adversary costs; looking is not counted."""
        return self.adversary.passes

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator) -> Tensor:
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
        return self.adversary(model, x_hat, y, index, epoch=epoch, view=view, generator=generator)

    def observe(self, x_hat, x_tilde, index, *, epoch, view) -> None:
        """Keep examples and gradients; then the adversary observes."""
        seen = index < self.images
        self.points[index[seen]], self.stale[index[seen]] = x_tilde.detach()[seen], x_tilde.grad[seen]
        self.adversary.observe(x_hat, x_tilde, index, epoch=epoch, view=view)

    def state(self) -> dict[str, Tensor]:
        """Return what the adversary keeps."""
        return self.adversary.state()


@dataclass(frozen=True, kw_only=True)
class Staleness(Measure):
    """How often the gradient that free-SIM carried over an epoch points where a fresh one would.

    The first ``epochs`` of the run are trained once more, with its own seed, and some of the images are watched.

    Args:
        epochs: how far; no farther than the run goes.
        images: the first so many of the training set.
    """

    epochs: int
    images: int

    def __post_init__(self) -> None:
        whole("epochs", self.epochs, least=2)
        whole("images", self.images, least=1)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return for each ``epoch`` (1 is the first) the share of pixels whose sign was still right.

        ``pixels`` counts each with a gradient once, ``weighted`` by the size of the fresh gradient; chance is 0.5.
        """
        if spec.method != "free-sim" or spec.augment != "none":
            raise InputError(f"{spec.id} is no free-sim without augmentation: it carries no gradient that could be old")
        trainer = trainer_of(replace(spec, monitor=None), dataset.x_train.device)
        trainer.learner.adversary = watched = Watched(trainer.learner.adversary, self.images)
        trainer.epochs = min(self.epochs, spec.epochs)
        trainer.run(label=f"{spec.id}, watched")
        rows = watched.agreed.items()
        pixels = [sum(same for same, _, _ in parts) / sum(count for *_, count in parts) for _, parts in rows]
        weighted = [sum(share * count for _, share, count in parts) / sum(c for *_, c in parts) for _, parts in rows]
        return {"images": self.images, "epoch": [e + 1 for e, _ in rows], "pixels": pixels, "weighted": weighted}
