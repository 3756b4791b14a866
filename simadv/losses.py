r"""What is minimised: cross-entropy on clean and adversarial halves, and ATDA's domain adaptation (section 3.1).

:math:`C(\cdot)` are logits, ``(B, k)``, as in the authors' code. A clean batch and its adversarial batch go
through the net as two forwards: with batch norm that is not the same as one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simadv.attacks import cross_entropy
from simadv.checks import number, one_of

CORAL_FORMS = ("scatter", "cov")


def coral(clean: Tensor, adversarial: Tensor, *, form: str) -> Tensor:
    r"""Return the covariance distance of two batches of logits (Eq. 7, section 3.1.1).

    .. math:: \mathcal{L}_{CORAL} = \frac{1}{k^2} \|Cov[C(\hat X)] - Cov[C(\tilde X)]\|_{l_1}

    ``cov`` is the equation as printed; ``scatter`` leaves out the division by B - 1, as the authors' code does.

    Chapter: :doc:`03_atda`.
    """
    centred = [logits - logits.mean(0) for logits in (clean, adversarial)]
    scatter = [c.T @ c for c in centred]
    scale = max(1, len(clean) - 1) if form == "cov" else 1  # one example has no covariance
    return (scatter[0] - scatter[1]).abs().mean() / scale


def mmd(clean: Tensor, adversarial: Tensor) -> Tensor:
    r"""Return the distance of the mean logits, :math:`\frac{1}{k} \| \cdot \|_1` (Eq. 8, section 3.1.1).

    Chapter: :doc:`03_atda`.
    """
    return (clean.mean(0) - adversarial.mean(0)).abs().mean()


def uda(clean: Tensor, adversarial: Tensor, *, form: str) -> Tensor:
    """Return the unsupervised domain adaptation loss, CORAL + MMD (Eq. 9, section 3.1.1).

    Chapter: :doc:`03_atda`.
    """
    return coral(clean, adversarial, form=form) + mmd(clean, adversarial)


def sda(logits: Tensor, y: Tensor, centers: Tensor) -> Tensor:
    r"""Return the supervised domain adaptation loss (Eqs. 10-11, section 3.1.2).

    .. math:: \frac{1}{(k-1)\,n} \sum_x \sum_{\phi_m \ne \phi_x}
        \mathrm{softplus}(\|C(x) - \phi_x\|_1 - \|C(x) - \phi_m\|_1)

    Args:
        logits: ``(n, k)``, clean and adversarial together.
        y: ``(n,)``.
        centers: ``(k, k)``, row m is phi_m.

    Chapter: :doc:`03_atda`.
    """
    # a copy: the backward pass needs these centres when they have moved
    distance = torch.cdist(logits, centers.clone(), p=1)
    own = distance.gather(1, y[:, None])
    # the term of the own centre is softplus(0) = ln 2, and does not belong to the sum
    terms = F.softplus(own - distance).scatter(1, y[:, None], 0)
    return terms.sum() / ((centers.shape[0] - 1) * len(logits))


class Centers(nn.Module):
    r"""The class centres :math:`\Phi`, a ``(k, k)`` buffer that starts at 0 (section 3.1.2)."""

    def __init__(self, classes: int, *, beta: float) -> None:
        super().__init__()
        self.beta = number("beta", beta, above=0)
        self.register_buffer("phi", torch.zeros(classes, classes))

    @torch.no_grad()
    def update(self, logits: Tensor, y: Tensor) -> None:
        r"""Move each centre towards its class's logits (Eq. 12, section 3.1.2).

        .. math:: \phi_m \leftarrow \phi_m - \beta \frac{\sum_{x: y = m} (\phi_m - C(x))}{1 + |\{x: y = m\}|}

        Chapter: :doc:`03_atda`.
        """
        # one_hot would look at the labels on the CPU
        members = (y[:, None] == torch.arange(len(self.phi), device=y.device)).to(logits.dtype)
        count = members.sum(0)[:, None]
        self.phi.sub_(self.beta * (count * self.phi - members.T @ logits) / (1 + count))


class CrossEntropy:
    """The mean of the clean and the adversarial cross-entropy; the clean one alone where there are no examples.

    An objective says how many passes an image reach the weights where there are examples (``updates``), and which
    tensors must be kept to resume (``state``).
    """

    updates = 2

    def __call__(self, model: nn.Module, x_hat: Tensor, x_tilde: Tensor | None, y: Tensor) -> Tensor:
        """Return the scalar loss of a batch."""
        clean = cross_entropy(model(x_hat), y)
        return clean if x_tilde is None else (clean + cross_entropy(model(x_tilde), y)) / 2

    def state(self) -> dict[str, Tensor]:
        """Return what must be kept to resume: nothing."""
        return {}


class AdversarialHalf(CrossEntropy):
    """The cross-entropy of the examples alone."""

    updates = 1

    def __call__(self, model: nn.Module, x_hat: Tensor, x_tilde: Tensor, y: Tensor) -> Tensor:
        """Return the scalar loss of a batch."""
        return cross_entropy(model(x_tilde), y)


class DomainAdaptation(CrossEntropy):
    r"""ATDA's objective: both cross-entropies, summed, + lambda (UDA + SDA) (section 3.1; Song et al. 2019).

    Args:
        classes: number of classes, k.
        lambda_: weight of the domain adaptation, at least 0.
        beta: step of the centres (0.1 in the paper).
        coral_form: ``scatter`` or ``cov``, see :func:`coral`.
    """

    def __init__(self, classes: int, *, lambda_: float, beta: float, coral_form: str, device="cpu") -> None:
        self.lambda_ = number("lambda_", lambda_, least=0)
        self.coral_form = one_of("coral", coral_form, CORAL_FORMS)
        self.centers = Centers(classes, beta=beta).to(device)

    def __call__(self, model: nn.Module, x_hat: Tensor, x_tilde: Tensor, y: Tensor) -> Tensor:
        """Return the scalar loss of a batch, then move the centres."""
        # the centres live for the whole run, so their distances are not for bf16
        clean, adversarial = model(x_hat).float(), model(x_tilde).float()
        with torch.autocast(x_hat.device.type, enabled=False):
            both, labels = torch.cat([clean, adversarial]), torch.cat([y, y])
            adaptation = uda(clean, adversarial, form=self.coral_form) + sda(both, labels, self.centers.phi)
            loss = cross_entropy(clean, y) + cross_entropy(adversarial, y) + self.lambda_ * adaptation
            self.centers.update(both.detach(), labels)
        return loss

    def state(self) -> dict[str, Tensor]:
        """Return what must be kept to resume: the centres."""
        return {"centers": self.centers.phi}
