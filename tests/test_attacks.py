"""The attacks against foolbox, against a naive loop, and against what must hold for any setting (Eqs. 1-4)."""

import copy
import math
import re
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import images, naive_attack, naive_gradient, tiny_net
from torch import nn

from simadv import attacks, models
from simadv.attacks import (
    KINDS,
    Attack,
    bim,
    fgsm,
    input_gradient,
    madry,
    margin,
    predict,
    r_fgsm,
    random_start,
    trajectory,
)
from simadv.checks import InputError

# foolbox imports one function from a module that SciPy has moved: give it the new one under the old name
sys.modules["scipy.ndimage.filters"] = scipy.ndimage
import foolbox  # noqa: E402


class SharedStart(foolbox.attacks.LinfProjectedGradientDescentAttack):
    """Foolbox's attack from a start that it is given."""

    def __init__(self, start, **settings):
        super().__init__(random_start=True, **settings)
        self.start = start

    def get_random_start(self, x0, epsilon):
        return type(x0)(self.start)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def net_and_images(name, seed):
    """A random net in float64 with three images that fit."""
    if name == "tiny":
        return tiny_net(seed), *images(seed, 3)
    shape = {"lenet": (1, 28, 28), "resnet20": (3, 32, 32)}[name]
    net = models.build(name, image_shape=shape, classes=10, seed=seed).double().eval()
    side = 28 if name == "lenet" else 12  # the ResNet averages over whatever is left of the image
    x, y = images(seed, 3, channels=shape[0], side=side, classes=10)
    with torch.no_grad():  # running statistics that are not those of a fresh net
        net.train()(x)
    return net.eval(), x, y


NETS = [("tiny", 0), ("tiny", 1), ("tiny", 2), ("lenet", 0), ("lenet", 1), ("resnet20", 0)]


@pytest.mark.parametrize(("name", "seed"), NETS)
def test_agree_with_foolbox_and_with_a_naive_loop(name, seed):
    net, x, y = net_and_images(name, seed)
    theirs = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    wrong = foolbox.criteria.Misclassification(y)
    epsilon, n1, n2 = (0.3, 4, 7) if name != "resnet20" else (8 / 255, 2.5, 5)
    noise = torch.rand(x.shape, generator=generator(seed), dtype=x.dtype)
    start = (x + epsilon * (2 * noise - 1)).clamp(0, 1)
    steps = {"rel_stepsize": 1 / n1, "steps": n2}
    triples = {
        "FGSM": (
            fgsm(net, x, y, epsilon=epsilon),
            foolbox.attacks.LinfFastGradientAttack().run(theirs, x, wrong, epsilon=epsilon),
            naive_attack(net, x, y, epsilon=epsilon, n1=1, n2=1),
        ),
        "BIM": (
            bim(net, x, y, epsilon=epsilon, n1=n1, n2=n2),
            foolbox.attacks.LinfBasicIterativeAttack(**steps).run(theirs, x, wrong, epsilon=epsilon),
            naive_attack(net, x, y, epsilon=epsilon, n1=n1, n2=n2),
        ),
        "Madry": (
            madry(net, x, y, epsilon=epsilon, n1=n1, n2=n2, generator=generator(seed)),
            SharedStart(start, **steps).run(theirs, x, wrong, epsilon=epsilon),
            naive_attack(net, x, y, epsilon=epsilon, n1=n1, n2=n2, start=start),
        ),
    }
    for kind, (ours, by_foolbox, by_loop) in triples.items():
        assert ours.dtype == torch.float64
        assert (ours - x).abs().max() > epsilon / 2, kind
        torch.testing.assert_close(ours, by_foolbox, rtol=0, atol=1e-5, msg=kind)
        torch.testing.assert_close(ours, by_loop, rtol=0, atol=1e-5, msg=kind)


