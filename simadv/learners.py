r"""The update of one batch: :class:`Adversarial` for every method but Free-Adv, :class:`FreeReplay` for that one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from simadv.attacks import cross_entropy
from simadv.checks import InputError, images, number, whole
from simadv.graphs import Replayed

PRECISIONS = ("float32", "bf16")
# below AVX-512 torch computes bf16 number by number
NATIVE = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX", "AVX2")


class Adversarial:
    r"""One update on a batch and its examples: every method of the paper but Free-Adv.

    Args:
        adversary: makes the examples (Eq. 5).
        objective: ``(model, x_hat, x_tilde, y) -> scalar`` (Eq. 6).
        optimizer: updates the model's parameters.
        precision: ``float32`` or ``bf16`` (autocast).

    Called while ``unseen``, it raises InputError where the examples are no images in [0, 1] or have a graph.
    """

    def __init__(self, model: nn.Module, optimizer, adversary, objective, precision: str) -> None:
        self.model, self.optimizer, self.precision = model, optimizer, precision
        self.adversary, self.objective = adversary, objective
        # a graph holds an update only if all that the optimizer changes is on the device, as SGD has it
        kept = [group.get("capturable", isinstance(optimizer, torch.optim.SGD)) for group in optimizer.param_groups]
        self.update = Replayed(self._update) if all(kept) else self._update
        # passes an image that reach the weights; whether to look at the next examples, for which a device has to be
        # waited, so that fit alone asks for it
        self.updates, self.unseen = objective.updates if adversary.makes else 1, False

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and backward passes an image of the last update."""
        forward, backward = self.adversary.passes
        return forward + self.updates, backward + self.updates

    def __call__(self, x_hat: Tensor, y: Tensor, index: Tensor, *, epoch: int, view, generator) -> Tensor:
        """Update the model and return the loss, a scalar that stays on the device."""
        if not self.model.training:  # a walk through all modules at each step would be seen in the time
            self.model.train()
        with autocast(x_hat.device, self.precision):
            x_tilde = self.adversary(self.model, x_hat, y, index, epoch=epoch, view=view, generator=generator)
        if self.unseen:
            self.unseen = bool(images(x_tilde, y, name="examples"))
            if not x_tilde.is_leaf:
                raise InputError("examples have a graph, by which the loss would reach the attack; detach() them")
        # rates are numbers inside a graph: another rate, another graph
        loss = self.update(self.model, x_hat, x_tilde, y, *(group["lr"] for group in self.optimizer.param_groups))
        self.adversary.observe(x_hat, x_tilde, index, epoch=epoch, view=view)
        return loss

    def _update(self, model: nn.Module, x_hat: Tensor, x_tilde: Tensor | None, y: Tensor, *rates: float) -> Tensor:
        with autocast(x_hat.device, self.precision):
            loss = self.objective(model, x_hat, x_tilde, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state(self) -> dict[str, Tensor]:
        """Return the tensors of adversary and objective."""
        return self.adversary.state() | self.objective.state()


class FreeReplay:
    r"""Free-Adv(m) as published (section 5.4; Shafahi et al. 2019, algorithm 1): replay each batch m times.

    The backward pass of each update also gives the gradient that moves the perturbation by a full epsilon.
    The perturbation belongs to the batch *slot*: it starts at 0, is carried to the next batch and never reset.
    As in the authors' code a value that the clip to [0, 1] cuts off has no gradient, and so does not move.
    """

    def __init__(self, model: nn.Module, optimizer, precision: str, *, epsilon: float, m: int, slots: Tensor) -> None:
        self.model, self.optimizer, self.precision = model, optimizer, precision
        self.epsilon, self.m = number("epsilon", epsilon, above=0, most=1), whole("m", m, least=1)
        self.delta, self.updates, self.passes = torch.zeros_like(slots), m, (m, m)

    def __call__(self, x_hat: Tensor, y: Tensor, index: Tensor, *, epoch: int, view, generator) -> Tensor:
        """Update the model m times and return the last loss."""
        self.model.train()
        delta = self.delta[: len(x_hat)]  # a view: the last batch of an epoch is shorter
        for _ in range(self.m):
            moved = x_hat + delta
            x_tilde = moved.clamp(0, 1).requires_grad_(True)
            with autocast(x_hat.device, self.precision):
                loss = cross_entropy(self.model(x_tilde), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            delta.add_(self.epsilon * x_tilde.grad.sign() * (x_tilde == moved)).clamp_(-self.epsilon, self.epsilon)
        return loss.detach()

    def state(self) -> dict[str, Tensor]:
        """Return the carried perturbation."""
        return {"delta": self.delta}


def rounded(x):
    """Return a float32 tensor rounded to bf16, as its gradient will be; anything else as it is."""
    return x.bfloat16().float() if isinstance(x, Tensor) else x


class RoundedProducts(TorchFunctionMode):
    """bf16 for processors without it: float32 products of rounded factors, rounded. Seven times as fast there.

    Sums are in float32 either way, so a layer's result differs from autocast's by their order alone. What lies
    between two products stays in float32: exact for ReLU and max-pooling, finer than bf16 for batch norm.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call ``func``, between numbers of bf16 if it is a layer's product."""
        turn = rounded if func in (F.conv2d, F.linear) else (lambda x: x)
        return turn(func(*map(turn, args), **(kwargs or {})))


def autocast(device: torch.device, precision: str) -> torch.autocast | RoundedProducts:
    """Return the context of a step: bf16 where asked, else whatever the model's own type is."""
    if precision == "bf16" and device.type == "cpu" and not NATIVE:
        return RoundedProducts()
    # a graph must cast the weights of the moment: it may neither find nor leave casts in a cache
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=device.type == "cpu")
