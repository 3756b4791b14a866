r"""SIM-Adv's neighbours in the same loop: SIM without attack passes, and other single-step methods (chapter 7).

ATTA-1 (Zheng et al. 2019, where it trains as Madry-Adv does) is SIM-Adv on the adversarial half alone, and RS-FGSM
(Wong et al. 2020) is Madry(0.8,1) on that half, so neither needs code of its own. What the papers add in labels, such
as label smoothing, is left out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simadv import graphs
from simadv.adversaries import SIM
from simadv.attacks import Attack, advance, cross_entropy, half_start, random_start
from simadv.checks import number, whole
from simadv.losses import CrossEntropy


class NoisyFGSM(Attack):
    r"""N-FGSM (de Jorge et al. 2022): FGSM from a uniform point of the ball of :math:`2 \epsilon`, not projected.

    It leaves the :math:`\epsilon`-ball, so it is for training alone.
    """

    def __init__(self, *, epsilon: float, labels: str, mode: str) -> None:
        super().__init__(kind="BIM", epsilon=epsilon, labels=labels, mode=mode, projection="literal")

    def start(self, x_hat: Tensor, generator: torch.Generator | None) -> Tensor:
        r"""Return a uniform point of the ball of :math:`2 \epsilon`, clipped to [0, 1]."""
        return random_start(x_hat, epsilon=2 * self.epsilon, generator=generator)


class Momentum:
    r"""One running direction per training image, :math:`m \leftarrow \mu m + g / \|g\|_1`; with mu = 0, g itself.

    It is kept in bfloat16: only its sign is ever used.
    """

    def __init__(self, x: Tensor, mu: float) -> None:
        self.mu = number("momentum", mu, least=0)
        self.values = torch.zeros_like(x, dtype=torch.bfloat16) if mu else x.new_zeros(0)

    def __call__(self, gradient: Tensor, index: Tensor, *, again: Tensor, view) -> Tensor:
        """Return the directions of the images ``index``; those that start ``again`` have forgotten theirs."""
        if not self.mu:
            return gradient
        before = self.values[index].to(gradient.dtype).masked_fill(again[:, None, None, None], 0)
        tiny = torch.finfo(gradient.dtype).tiny
        direction = self.mu * view.forward(before) + F.normalize(gradient.flatten(1), p=1, eps=tiny).view_as(gradient)
        self.values[index] = view.inverse_into(before, direction).to(self.values.dtype)
        return direction


class Directed(SIM):
    """SIM-Adv's store with a direction beside each example.

    Args:
        x, epsilon, n1, n2, reset, seed, projection: as in :class:`simadv.adversaries.SIM`; it takes one step, by the
            gradient of the true label.
        momentum: see :class:`Momentum`; 0 for none.
    """

    def __init__(self, x: Tensor, *, momentum, epsilon, n1, n2, reset="cycle", seed=0, projection="ball") -> None:
        super().__init__(x, epsilon=epsilon, n1=n1, n2=n2, reset=reset, seed=seed, projection=projection)
        self.momentum, self.passes = Momentum(x, momentum), (0, 1)

    def move(self, x_tilde: Tensor, x_hat: Tensor, direction: Tensor) -> Tensor:
        """Return the examples one step along ``direction``."""
        epsilon, n1, projection = self.attack.epsilon, self.attack.n1, self.attack.projection
        return advance(x_tilde, x_hat, direction, epsilon=epsilon, n1=n1, projection=projection)

    def state(self) -> dict[str, Tensor]:
        """Return what must be kept to resume: SIM-Adv's, and the directions."""
        return super().state() | {"momentum": self.momentum.values}


class FreeSIM(Directed):
    r"""SIM-Adv without attack passes: the input gradient of each training pass moves the example for the next epoch.

    An example is trained on where the last epoch's model wanted it, so the first epoch of a cycle is on the image
    itself. Free-Adv(m) is the same idea with a window of one batch, replayed m times; here the window is the whole
    set. We found no earlier use of it.

    Args:
        x, settings: as in :class:`Directed`; the gradient is taken in training mode.
        fresh: in every so many epochs one SIM-Adv step by a gradient of its own comes first; 0 for never.
    """

    def __init__(self, x: Tensor, *, fresh: int, **settings) -> None:
        super().__init__(x, **settings)
        self.fresh, self.passes = whole("fresh", fresh, least=0), (0, 0)

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator) -> Tensor:
        """Return the carried examples, ready to receive their gradient."""
        extra = int(self.fresh > 0 and (epoch + 1) % self.fresh == 0)
        self.passes = (extra, extra)
        self.before = self.start(index, epoch, generator)
        x_tilde = view.forward(self.before)
        if extra:
            x_tilde = self.step(model, x_hat, y, x_tilde)
        return x_tilde.detach().requires_grad_(True)

    @torch.no_grad()
    def observe(self, x_hat, x_tilde, index, *, epoch, view) -> None:
        """Move the examples by the gradient that they received, for the next epoch."""
        direction = self.momentum(x_tilde.grad, index, again=self.restarts(index, epoch), view=view)
        moved = self.move(x_tilde, x_hat, direction)
        self.carried.write(index, view.inverse_into(self.before, moved))


class MEP(Directed):
    r"""FGSM-MEP (Jia et al. 2022): train on FGSM's step from the carried example, and carry the momentum's step.

    Every n2 epochs all images restart at a random corner of their ball. Unlike in the authors' code, the norm of a
    gradient is an image's own, what is carried follows crop and flip, and a restart is clipped to [0, 1].
    """

    def origin(self, index: Tensor, epoch: int, generator) -> Tensor:
        r"""Return the images moved by :math:`\epsilon` with random signs."""
        return half_start(self.x[index], epsilon=2 * self.attack.epsilon, generator=generator)

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator) -> Tensor:
        """Step from the carried examples twice, along momentum (kept) and gradient (returned)."""
        before = self.start(index, epoch, generator)
        x_0 = view.forward(before).detach().requires_grad_(True)
        self.logits = model(x_0)  # the objective needs them, and their graph
        (gradient,) = torch.autograd.grad(cross_entropy(self.logits, y, "sum"), x_0, retain_graph=True)
        with torch.no_grad():
            direction = self.momentum(gradient, index, again=self.restarts(index, epoch), view=view)
            self.carried.write(index, view.inverse_into(before, self.move(x_0, x_hat, direction)))
            x_tilde = self.move(x_0, x_hat, gradient)
        # the update goes on into the graph of the logits, so where updates are recorded it must run as it is
        return x_tilde.requires_grad_(x_tilde.device.type in graphs.DEVICES)


class Consistency(CrossEntropy):
    r"""FGSM-MEP's objective: :math:`L(\tilde x, y) + \lambda \cdot \mathrm{MSE}(C(\tilde x), C(\tilde x_0))`.

    It reaches the weights through both passes, and so pays for the one that the example was made by as well.
    """

    def __init__(self, adversary: MEP, *, lambda_: float) -> None:
        self.adversary, self.lambda_ = adversary, number("lambda_", lambda_, least=0)

    def __call__(self, model: nn.Module, x_hat: Tensor, x_tilde: Tensor, y: Tensor) -> Tensor:
        """Return the scalar loss of a batch."""
        logits = model(x_tilde)
        wide = torch.promote_types(logits.dtype, torch.float32)
        return cross_entropy(logits, y) + self.lambda_ * F.mse_loss(logits.to(wide), self.adversary.logits.to(wide))