@pytest.mark.parametrize(("name", "seed"), NETS)
def test_r_fgsm_agrees_with_a_naive_loop(name, seed):
    """Half of epsilon by the sign of Gaussian noise, the other half by the gradient there (Tramèr et al. 2017)."""
    net, x, y = net_and_images(name, seed)
    noise = torch.randn(x.shape, generator=generator(seed), dtype=x.dtype)
    expected = []
    for j in range(len(x)):
        start = torch.clip(x[j] + 0.1 * torch.sign(noise[j]), 0, 1)
        expected.append(torch.clip(start + 0.1 * torch.sign(naive_gradient(net, start, y[j])), 0, 1))
    ours = r_fgsm(net, x, y, epsilon=0.2, generator=generator(seed))
    torch.testing.assert_close(ours, torch.stack(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_named_attack_is_its_function(kind):
    net, x, y = net_and_images("tiny", 3)
    steps = {"n1": 3, "n2": 4} if kind in ("BIM", "Madry", "CW") else {}
    named = Attack(kind=kind, epsilon=0.2, **steps)(net, x, y, generator=generator(5))
    function = {"FGSM": fgsm, "R+FGSM": r_fgsm, "BIM": bim, "Madry": madry, "CW": partial(madry, loss=margin)}[kind]
    random = {"generator": generator(5)} if kind in ("R+FGSM", "Madry", "CW") else {}
    assert torch.equal(named, function(net, x, y, epsilon=0.2, **steps, **random))


def test_cw_climbs_the_margin_of_each_image_alone():
    """Carlini and Wagner 2017, as in PGD's place: the best wrong logit minus the right one."""
    net, x, y = net_and_images("tiny", 12)
    logits = net(x)
    margins = torch.stack([naive_margin(row, label) for row, label in zip(logits, y, strict=True)])
    torch.testing.assert_close(margin(logits, y), margins.mean())
    torch.testing.assert_close(margin(logits, y, "sum"), margins.sum())
    x_tilde = random_start(x, epsilon=0.2, generator=generator(6))
    for _ in range(4):
        moved = []
        for j in range(len(x)):
            leaf = x_tilde[j].clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(naive_margin(net(leaf[None])[0], y[j]), leaf)
            moved.append((x[j] + (leaf + 0.05 * gradient.sign() - x[j]).clamp(-0.2, 0.2)).clamp(0, 1).detach())
        x_tilde = torch.stack(moved)
    ours = Attack.parse("CW(4,4)", epsilon=0.2)(net, x, y, generator=generator(6))
    torch.testing.assert_close(ours, x_tilde, rtol=0, atol=1e-5)
    assert not torch.equal(ours, madry(net, x, y, epsilon=0.2, n1=4, n2=4, generator=generator(6)))


def naive_margin(logits, label):
    wrong = [score for k, score in enumerate(logits) if k != int(label)]
    return torch.stack(wrong).max() - logits[int(label)]


def test_input_gradient_is_that_of_each_image_alone():
    net, x, y = net_and_images("tiny", 4)
    together = input_gradient(net, x, y)
    for j in range(len(x)):
        torch.testing.assert_close(together[j], naive_gradient(net, x[j], y[j]), rtol=1e-10, atol=1e-12)


def test_train_mode_takes_the_gradient_through_batch_statistics():
    net, x, y = net_and_images("tiny", 5)
    twin, x_tilde = copy.deepcopy(net).train(), x
    for _ in range(4):
        leaf = x_tilde.clone().requires_grad_(True)
        logits = twin(leaf)
        loss = (torch.logsumexp(logits, 1) - logits.gather(1, y[:, None])[:, 0]).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        x_tilde = (x + (x_tilde + 0.05 * gradient.sign() - x).clamp(-0.2, 0.2)).clamp(0, 1)
    ours = bim(net, x, y, epsilon=0.2, n1=4, n2=4, mode="train")
    torch.testing.assert_close(ours, x_tilde, rtol=0, atol=1e-5)
    assert not torch.equal(ours, bim(net, x, y, epsilon=0.2, n1=4, n2=4))


NET = tiny_net(7, dtype=torch.float32)


@st.composite
def any_attack(draw):
    kind = draw(st.sampled_from(KINDS))
    settings = {"epsilon": draw(st.floats(1e-3, 1.0)), "labels": draw(st.sampled_from(attacks.LABELS))}
    settings["mode"] = draw(st.sampled_from(attacks.MODES))
    if kind in ("BIM", "Madry", "CW"):
        settings |= {"n1": draw(st.floats(1e-2, 40) | st.integers(1, 40)), "n2": draw(st.integers(1, 6))}
    if kind in ("R+FGSM", "Madry", "CW"):
        settings["restarts"] = draw(st.integers(1, 3))
    return Attack(kind=kind, **settings)


@given(attack=any_attack(), seed=st.integers(0, 2**20))
def test_examples_stay_in_the_ball_and_in_the_pixel_range(attack, seed):
    x, y = images(seed, 4, dtype=torch.float32)
    before = x.clone()
    x_tilde = attack(NET, x, y, generator=generator(seed))
    assert x_tilde.shape == x.shape
    assert x_tilde.dtype == x.dtype
    assert float((x_tilde - x).abs().max()) <= attack.epsilon + 1e-6
    assert float(x_tilde.min()) >= 0
    assert float(x_tilde.max()) <= 1
    assert torch.equal(x, before), "the clean images were written to"
    assert not x_tilde.requires_grad


@pytest.mark.parametrize("attack", [fgsm, r_fgsm, lambda *inputs, **more: bim(*inputs, n1=2, n2=2, **more)])
def test_examples_have_no_graph_though_the_images_have_one(attack):
    x, y = images(0, 4, dtype=torch.float32)
    made = []
    for x_hat in (x, x.clone().requires_grad_(True)):
        drawn = {"generator": generator(0)} if attack is r_fgsm else {}
        made.append(attack(NET, x_hat, y, epsilon=0.1, **drawn))
    assert not made[1].requires_grad
    assert torch.equal(*made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0}, "epsilon = 0 must be above 0"),
        ({"epsilon": 8}, "epsilon = 8 must be at most 1"),
        ({"n1": 0}, "n1 = 0 must be above 0"),
        ({"n2": 0}, "n2 = 0 must be at least 1"),
        ({"n2": 2.5}, "n2 = 2.5 must be a whole number"),
        ({"mode": "test"}, "attack mode = 'test' is not known.*allowed: eval, train"),
        ({"projection": "l2"}, "projection = 'l2' is not known.*allowed: ball, literal"),
    ],
    ids=str,
)
def test_the_attacks_as_functions_check_their_settings_too(change, message):
    x, y = images(0, 2, dtype=torch.float32)
    for attack in (bim, madry):
        with pytest.raises(InputError, match=message):
            attack(NET, x, y, **{"epsilon": 0.1, "n1": 2, "n2": 2} | change)


