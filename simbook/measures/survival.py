r"""Would it survive? Attacks that nobody trained against, other nets' examples, and signs of masked gradients."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from simadv.attacks import Attack, input_gradient, predict, random_start
from simadv.checks import whole
from simadv.data import Dataset
from simadv.evaluation import accuracy
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
