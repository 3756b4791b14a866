r"""The tables of chapter 2: what the attacks did to undefended nets."""

import base64
import math

import numpy as np
import pandas as pd
from torch import Tensor

from simadv.attacks import Attack
from simadv.store import Store, default
from simbook import paper
from simbook.measures.base import Measure
from simbook.measures.gallery import LITERAL, Climb, Gallery
from simbook.tables.common import NAMES, Found, share_of, title

SINGLE, ITERATED = ("FGSM", "R+FGSM"), ("BIM(10,40)", "Madry(10,40)")
AS = {"ball": "projected onto the ball", "literal": "Eq. 3 as printed"}
CLASS_NAMES = {
    "fmnist": ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"],
    "cifar10": ["airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
}
Z95 = 1.959964


def stored(found: Found, measure: Measure, store: Store | None) -> list[tuple[dict, dict]]:
    """Return who a net is (``dataset, net, method, run, epsilon``) and what was measured of it, where it was."""
    store = store or default()
    pairs = [(spec, store.evaluation(run, measure) if run else None) for spec, run in found]
    return [
        (
            {
                "dataset": spec.dataset,
                "net": f"{NAMES[spec.dataset]}: {title(spec)}",
                "method": spec.method,
                "run": spec.id,
                "epsilon": spec.epsilon,
            },
            result,
        )
        for spec, result in pairs
        if result is not None
    ]


def not_run(found: Found, frame: pd.DataFrame) -> str:
    """Return a line of Markdown that names the nets of which ``frame`` holds nothing."""
    names = [f"{NAMES[spec.dataset]}: {title(spec)}" for spec, _ in found if spec.id not in set(frame["run"])]
    return (
        f"Not run or not measured yet: {', '.join(names)}."
        if names
        else "Every net of this chapter was run and measured."
    )


def threat(found: Found) -> pd.DataFrame:
    """Return how far an attack may move a pixel on each data set."""
    sizes = {spec.dataset: spec.epsilon for spec, _ in found}
    rows = [
        {"data set": NAMES[name], "epsilon": f"{size:.4g}", "grey levels of 255": f"{255 * size:.4g}"}
        for name, size in sizes.items()
    ]
    return pd.DataFrame(rows).set_index("data set")


def pictures(found: Found, *, store: Store | None = None) -> pd.DataFrame:
    """Return one row for each image and attack of the gallery, clean images first.

    Columns: ``dataset, net, method, run, epsilon, image, attack, label, predicted`` (class names), ``fooled,
    confidence`` (%), ``distance`` (units of epsilon), ``pixels`` (C, H, W) in [0, 1].
    """
    rows = []
    for who, result in stored(found, Gallery(), store):
        pixels = np.frombuffer(base64.b64decode(result["pixels"]), np.uint8).reshape(result["shape"]) / 255
        names = CLASS_NAMES.get(who["dataset"], [str(digit) for digit in range(10)])
        for i, attack in enumerate(result["rows"]):
            for j, label in enumerate(result["label"]):
                said = result["predicted"][i][j]
                row = {"image": result["index"][j], "attack": attack, "label": names[label], "predicted": names[said]}
                row |= {"fooled": said != label, "pixels": pixels[i, j]}
                row |= {name: result[name][i][j] for name in ("confidence", "distance")}
                rows.append(who | row)
    columns = ["dataset", "net", "method", "run", "epsilon", "image", "attack", "label", "predicted", "fooled"]
    return pd.DataFrame(rows, columns=[*columns, "confidence", "distance", "pixels"])


def seen(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what the gallery shows as a table: the prediction and its confidence by image and attack."""
    if frame.empty:
        return pd.DataFrame({"net": [], "image": []}).set_index(["net", "image"])
    said = frame.predicted + " (" + frame.confidence.map("{:.1f}".format) + " %)"
    table = frame.assign(said=said, image=frame.image.map("no. {}: ".format) + frame.label)
    wide = table.pivot_table(index=["net", "image"], columns="attack", values="said", aggfunc="first", sort=False)
    farthest = frame[frame.attack != LITERAL].groupby("net").distance.max()
    wide["farthest (epsilon)"] = [f"{farthest[net]:.3f}" for net, _ in wide.index]
    return wide.drop(columns=LITERAL).rename_axis(columns=None)


def counts(patterns: dict[str, int], attacks: list[str]) -> pd.DataFrame:
    """Return whether each kind of image (a row, ``count`` of them) is misclassified under each attack."""
    frame = pd.DataFrame([[digit == "1" for digit in key] for key in patterns], columns=attacks)
    return frame.assign(count=list(patterns.values()))


def strength(found: Found, *, store: Store | None = None) -> pd.DataFrame:
    """Return accuracy (%) under each attack at each share of epsilon, and the mean loss.

    Columns: those of a net, ``images, share, attack, accuracy, low, high`` (Wilson's 95 % interval), ``loss``; and how
    many images are ``correct``; ``turned``: correct when clean, not here; ``only_attack``: fooled, but not by FGSM;
    ``only_fgsm``: the reverse.
    """
    rows = []
    for who, result in stored(found, Climb(), store):
        images = result["images"]
        for share, patterns, losses in zip(result["shares"], result["patterns"], result["losses"], strict=True):
            kinds = counts(patterns, result["attacks"])
            clean, single = kinds["Original"], kinds["FGSM"]
            for attack, loss in zip(result["attacks"], losses, strict=True):
                wrong = kinds[attack]
                asked = {"correct": ~wrong, "turned": ~clean & wrong}
                asked |= {"only_attack": ~single & wrong, "only_fgsm": single & ~wrong}
                row = who | {"images": images, "share": share, "attack": attack, "loss": loss}
                row |= {name: int(kinds["count"][which].sum()) for name, which in asked.items()}
                rows.append(row | dict(zip(("accuracy", "low", "high"), share_of(row["correct"], images), strict=True)))
    columns = ["dataset", "net", "method", "run", "epsilon", "images", "share", "attack", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "loss", "correct", "turned", "only_attack", "only_fgsm"])


def difference(more: int, less: int, images: int) -> tuple[float, float, float]:
    """Return the paired difference ``(more - less) / images`` in points and its 95 % interval (Bonett and Price 2012).

    Args:
        more, less: how many images count for the first alone, and for the second alone.
    """
    p, q, total = (more + 1) / (images + 2), (less + 1) / (images + 2), images + 2
    spread = Z95 * math.sqrt((p + q - (p - q) ** 2) / total)
    return 100 * (more - less) / images, 100 * max(p - q - spread, -1), 100 * min(p - q + spread, 1)


def steps(found: Found, *, store: Store | None = None) -> pd.DataFrame:
    """Return one row for each step of BIM(10,40) under each reading of Eq. 3.

    Columns: those of a net, ``images, rule`` (a value of :data:`AS`), ``step, accuracy`` (%), ``loss`` between its
    quartiles ``loss_low, loss_high``, ``distance, farthest`` (mean and greatest, units of epsilon), ``outside``.
    """
    kinds = ("loss", "loss_low", "loss_high", "distance", "farthest", "outside")
    rows = []
    for who, result in stored(found, Climb(), store):
        for rule, name in AS.items():
            for step, wrong in enumerate(result[rule]["wrong"]):
                row = {"images": result["images"], "rule": name, "step": step}
                row["accuracy"] = 100 - 100 * wrong / result["images"]
                rows.append(who | row | {kind: result[rule][kind][step] for kind in kinds})
    columns = ["dataset", "net", "method", "run", "epsilon", "images", "rule", "step", "accuracy", *kinds]
    return pd.DataFrame(rows, columns=columns)


def printed(dataset: str) -> dict[str, float]:
    """Return Table 3's accuracies of Vanilla, of those attacks that this chapter runs as the paper does."""
    rows = paper.TABLE3.get(dataset, {})
    names = {"Original": "Original"} | {attack: attack for attack in ("FGSM", *ITERATED)}
    return {name: rows[attack]["vanilla"] for name, attack in names.items() if attack in rows}


def strength_table(frame: pd.DataFrame, found: Found) -> pd.DataFrame:
    """Return accuracy as text: a row for each net and share of epsilon, a row for Table 3's Vanilla."""
    lines = []
    for spec, _ in found:
        rows = frame[frame["run"] == spec.id]
        net = f"{NAMES[spec.dataset]}: {title(spec)}"
        for share, part in rows.groupby("share", sort=False):
            cells = {row.attack: f"{row.accuracy:.1f}" for row in part.itertuples()}
            lines.append({"net": net, "epsilon times": f"{share:g}", "source": "ours"} | cells)
        if rows.empty:
            lines.append({"net": net, "epsilon times": "1", "source": "ours", "Original": "not run"})
        if spec.method == "vanilla" and printed(spec.dataset):
            cells = {name: f"{value:.2f}" for name, value in printed(spec.dataset).items()}
            lines.append({"net": net, "epsilon times": "1", "source": "paper, Table 3"} | cells)
    columns = ["net", "epsilon times", "source", "Original", *SINGLE, *ITERATED]
    return pd.DataFrame(lines, columns=columns).fillna("-").set_index(columns[:3])


def against_fgsm(frame: pd.DataFrame) -> pd.DataFrame:
    """Return for each net, share of epsilon and iterated attack how far it leaves FGSM behind, image by image.

    Columns: ``net, run, share, attack, images, only_attack, only_fgsm, points, low, high`` and ``loss_ratio``, the
    attack's mean loss over FGSM's.
    """
    rows = []
    for (net, run, share), part in frame.groupby(["net", "run", "share"], sort=False):
        single = part[part.attack == "FGSM"].loss.item()
        for row in part[part.attack.isin(ITERATED)].itertuples():
            points, low, high = difference(row.only_attack, row.only_fgsm, row.images)
            rows.append((net, run, share, row.attack, row.images, row.only_attack, row.only_fgsm))
            rows[-1] += (points, low, high, row.loss / single)
    columns = ["net", "run", "share", "attack", "images", "only_attack", "only_fgsm", "points", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "loss_ratio"])


def pairs_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`against_fgsm` of the rows of :func:`strength` under the names that a reader needs."""
    pairs = against_fgsm(frame)
    shown = pairs[["net", "attack"]].assign(**{"epsilon times": pairs.share.map("{:g}".format)})
    shown["only this fools"], shown["only FGSM fools"] = pairs.only_attack, pairs.only_fgsm
    known = zip(pairs.points, pairs.low, pairs.high, strict=True)
    shown["FGSM's accuracy less this one's"] = [f"{points:.1f} [{low:.1f}, {high:.1f}]" for points, low, high in known]
    shown["mean loss / FGSM's"] = pairs.loss_ratio.map("{:.2f}".format)
    return shown.set_index(["net", "epsilon times", "attack"])


def points(x: Tensor, y: Tensor) -> pd.DataFrame:
    """Return images of two pixels as ``first, second, label``."""
    pixels = x.flatten(1).numpy()
    return pd.DataFrame({"first": pixels[:, 0], "second": pixels[:, 1], "label": y.numpy()})


def costs() -> pd.DataFrame:
    """Return what an example of each attack costs: gradients, and F as the notation counts them."""
    rows = []
    for name in (*SINGLE, *ITERATED):
        forward, backward = Attack.parse(name, epsilon=1.0).passes
        rows.append({"attack": name, "gradients": backward, "F an image": forward + backward})
    return pd.DataFrame(rows).set_index("attack")