@pytest.mark.parametrize("kind", ["FGSM", "R+FGSM"])
@pytest.mark.parametrize("steps", [{"n1": 5}, {"n2": 10}, {"n1": 5, "n2": 10}], ids=str)
def test_an_attack_of_one_step_takes_no_numbers_of_steps(kind, steps):
    with pytest.raises(InputError, match=re.escape(f"{kind} takes no n1 and n2; BIM, Madry and CW do")):
        Attack(kind=kind, epsilon=0.1, **steps)


def test_whole_numbers_of_numpy_are_whole_numbers():
    assert Attack(kind="BIM", epsilon=0.1, n1=2, n2=np.int64(3)) == Attack(kind="BIM", epsilon=0.1, n1=2, n2=3)


@given(epsilon=st.floats(1e-3, 1.5), seed=st.integers(0, 2**20))
def test_random_starts_fill_the_ball(epsilon, seed):
    x, _ = images(seed, 8, dtype=torch.float32)
    start = random_start(x, epsilon=epsilon, generator=generator(seed))
    assert float((start - x).abs().max()) <= epsilon + 1e-6
    assert 0 <= float(start.min()) <= float(start.max()) <= 1
    inner = (x > epsilon) & (x < 1 - epsilon)
    if inner.sum() > 60:
        spread = ((start - x) / epsilon)[inner]
        assert abs(float(spread.mean())) < 0.3
        assert abs(float(spread.std()) - 3**-0.5) < 0.15, "not uniform on [-epsilon, epsilon]"


@pytest.mark.parametrize(("n1", "n2"), [(4, 3), (4, 10), (1, 3), (0.5, 3), (2.5, 5)])
def test_literal_projection_is_the_printed_equation(n1, n2):
    net, x, y = net_and_images("tiny", 8)
    x = x * 0.2 + 0.4  # grey, so that [0, 1] does not stop the sum of the steps
    ours = bim(net, x, y, epsilon=0.1, n1=n1, n2=n2, projection="literal")
    torch.testing.assert_close(ours, naive_attack(net, x, y, epsilon=0.1, n1=n1, n2=n2, ball=False), rtol=0, atol=1e-9)
    reach = n2 * min(0.1, 0.1 / n1)
    assert (ours - x).abs().max() == pytest.approx(min(reach, 0.4), abs=0.2 * reach)
    leaves = float((ours - x).abs().max()) > 0.1 + 1e-6
    assert leaves == (n2 > max(n1, 1)), "Eqs. 3-4 as printed leave the ball where n2 > n1, and only there"


