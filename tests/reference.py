"""Plain restatements of the paper's equations for the tests: float64, one image at a time, nothing from simadv."""

import torch
from torch import nn


def tiny_net(seed, *, channels=1, side=8, classes=4, norm=True, dtype=torch.float64):
    """A random conv net in eval mode; smooth, so that no input gradient is exactly 0; batch norm has seen data."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(channels, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 6, 3, stride=2), nn.Tanh()]
        if norm:
            layers.insert(1, nn.BatchNorm2d(4))
            layers.insert(4, nn.BatchNorm2d(6))
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(6 * ((side - 1) // 2) ** 2, classes))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.to(dtype).eval()


def images(seed, count, *, channels=1, side=8, classes=4, dtype=torch.float64):
    """Random images, a third of the pixels at 0 or 1, as digits have them, and labels."""
    generator = torch.Generator().manual_seed(1_000_003 + seed)  # no test draws its noise with this seed
    x = torch.rand(count, channels, side, side, generator=generator, dtype=dtype) * 1.5 - 0.25
    return x.clamp(0, 1), torch.randint(classes, (count,), generator=generator)


def naive_gradient(model, x, y):
    """The gradient of -log softmax(C(x))_y at one image ``(C, H, W)``."""
    leaf = x.detach().clone().requires_grad_(True)
    logits = model(leaf[None])[0]
    (gradient,) = torch.autograd.grad(torch.logsumexp(logits, 0) - logits[int(y)], leaf)
    return gradient


def naive_attack(model, x_hat, y, *, epsilon, n1, n2, start=None, ball=True):
    """Eqs. 3-4 image by image; with ``ball`` the sum of the steps is clipped to epsilon as well."""
    examples = []
    for j in range(len(x_hat)):
        x = x_hat[j] if start is None else start[j]
        for _ in range(n2):
            delta = torch.clip(epsilon / n1 * torch.sign(naive_gradient(model, x, y[j])), -epsilon, epsilon)
            if ball:
                # the step itself may be longer than epsilon (n1 < 1): only the sum is bounded
                delta = epsilon / n1 * torch.sign(naive_gradient(model, x, y[j]))
                delta = torch.clip(x + delta - x_hat[j], -epsilon, epsilon) + x_hat[j] - x
            x = torch.clip(x + delta, 0, 1)
        examples.append(x)
    return torch.stack(examples)


def naive_cross_entropy(logits, y):
    """The mean of -log softmax(C(x))_y."""
    terms = [torch.logsumexp(row, 0) - row[int(label)] for row, label in zip(logits, y, strict=True)]
    return sum(terms) / len(terms)
