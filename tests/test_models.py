"""The nets: their sizes, their seeds, and the seam between features and head."""

import pytest
import torch
from torch import nn

from simadv.checks import InputError
from simadv.models import CIFAR10_MEAN, CIFAR10_STD, MODELS, ConvMaxPool, build

SHAPES = {"lenet": (1, 28, 28), "lenet_wide": (1, 28, 28), "resnet20": (3, 32, 32)}


def make(name, seed=0, classes=10):
    return build(name, image_shape=SHAPES[name], classes=classes, seed=seed)


def macs(model, x):
    """Multiply-accumulates of one forward, counted at every convolution and linear layer."""
    total = []

    def count(module, _, output):
        per_output = module.weight[0].numel()
        pooled = 4 if isinstance(module, ConvMaxPool) else 1
        total.append(pooled * output[0].numel() * per_output)

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    model(x)
    for hook in hooks:
        hook.remove()
    return sum(total)


@pytest.mark.parametrize(
    ("name", "parameters", "width"), [("lenet", 61_706, 84), ("lenet_wide", 3_274_634, 1024), ("resnet20", 269_722, 64)]
)
def test_sizes(name, parameters, width):
    model = make(name).eval()
    x = torch.rand(3, *SHAPES[name])
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.features(x).shape == (3, width)
    assert model(x).shape == (3, 10)
    assert torch.equal(model(x), model.head(model.features(x)))


@pytest.mark.parametrize(("name", "expected"), [("lenet", 0.417e6), ("resnet20", 40.6e6), ("lenet_wide", 13.88e6)])
def test_macs(name, expected):
    assert macs(make(name).eval(), torch.rand(1, *SHAPES[name])) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "fold", "side"),
    [(1, 6, 5, 2, 32), (6, 16, 5, 1, 14), (1, 32, 5, 1, 32), (3, 5, 3, 2, 14), (2, 3, 7, 1, 10), (2, 3, 1, 2, 8)],
)
def test_conv_max_pool_is_a_convolution_and_a_pool(inputs, outputs, size, fold, side):
    """Values and all three gradients agree in float64 with torch's own two layers, ties in flat regions included."""
    layer = ConvMaxPool(inputs, outputs, size, fold=fold).double()
    # as many rows and columns as whole blocks of outputs need
    side = 2 * fold * ((side - size + 1) // (2 * fold)) + 2 * fold * (layer.window - 1)
    x = torch.rand(4, inputs, side, side, dtype=torch.float64)
    x[:, :, : side // 2] = 0  # a flat region, where all four outputs of a window are equal

    def plain(x):
        made = nn.functional.conv2d(x, layer.weight, layer.bias)
        whole = made.shape[-1] // (2 * fold) * 2 * fold  # outputs of blocks that are not whole are not made
        return nn.functional.pixel_unshuffle(nn.functional.max_pool2d(made[..., :whole, :whole], 2), fold)

    results = []
    for forward in (lambda x: layer(nn.functional.pixel_unshuffle(x, 2 * fold)), plain):
        leaf = x.clone().requires_grad_(True)
        y = forward(leaf)
        upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        results.append([y, *torch.autograd.grad(y, (leaf, layer.weight, layer.bias), upstream)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_lenet_is_the_textbook_net():
    """Folded convolutions and ReLU after the pool give what the layers of the paper give."""
    model = make("lenet")
    conv1, conv2, fc1, fc2 = (model.body.get_submodule(place) for place in "0268")
    x = torch.rand(4, 1, 28, 28)
    pooled = nn.functional.max_pool2d(nn.functional.conv2d(x, conv1.weight, conv1.bias, padding=2).relu(), 2)
    pooled = nn.functional.max_pool2d(nn.functional.conv2d(pooled, conv2.weight, conv2.bias).relu(), 2)
    expected = model.head(fc2(fc1(pooled.flatten(1)).relu()).relu())
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-6)


def test_resnet20_normalises_inside_and_stores_no_constant():
    model = make("resnet20")
    x = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor(CIFAR10_MEAN), torch.tensor(CIFAR10_STD)
    expected = (x - mean[:, None, None]) / std[:, None, None]
    assert torch.allclose(model.body[0](x), expected)
    assert not any("mean" in key and "running" not in key for key in model.state_dict())


def test_resnet20_shortcuts_have_no_parameters_and_carry_the_image():
    """With every residual silenced, a block is ReLU of its shortcut: identity, or every second pixel."""
    model = make("resnet20").eval()
    same, down = model.body[4], model.body[7]
    for block in (same, down):
        nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 16, 32, 32)
    assert torch.equal(same(x), x)
    halved = down(x)
    assert halved.shape == (2, 32, 16, 16)
    assert torch.equal(halved[:, :16], x[..., ::2, ::2])
    assert not halved[:, 16:].any()
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 19
    assert all(m.kernel_size == (3, 3) for m in convolutions)


def test_resnet20_starts_with_he_weights():
    conv = make("resnet20").body[-3].conv2
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_alone_decides_the_weights(name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make(name, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    again, other = make(name, seed=3), make(name, seed=4)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_build_does_not_reseed_a_gpu(monkeypatch):
    monkeypatch.setattr(torch, "manual_seed", lambda *_: pytest.fail("reseeds every device"))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda *_: pytest.fail("reseeds every GPU"))
    make("lenet")


@pytest.mark.parametrize("name", MODELS)
def test_state_dict_round_trip(name):
    trained, x = make(name, seed=1), torch.rand(5, *SHAPES[name])
    trained(x)  # moves batch norm's running statistics
    state = {key: value.contiguous() for key, value in trained.state_dict().items()}
    loaded = make(name, seed=2)
    loaded.load_state_dict(state)
    assert torch.equal(trained.eval()(x), loaded.eval()(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "lenett"}, "did you mean 'lenet'.*allowed: lenet, lenet_wide, resnet20"),
        ({"image_shape": (3, 32, 32)}, r"'lenet' takes images \(C, H, W\) of \(1, 28, 28\), not \(3, 32, 32\)"),
        ({"image_shape": (28, 28)}, r"not \(28, 28\)"),
        ({"name": "resnet20"}, r"of \(3, 32, 32\), not \(1, 28, 28\)"),
        ({"classes": 1}, "classes = 1 must be at least 2"),
        ({"seed": -1}, "seed = -1 must be at least 0"),
        ({"seed": 0.5}, "seed = 0.5 must be a whole number"),
    ],
)
def test_bad_input(change, message):
    arguments = {"name": "lenet", "image_shape": (1, 28, 28), "classes": 10, "seed": 0} | change
    with pytest.raises(InputError, match=message):
        build(arguments.pop("name"), **arguments)