@pytest.mark.parametrize("options", [{}, {"projection": "literal"}, {"mode": "train"}])
def test_trajectory_gives_every_intermediate_example(options):
    net, x, y = net_and_images("tiny", 9)
    path = list(trajectory(net, x, y, epsilon=0.2, n1=3, n2=6, **options))
    assert len(path) == 7
    assert torch.equal(path[0], x)
    for i in range(1, 7):
        assert torch.equal(path[i], bim(net, x, y, epsilon=0.2, n1=3, n2=i, **options))
    for before, after in pairwise(path):
        assert float((after - before).abs().max()) <= 0.2 / 3 + 1e-9
    start = random_start(x, epsilon=0.2, generator=generator(1))
    path = list(trajectory(net, x, y, epsilon=0.2, n1=3, n2=2, start=start, **options))
    assert torch.equal(path[0], start)
    assert torch.equal(path[-1], madry(net, x, y, epsilon=0.2, n1=3, n2=2, generator=generator(1), **options))


def test_trajectory_leaves_the_model_alone_between_its_examples():
    net, x, y = net_and_images("tiny", 9)
    net.train()
    for _ in trajectory(net, x, y, epsilon=0.2, n1=3, n2=2):
        assert all(module.training for module in net.modules())
        assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("mode", attacks.MODES)
def test_predicted_labels_are_those_of_the_clean_image_in_eval_mode(mode):
    net, x, y = net_and_images("tiny", 10)
    with torch.no_grad():
        guess = net(x).argmax(1)
    y = (guess + 1) % 4  # the net is wrong everywhere
    attack = Attack(kind="BIM", epsilon=0.2, n1=3, n2=4, mode=mode)
    predicted = replace(attack, labels="predicted")(net.train(), x, y)
    assert torch.equal(predicted, attack(net, x, guess))
    assert not torch.equal(predicted, attack(net, x, y))


@pytest.mark.parametrize(("kind", "labels"), [("Madry", "true"), ("Madry", "predicted"), ("R+FGSM", "true")])
def test_restarts_never_increase_the_survivors(kind, labels):
    net = tiny_net(11, classes=3)
    x, _ = images(11, 100, classes=3)
    y = predict(net, x)  # all right on clean images, so that there is something to lose
    steps = {"n1": 10, "n2": 1} if kind == "Madry" else {}
    survived = []
    for restarts in (1, 2, 5, 12):
        attack = Attack(kind=kind, epsilon=0.1, restarts=restarts, labels=labels, **steps)
        survived.append(predict(net, attack(net, x, y, generator=generator(2))) == y)
    for fewer, more in pairwise(survived):
        assert not (more & ~fewer).any(), "a restart brought an image back to life"
    assert survived[-1].sum() < survived[0].sum(), "twelve restarts did no better than one: the test shows nothing"


def test_restarts_keep_the_first_example_that_fools():
    net = tiny_net(11, classes=3)
    x, _ = images(11, 100, classes=3)
    y = predict(net, x)
    once = Attack(kind="Madry", epsilon=0.1, n1=10, n2=1)
    source, tries = generator(2), []
    for _ in range(4):
        tries.append(once(net, x, y, generator=source))
    best = replace(once, restarts=4)(net, x, y, generator=generator(2))
    for j in range(0, len(x), 3):
        fooled = [t for t in tries if predict(net, t[j : j + 1]) != y[j]]
        # where none does, the last try is as good as any
        assert torch.equal(best[j], (fooled or tries[-1:])[0][j])


def snapshot(net):
    """All that an attack must not touch."""
    return {
        "training": [module.training for module in net.modules()],
        "requires_grad": [parameter.requires_grad for parameter in net.parameters()],
        "grad_is": [id(parameter.grad) for parameter in net.parameters()],
        "grad": [None if p.grad is None else p.grad.tolist() for p in net.parameters()],
        "parameters": [p.tolist() for p in net.parameters()],
        "buffers": [(name, b.tolist()) for name, b in net.named_buffers()],
        "hooks": [len(m._forward_hooks) + len(m._backward_hooks) for m in net.modules()],
    }


def used_net(training):
    """A net in the middle of a training: gradients are there, one layer is frozen, one is in the other mode."""
    net = tiny_net(12).train(training)
    net[1].train(not training)
    net[0].bias.requires_grad_(False)
    for parameter in list(net.parameters())[2:]:
        parameter.grad = torch.randn(parameter.shape, generator=generator(1), dtype=parameter.dtype)
    return net


