r"""The tables of chapter 2: what the attacks did to undefended nets, and what that says of section 2's claims."""

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
from simbook.settings import Settings
from simbook.tables import judging, spread
from simbook.tables.common import NAMES, Found, share_of, title
from simbook.tables.evaluation import accuracies

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


def judge(ours: float, low: float, high: float, *, above: float = 0.0) -> str:
    """Return the verdict on the claim that ``ours`` is above a number, undecided where its interval has it inside."""
    said = judging.by_sign(ours - above)
    inside = low < above < high or (said == judging.HOLDS and low <= above)
    return judging.UNDECIDED if inside else said


def tested(power: pd.DataFrame, path: pd.DataFrame, rows: pd.DataFrame) -> list[tuple[float, float, float]]:
    """Return the number of each claim with its interval, NaN where not run: C2.1, C2.2, C2.3 of one net."""
    found: list[tuple[float, float, float]] = [(math.nan,) * 3] * 3
    # of the whole test set, the first images of which may be easier than the rest
    single, others = rows[rows.attack.eq("FGSM")], rows[~rows.attack.isin(["Original", "FGSM"])]
    gaps = [spread.difference(single, of) for _, of in others.groupby("attack")]
    known = [] if any(math.isnan(gap.value) for gap in gaps) else gaps  # the weaker of two is of both
    for least in sorted(known, key=lambda gap: gap.value)[:1]:
        found[0] = (least.value, least.value - least.half, least.value + least.half)
    full = power[power.share == 1]
    if len(full):
        of_attack = full.set_index("attack")
        found[1] = share_of(of_attack.turned[ITERATED[0]], of_attack.correct["Original"])
    if len(path):
        last = path[path.rule == AS["literal"]].iloc[-1]
        found[2] = share_of(last.outside, last.images)
    return found


def claims(power: pd.DataFrame, path: pd.DataFrame, frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return section 2's claims, C2.1 to C2.3, as numbers with their 95 % interval that must be above another.

    Args:
        power, path: what :func:`strength` and :func:`steps` return; Vanilla decides.
        frame: :func:`simbook.tables.evaluation.accuracies`, of the whole test set.
    """
    names = {
        "C2.1": ("accuracy under FGSM less that under the weaker of BIM and Madry (points)", 0),
        "C2.2": ("images turned by BIM(10,40) of those classified correctly (%)", 50),
        "C2.3": ("images outside the ball after BIM(10,40) as printed (%)", 0),
    }
    ours = tested(*(of[of.dataset.eq(dataset) & of.method.eq("vanilla")] for of in (power, path, frame)))
    rows = printed(dataset)
    both = set(ITERATED) <= rows.keys()
    papers = [rows["FGSM"] - max(rows[attack] for attack in ITERATED) if both else None, None, None]
    judged = []
    for (claim, (what, above)), (value, low, high), of_paper in zip(names.items(), ours, papers, strict=True):
        text = value if math.isnan(value) else f"{value:.2f} [{low:.2f}, {high:.2f}]"
        judged.append((claim, f"{what} > {above}", text, of_paper, judge(value, low, high, above=above)))
    return judging.parts(judged)


def verdicts(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.tables.judging.gathered`."""
    power, path, frame = strength(found, store=store), steps(found, store=store), accuracies(found, store=store)
    return judging.gathered({dataset: [claims(power, path, frame, dataset)] for dataset in settings.datasets})


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


def of_epsilon(share: float) -> str:
    """Return a share of epsilon as a reader writes it: ``ε``, ``0.25 ε`` (outputs know no LaTeX)."""
    return "ε" if share == 1 else f"{share:g} ε"


def told(sentences: dict[str, list[str]]) -> str:
    """Return what was found of each net as a Markdown list."""
    lines = [f"- **{net}.** {' '.join(said)}" for net, said in sentences.items()]
    return "\n".join(lines) or "Nothing was run yet, so nothing was found."


def told_fooled(power: pd.DataFrame) -> str:
    """Return what was found of C2.2: how little fools each net."""
    said = {}
    for net, part in power.groupby("net", sort=False):
        table = part.pivot(index="share", columns="attack", values="accuracy")
        full, images = table.loc[1.0], part.images.iloc[0]
        left = ", ".join(f"{attack} {full[attack]:.1f} %" for attack in (*SINGLE, *ITERATED))
        below = [share for share in table.index if table.loc[share, ITERATED[0]] < 50]
        said[net] = [
            f"Of {images:,} test images {full['Original']:.1f} % are classified correctly.",
            f"Within ε = {part.epsilon.iloc[0]:.3g} the attacks leave: {left}.",
            f"The smallest size tried at which {ITERATED[0]} leaves fewer than half right is {of_epsilon(below[0])}."
            if below
            else f"{ITERATED[0]} leaves more than half right at every size tried.",
        ]
    return told(said)


def told_stronger(power: pd.DataFrame, path: pd.DataFrame) -> str:
    """Return what was found of C2.1: iterated against single-step examples, in errors and in loss."""
    pairs, said = against_fgsm(power), {}
    for net, part in pairs[pairs.attack == ITERATED[0]].groupby("net", sort=False):
        widest, full = part.loc[part.points.idxmax()], part[part.share == 1].iloc[0]
        single = power[(power.net == net) & (power.share == 1) & (power.attack == "FGSM")].loss.item()
        ball = path[(path.net == net) & (path.rule == AS["ball"])]
        passed = ball[ball.loss > single].step
        said[net] = [
            f"At ε, {full.only_attack:,} of {full.images:,} images fall to {full.attack} and not to FGSM, "
            f"{full.only_fgsm:,} the other way round.",
            f"The gap is widest at {of_epsilon(widest.share)}: {widest.points:.1f} points "
            f"(95 % interval {widest.low:.1f} to {widest.high:.1f}).",
            f"The mean loss at ε is {full.loss_ratio:.1f} times FGSM's.",
            f"{full.attack} passes FGSM's loss at step {passed.iloc[0]} of {ball.step.iloc[-1]}."
            if len(passed)
            else f"{full.attack} never passes FGSM's loss.",
        ]
    return told(said)


def told_ball(path: pd.DataFrame) -> str:
    """Return what was found of C2.3: where each reading of Eq. 3 ends."""
    said = {}
    for net, part in path.groupby("net", sort=False):
        literal, ball = (part[part.rule == AS[rule]].set_index("step") for rule in ("literal", "ball"))
        end, projected, left = literal.iloc[-1], ball.iloc[-1], literal[literal.outside > 0].outside
        said[net] = [
            f"As printed, {left.iloc[0]:,} of {end.images:,} examples are outside the ball after step {left.index[0]}, "
            "and none before."
            if len(left)
            else "As printed, no example leaves the ball.",
            f"After step {end.name} they are {end.distance:.2f} ε from their originals on average; "
            f"projected, none is ever farther than {ball.farthest.max():.2f} ε.",
            f"Their mean loss is {end.loss:.1f}, projected {projected.loss:.1f}; "
            f"the accuracy {end.accuracy:.1f} %, projected {projected.accuracy:.1f} %.",
        ]
        if abs(end.accuracy - projected.accuracy) < 1:
            said[net].append("On this net accuracy alone does not show the difference.")
    return told(said)
