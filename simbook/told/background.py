r"""What chapter 2 found, in sentences whose every number is computed."""

import pandas as pd

from simbook.tables.background import AS, ITERATED, SINGLE, against_fgsm


def of_epsilon(share: float) -> str:
    """Return a share of epsilon as a reader writes it: ``ε``, ``0.25 ε`` (outputs know no LaTeX)."""
    return "ε" if share == 1 else f"{share:g} ε"


def by_net(sentences: dict[str, list[str]]) -> str:
    """Return what was found of each net as a Markdown list."""
    lines = [f"- **{net}.** {' '.join(said)}" for net, said in sentences.items()]
    return "\n".join(lines) or "Nothing was run yet, so nothing was found."


def fooled(power: pd.DataFrame) -> str:
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
    return by_net(said)


def stronger(power: pd.DataFrame, path: pd.DataFrame) -> str:
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
    return by_net(said)


def ball(path: pd.DataFrame) -> str:
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
    return by_net(said)