ALL_ATTACKS = [
    Attack(kind="FGSM", epsilon=0.1),
    Attack(kind="FGSM", epsilon=0.1, labels="predicted"),
    Attack(kind="R+FGSM", epsilon=0.1),
    Attack(kind="BIM", epsilon=0.1, n1=2, n2=3),
    Attack(kind="Madry", epsilon=0.1, n1=2, n2=3, restarts=2, labels="predicted"),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", attacks.MODES)
@pytest.mark.parametrize("attack", ALL_ATTACKS, ids=str)
def test_attacks_leave_the_model_as_it_was(attack, mode, training):
    net = used_net(training)
    before = snapshot(net)
    x, y = images(12, 3)
    rng = torch.get_rng_state()
    seen = []
    hook = net[1].register_forward_hook(lambda module, *_: seen.append((module.training, net.training)))
    replace(attack, mode=mode)(net, x, y, generator=generator())
    hook.remove()
    assert snapshot(net) == before
    assert torch.equal(torch.get_rng_state(), rng), "an attack with a generator drew from the global one"
    gradients = attack.passes[1]
    crafting = [(mode == "train",) * 2] * gradients
    assert sorted(seen) == sorted(crafting + [(False, False)] * (attack.passes[0] - gradients))


class Fails(nn.Module):
    """A net that fails at its n-th forward."""

    def __init__(self, net, n):
        super().__init__()
        self.net, self.left = net, n

    def forward(self, x):
        out = self.net(x)  # batch norm has moved by the time it fails
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("out of order")
        return out


@pytest.mark.parametrize("mode", attacks.MODES)
@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_attacks_leave_the_model_as_it_was_when_it_fails(n, mode):
    net = Fails(used_net(training=True), n)
    net.net.eval()  # the outer module trains, the inner one does not
    before = snapshot(net)
    attack = Attack(kind="Madry", epsilon=0.1, n1=2, n2=2, restarts=2, labels="predicted", mode=mode)
    x, y = images(13, 3)
    with pytest.raises(RuntimeError, match="out of order"):
        attack(net, x, y, generator=generator())
    assert snapshot(net) == before


@pytest.mark.parametrize("attack", ALL_ATTACKS, ids=str)
def test_passes_are_those_that_happen(attack):
    net, x, y = net_and_images("tiny", 14)
    counts = {"forward": 0, "backward": 0}

    def count(module, inputs, output):
        counts["forward"] += 1
        if output.requires_grad:
            output.register_hook(lambda gradient: counts.update(backward=counts["backward"] + 1))

    net.register_forward_hook(count)
    attack(net, x, y, generator=generator())
    assert (counts["forward"], counts["backward"]) == attack.passes


def test_bf16_logits_are_judged_in_float32():
    """The loss of bf16 logits is that of the numbers they hold, and float64 is left alone."""
    logits = 4 * torch.randn(30, 10, generator=generator(3), dtype=torch.float64)
    y = torch.arange(30) % 10
    coarse = logits.bfloat16()
    for reduction in ("mean", "sum"):
        expected = torch.nn.functional.cross_entropy(coarse.double(), y, reduction=reduction)
        loss = attacks.cross_entropy(coarse, y, reduction)
        assert loss.dtype == torch.float32
        assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert attacks.cross_entropy(logits, y).dtype == torch.float64


printed = st.integers(1, 10**7) | st.floats(1e-6, 1e7) | st.sampled_from([0.8, 1 / 3, 8 / 3, 1.25, 1e-5, 2.5e6])


@given(kind=st.sampled_from(KINDS), n1=printed, n2=st.integers(1, 999), restarts=st.integers(1, 99))
def test_print_and_parse_are_inverse(kind, n1, n2, restarts):
    steps = {"n1": n1, "n2": n2} if kind in ("BIM", "Madry", "CW") else {}
    again = {"restarts": restarts} if kind in ("R+FGSM", "Madry") else {}
    attack = Attack(kind=kind, epsilon=0.3, **steps, **again)
    assert Attack.parse(str(attack), epsilon=0.3) == attack


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FGSM", Attack(kind="FGSM", epsilon=0.1)),
        ("R+FGSM", Attack(kind="R+FGSM", epsilon=0.1)),
        ("R+FGSMx3", Attack(kind="R+FGSM", epsilon=0.1, restarts=3)),
        (" BIM(10,40) ", Attack(kind="BIM", epsilon=0.1, n1=10, n2=40)),
        ("BIM(0.8, 4)", Attack(kind="BIM", epsilon=0.1, n1=0.8, n2=4)),
        ("Madry(20,50)x10", Attack(kind="Madry", epsilon=0.1, n1=20, n2=50, restarts=10)),
    ],
)
def test_the_papers_notation_is_read(text, expected):
    assert Attack.parse(text, epsilon=0.1) == expected
    assert str(Attack(kind="BIM", epsilon=0.1, n1=10.0, n2=40)) == "BIM(10,40)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "Madri"}, r"attack = 'Madri' .*did you mean 'Madry'.*allowed: FGSM, R\+FGSM, BIM, Madry"),
        ({"labels": "predict"}, "labels = 'predict' .*did you mean 'predicted'.*allowed: true, predicted"),
        ({"projection": "none"}, "projection = 'none' .*allowed: ball, literal"),
        ({"mode": "test"}, "attack mode = 'test' .*allowed: eval, train"),
        ({"epsilon": 0}, "epsilon = 0 must be above 0"),
        ({"epsilon": -0.1}, "epsilon = -0.1 must be above 0"),
        ({"epsilon": math.nan}, "epsilon = nan must be a finite number"),
        ({"epsilon": math.inf}, "epsilon = inf must be a finite number"),
        ({"epsilon": "0.3"}, "epsilon = '0.3' must be a finite number"),
        ({"epsilon": True}, "epsilon = True must be a finite number"),
        ({"n1": 0}, "n1 = 0 must be above 0"),
        ({"n1": -2.5}, "n1 = -2.5 must be above 0"),
        ({"n1": None}, "n1 = None must be a finite number"),
        ({"n2": 0}, "n2 = 0 must be at least 1"),
        ({"n2": 2.0}, "n2 = 2.0 must be a whole number of at least 1"),
        ({"n2": True}, "n2 = True must be a whole number of at least 1"),
        ({"restarts": 0}, "restarts = 0 must be at least 1"),
        ({"restarts": 2}, "restarts = 2 changes nothing: BIM has no random start"),
    ],
)
def test_bad_settings_say_what_is_allowed(settings, message):
    with pytest.raises(InputError, match=message):
        Attack(**({"kind": "BIM", "epsilon": 0.3, "n1": 10, "n2": 20} | settings))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not understood; write FGSM"),
        ("BIM 10 40", "is not understood; write FGSM"),
        ("BIM(10)", "is not understood; write FGSM"),
        ("BIM(10,4.5)", "is not understood; write FGSM"),
        ("BIM(-1,40)", "is not understood; write FGSM"),
        ("BIM(1.2.3,40)", "is not understood; write FGSM"),
        ("BIM(.,40)", "is not understood; write FGSM"),
        ("BMI(10,40)", r"attack = 'BMI' .*did you mean 'BIM'.*allowed: FGSM, R\+FGSM, BIM, Madry"),
        ("BIM", r"BIM, Madry and CW take \(n1,n2\)"),
        ("FGSM(10,40)", "FGSM, R[+]FGSM none"),
        ("BIM(0,40)", "n1 = 0 must be above 0"),
        ("BIM(10,0)", "n2 = 0 must be at least 1"),
        ("Madry(10,40)x0", "restarts = 0 must be at least 1"),
        ("BIM(10,40)x3", "BIM has no random start"),
    ],
)
def test_bad_notation_says_what_is_allowed(text, message):
    with pytest.raises(InputError, match=message):
        Attack.parse(text, epsilon=0.3)


@pytest.mark.parametrize("epsilon", ["0.3", 0.0, None, math.nan])
@pytest.mark.parametrize("attack", [fgsm, r_fgsm, bim, madry])
def test_an_attack_as_a_function_checks_epsilon_before_it_starts(attack, epsilon):
    steps = {"n1": 2, "n2": 3} if attack in (bim, madry) else {}
    x, y = images(4, 2)
    with pytest.raises(InputError, match="epsilon = "):
        attack(tiny_net(0), x, y, epsilon=epsilon, **steps)


def test_a_restart_is_made_where_the_true_label_still_stands():
    net, (x, _) = tiny_net(11, classes=3), images(11, 100, classes=3)
    y = (attacks.predict(net, x) + 1) % 3  # wrong when clean: whoever is still wrong has fallen
    once = Attack(kind="Madry", epsilon=0.1, n1=10, n2=1, labels="predicted")
    first = once(net, x, y, generator=generator(2))
    best = replace(once, restarts=4)(net, x, y, generator=generator(2))
    fallen = attacks.predict(net, first) != y
    assert fallen.sum() > 50
    assert torch.equal(best[fallen], first[fallen])
