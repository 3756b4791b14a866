r"""The figures of chapter 7: accuracy against passes, reset policies, stale gradients, and larger balls."""

import re
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator

from simbook.measures.survival import RADII
from simbook.plots.style import COLOURS, SMALL, WIDTH, name_points, nothing_yet, shared_legend
from simbook.tables.common import named
from simbook.tables.survival import CHANCE, seen

BLUE, GREY, DARK = COLOURS[0], COLOURS[7], (0.15, 0.15, 0.15)
# a hue a family, a marker for each kind in it
FAMILIES = {
    "SIM-Adv": (BLUE, "o"),
    "SIM-Adv, no reset": (BLUE, "s"),
    "SIM-Adv, other resets": (BLUE, "^"),
    "SIM-Adv, k steps": (BLUE, "D"),
    "free-SIM": (COLOURS[4], "v"),
    "ATTA-1": (COLOURS[5], "P"),
    "BIM-Adv": (COLOURS[3], "*"),
    "FGSM-MEP": (COLOURS[2], "X"),
    "RS-FGSM": (GREY, "<"),
    "N-FGSM": (GREY, ">"),
    "Free-Adv": (COLOURS[1], "p"),
    "Vanilla": (DARK, "h"),
}
# of these the first setting is followed through training, and free-SIM's best
FOLLOWED = {"SIM-Adv": "-", "SIM-Adv, no reset": (0, (4, 1)), "ATTA-1": "-", "FGSM-MEP": "-", "BIM-Adv": "-"}
SHOWN = (0.05, 0.95)  # the shares that an axis of odds has room for
NO_RESET = re.compile(r"free-SIM\(([\d.]+)\), no reset(?:, (.+))?$")
ASIDE = {"fresh": (COLOURS[3], "--"), "momentum": (COLOURS[1], (0, (1, 1)))}  # what free-SIM is shown with besides n1
WEIGHTS = {"pixels": "each pixel once", "weighted": "by size of gradient"}
REFERENCES = ("sim", "bim", "vanilla")  # of the paper, beside any other net
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))  # tell nets of one family apart


def family(method: str, reset: str | None) -> str:
    """Return which of :data:`FAMILIES` a run belongs to."""
    of_sim = {"cycle": "SIM-Adv", "never": "SIM-Adv, no reset"}
    others = {"sim-k": "SIM-Adv, k steps", "free-sim": "free-SIM", "atta": "ATTA-1", "mep": "FGSM-MEP"}
    others |= {"bim": "BIM-Adv", "rs-fgsm": "RS-FGSM", "n-fgsm": "N-FGSM", "free": "Free-Adv", "vanilla": "Vanilla"}
    return of_sim.get(reset, "SIM-Adv, other resets") if method == "sim" else others[method]


def passes(curves: pd.DataFrame, *, title: str) -> Figure:
    """Draw robust accuracy against the passes spent, a row a data set: where runs end, and how some of them got there.

    Accuracy is the mean of the last :data:`simbook.tables.beyond.LATE` epochs and of the seeds, with their range where
    runs end; those of as many passes stand beside each other. Its axis is one of odds, so that 80 and 90 % are as far
    apart as 20 and 10 %. What is trained by Eq. 15 as printed is left out.

    Args:
        curves: as :func:`simbook.tables.beyond.curves` makes them.
    """
    there = late(curves[curves.projection.ne("literal")])
    if there.empty:
        return nothing_yet(title)
    names = list(there.dataset.unique())
    figure, grid = plt.subplots(len(names), 2, figsize=(WIDTH, 0.9 + 3.5 * len(names)), sharey=True, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    for (left, right), name in zip(grid, names, strict=True):
        lines = there[there.dataset == name]
        last = lines.groupby("title", sort=False).tail(1)
        odds(left, last.F.min(), last.F.max(), subs=(1, 2, 5))
        odds(right, lines.F.min(), 4 * last.F.max(), subs=(1,))  # the legend has its place on the right
        ends(left, last)
        ways(right, lines, last)
        left.set(title=f"{named(name)}, where runs end", ylabel="accuracy under\nthe monitor's BIM (%)")
        right.set(title=f"{named(name)}, on the way")
    shared_legend(figure, ncols=4)
    sns.despine(figure)
    return figure


def withstanding(bars: pd.DataFrame, attack: str, *, title: str) -> Figure:
    """Draw what an attack leaves of final nets against all passes that they took, a panel a data set.

    A mark is the mean of the seeds that met the attack, a line the range of several; marks of as many passes stand
    beside each other. The axes are those of :func:`passes`; what is trained by Eq. 15 as printed is left out.

    Args:
        bars: as :func:`simbook.tables.beyond.bars` makes them.
    """
    there = bars[bars[attack].notna() & bars.projection.ne("literal")]
    if there.empty:
        return nothing_yet(title)
    names = list(there.dataset.unique())
    figure, grid = plt.subplots(1, len(names), figsize=(WIDTH, 4.6), sharey=True, squeeze=False, layout="constrained")
    for axes, name in zip(grid.flat, names, strict=True):
        last = there[there.dataset == name].assign(share=lambda rows: rows[attack].astype(float) / 100)
        last["family"] = [family(row.method, row.reset) for row in last.itertuples()]
        odds(axes, last.F.min(), last.F.max(), subs=(1, 2, 5))
        met = last.get(f"{attack} by seed", pd.Series(None, last.index, dtype=object))
        several = [by_seed.values() if isinstance(by_seed, dict) else [np.nan] for by_seed in met]
        ranges = {name: [of(values) / 100 for values in several] for name, of in (("low", min), ("high", max))}
        ends(axes, last.assign(**ranges))
        axes.set(title=named(name))
    grid[0, 0].set_ylabel(f"final net under {attack} (%)")
    shared_legend(figure, ncols=4)
    sns.despine(figure)
    return figure


def late(curves: pd.DataFrame) -> pd.DataFrame:
    """Return a line a setting: its ``family``, and by epoch and ``F`` the ``share`` (0 to 1) that the last epochs have.

    ``share`` is the mean of the seeds, ``low`` and ``high`` are the least and the most that one of them has.
    """
    lines = [curves.assign(share=0.0, family="").iloc[:0]]
    for _, line in curves.groupby(["dataset", "run"], sort=False):
        share = line.robust.astype(float).rolling(line.late.iloc[0], min_periods=1).mean() / 100
        of = family(line.method.iloc[0], line.reset.iloc[0])
        lines.append(line.assign(share=share, F=line.F.astype(float), family=of))
    by_setting = pd.concat(lines[1:] or lines).groupby(["dataset", "title", "family", "epoch", "F"], sort=False)
    return by_setting.agg(share=("share", "mean"), low=("share", "min"), high=("share", "max")).reset_index()


def beside(last: pd.DataFrame, *, by: float = 0.03) -> pd.Series:
    """Return where settings are drawn: at their passes, those of as many ``by`` a share to either side at the most."""
    groups = last.groupby("F").share
    places, count = groups.rank(method="first", ascending=False) - 1, groups.transform("size")
    return last.F * (1 + by) ** (2 * places / (count - 1).clip(lower=1) - (count > 1))


def odds(axes: Axes, least: float, most: float, *, subs: tuple[int, ...]) -> None:
    """Set axes up: passes from ``least`` to ``most`` by their logarithm, accuracy by its odds."""
    axes.set(xscale="log", yscale="logit", xlim=(0.8 * least, 1.6 * most), ylim=SHOWN, xlabel="passes an image (F)")
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95]))
    axes.yaxis.set_major_formatter(lambda value, _: ("≤" if value <= SHOWN[0] else "") + f"{100 * value:.0f}")
    axes.yaxis.set_minor_locator(NullLocator())


def front(last: pd.DataFrame) -> pd.DataFrame:
    """Return the settings that no other beats with as few passes or fewer, from the cheapest on."""
    ordered = last.sort_values(["F", "share"], ascending=[True, False], kind="stable")
    return ordered[ordered.share > ordered.share.cummax().shift(fill_value=-1)]


def followed(last: pd.DataFrame) -> pd.DataFrame:
    """Return the settings whose training is worth a line: the first of :data:`FOLLOWED`, and free-SIM's best."""
    firsts = last[last.family.isin(list(FOLLOWED))].drop_duplicates("family")
    return pd.concat([firsts, last[last.family == "free-SIM"].nlargest(1, "share")])


def ends(axes: Axes, last: pd.DataFrame) -> None:
    """Draw where runs end, and the Pareto front; named are those on it, and the first setting of each method."""
    last = last.assign(x=beside(last))
    best = front(last)
    passes, share = [*best.F, axes.get_xlim()[1]], best.share.iloc[[*range(len(best)), -1]].clip(*SHOWN)
    axes.step(passes, share, where="post", color="0.55", lw=0.9)
    for row in last.itertuples():
        axes.vlines(
            row.x, *np.clip([row.low, row.high], *SHOWN), color=FAMILIES[row.family][0], lw=1.2, alpha=0.6, zorder=2
        )
    for i, (kind, (hue, marker)) in enumerate(FAMILIES.items()):
        of = last[last.family == kind]
        look = {"color": hue, "marker": marker, "ls": "", "ms": 10 if marker == "*" else 7, "mec": "white", "mew": 0.7}
        # a family of one setting is named in the panel; the first family lies on top
        label = kind if len(of) > 1 else f"_{kind}"
        axes.plot(of.x, of.share.clip(*SHOWN), label=label, zorder=4 - i / 100, clip_on=False, **look)
    alone = last[~last.family.duplicated(keep=False)]
    named_ = pd.concat([best, followed(last), alone]).drop_duplicates("title")
    # what ends on the right, BIM-Adv, is named beside its marker, the others in a column below it
    here, there = name_places(axes, named_, at=0.6)
    for x, y, name, _ in there:
        about = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": SMALL}
        axes.annotate(name, (x, y), xytext=(0, 16), **about)
    heights = [(axes.transScale + axes.transLimits).transform((x, y))[1] for x, y, _, _ in there]
    name_points(axes, here, at=0.6, high=min([1.0, *heights]) - 0.05)


def short(name: str) -> str:
    """Return a title without ``-Adv`` and ``no reset``: one number in its brackets says that there is no n2."""
    return name.replace(")-Adv", ")").replace(", no reset", "")


def name_places(axes: Axes, last: pd.DataFrame, *, at: float) -> tuple[list[tuple], list[tuple]]:
    """Return where some settings end, those left of the share ``at`` of the axes and the others.

    Each is x, y, name and hue.
    """
    sides = [], []
    for row in last.itertuples():
        y = float(np.clip(row.share, *SHOWN))
        right = int((axes.transScale + axes.transLimits).transform((row.x, y))[0] > at)
        sides[right].append((row.x, y, short(row.title), FAMILIES[row.family][0]))
    return sides


def ways(axes: Axes, lines: pd.DataFrame, last: pd.DataFrame) -> None:
    """Draw the training of the settings that :func:`followed` chooses, the highest end first in the legend."""
    chosen, handles = followed(last).sort_values("share", ascending=False, kind="stable"), {}
    for row in chosen.itertuples():
        line, (hue, marker) = lines[lines.title == row.title], FAMILIES[row.family]
        share, dash = line.share.clip(*SHOWN), FOLLOWED.get(row.family, "-")
        look = {"color": hue, "ls": dash, "lw": 1.3, "marker": marker, "ms": 7, "mec": "white", "mew": 0.7}
        axes.plot(line.F, share, markevery=[-1], clip_on=False, **look)
        handles[short(row.title).replace(", ", ",\n")] = plt.Line2D([], [], **look)
    about = {"loc": "lower right", "fontsize": SMALL, "labelspacing": 0.3, "handlelength": 3.5, "borderaxespad": 0}
    axes.legend(handles.values(), handles.keys(), **about)


def policies(lines: dict[str, dict[str, pd.DataFrame]], *, n2: int) -> Figure:
    """Draw SIM-Adv's robust accuracy by epoch over the share of examples at full strength.

    A row a data set and a column a reset policy.

    Args:
        lines: by data set what :func:`simbook.tables.beyond.policies` makes.
    """
    size = {"figsize": (WIDTH, 1.2 + 2.3 * len(lines)), "layout": "constrained"}
    figure, grid = plt.subplots(len(lines), 4, sharex="row", sharey=True, squeeze=False, **size)
    for row, (dataset, each) in zip(grid, lines.items(), strict=True):
        for axes, (reset, line) in zip(row, each.items(), strict=True):
            policy(axes, line)
            if reset in ("cycle", "random"):
                for epoch in range(n2, int(line.epoch.max()), n2):
                    axes.axvline(epoch + 0.5, color="0.45", ls=":", lw=1)
            count = line.seeds.max()
            seeds = "" if pd.isna(count) else f"\n{count:.0f} seed{'s' * int(count > 1)}"
            axes.set(title=f"{named(dataset)}, {reset}{seeds}", ylim=(-3, 103))
            axes.title.set_size(SMALL + 0.5)
        row[0].set_ylabel("accuracy, share (%)")
    for axes in grid[-1]:
        axes.set_xlabel("epochs trained")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    sns.despine(figure)
    return figure


def policy(axes: Axes, line: pd.DataFrame) -> None:
    """Draw one reset policy: how strong its examples are, clean accuracy, and the robust one over the seeds."""
    full = {"color": "0.85", "lw": 0, "step": "mid", "label": "examples with n1 steps behind them"}
    axes.fill_between(line.epoch, line.full, **full)
    fools = {"color": DARK, "lw": 1.1, "ls": (0, (1, 1)), "label": "examples that fool the net in training"}
    axes.plot(line.epoch, line.wrong, **fools)
    axes.plot(line.epoch, line.clean, color=COLOURS[1], lw=1.2, ls=(0, (5, 1.5)), label="clean accuracy")
    axes.plot(line.epoch, line.robust, color=COLOURS[0], lw=1.3, label="under the monitor's BIM, mean")
    axes.fill_between(line.epoch, line.low, line.high, color=COLOURS[0], alpha=0.3, lw=0, label="range of the seeds")
    if line.robust.isna().all():
        axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)


def staleness(lines: pd.DataFrame, *, title: str) -> Figure:
    """Draw the share of signs that were still right an epoch later, by epoch; 50 % is chance.

    A column a data set; above each pixel counts once, below by the size of the fresh gradient. What differs in more
    than n1 is dashed, or left out with a note.

    Args:
        lines: as :func:`simbook.tables.beyond.staleness` makes them.
    """
    if lines.empty:
        return nothing_yet(title)
    names, looks = list(lines.dataset.unique()), ages(lines.title)
    size = {"figsize": (WIDTH, 6.2), "layout": "constrained"}
    figure, grid = plt.subplots(2, len(names), sharex=True, sharey=True, squeeze=False, **size)
    for row, (column, how) in zip(grid, WEIGHTS.items(), strict=True):
        for axes, name in zip(row, names, strict=True):
            part = lines[(lines.dataset == name) & lines.title.isin(list(looks))]
            axes.set(title=f"{named(name)}, {how}", xlim=(lines.epoch.min(), lines.epoch.max()))
            axes.set_ylim(lines[list(WEIGHTS)].min(axis=None) - 3, lines[list(WEIGHTS)].max(axis=None) + 3)
            aged(axes, part, column, looks)
        row[0].set_ylabel("signs still right (%)")
    left_out = [name for name in lines.title.unique() if name not in looks]
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    shared_legend(figure, ncols=2)
    if left_out:
        figure.legends[0].set_title(f"left out: {'; '.join(left_out)}", prop={"size": SMALL})
    sns.despine(figure)
    return figure


def ages(titles: pd.Series) -> dict[str, tuple]:
    """Return name, colour and dash of each run of free-SIM that :func:`staleness` shows: from light to dark by n1."""
    kinds = {name: found.groups() for name in titles.unique() if (found := NO_RESET.match(name))}
    plain = sorted((name for name, (_, more) in kinds.items() if more is None), key=lambda name: float(kinds[name][0]))
    shades = sns.color_palette("viridis_r", len(plain) + 1)[1:]  # the first is too light for a white ground
    looks = {name: (f"n1 = {kinds[name][0]}", shade, "-") for name, shade in zip(plain, shades, strict=True)}
    for name, (n1, more) in kinds.items():
        if more and (kind := more.split()[0]) in ASIDE:
            looks[name] = (f"n1 = {n1}, {more}", *ASIDE[kind])
    return looks


def aged(axes: Axes, lines: pd.DataFrame, column: str, looks: dict[str, tuple]) -> None:
    """Draw the lines of one data set and weighting; those by n1 are named where they end."""
    plain = []
    for name, line in lines.groupby("title", sort=False):
        label, hue, dash = looks[name]
        if dash == "-":
            plain.append((line.epoch.iloc[-1], line[column].iloc[-1], label, hue))
            axes.plot(line.epoch, line[column], color=hue, lw=1.8)
        else:
            axes.plot(line.epoch, line[column], color=hue, ls=dash, lw=1.3, label=label)
    axes.axhline(50, color="0.45", ls=":", lw=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name_points(axes, plain, at=1.05)


def flagged(nets: pd.DataFrame, *, most: int = 4) -> pd.DataFrame:
    """Return the nets that are worth a line each: the paper's own of a data set, and those with the most signs.

    Signs of masked gradients count above :data:`simbook.tables.survival.CHANCE`; of as many, larger ones come first.

    Args:
        nets: as :func:`simbook.tables.survival.survivors` makes them.
        most: how many are chosen by their signs.
    """
    chosen = [nets.iloc[:0]]
    for name, part in nets[nets.iterated.notna()].groupby("dataset", sort=False):
        signs = seen(part, name)
        signs = signs[signs > CHANCE]
        order = pd.DataFrame({"count": signs.count(axis=1), "sum": signs.sum(axis=1)})
        order = order[order["count"] > 0].sort_values(["count", "sum"], ascending=False, kind="stable")
        papers = list(part[part.method.isin(REFERENCES)].drop_duplicates("method").title)
        others = [net for net in order.index if net not in papers][:most]
        chosen.append(part[part.title.isin([*papers, *others])])
    return pd.concat(chosen[1:] or chosen)


def radii(nets: pd.DataFrame, *, title: str) -> Figure:
    """Draw accuracy under BIM against epsilon, from 0 to twice that of training, a panel a data set.

    Args:
        nets: as :func:`simbook.tables.survival.survivors` makes them, few enough to be told apart: :func:`flagged`.
    """
    there = nets[nets.iterated.notna()]
    if there.empty:
        return nothing_yet(title)
    names, looks = list(there.dataset.unique()), lines_of(there)  # a net looks the same in every panel
    size = {"figsize": (WIDTH, 0.6 + 2.9 * len(names)), "layout": "constrained"}
    figure, grid = plt.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False, **size)
    beyond = next(i for i, times in enumerate(RADII) if times > 1)  # where nets are furthest apart
    for axes, name in zip(grid.flat, names, strict=True):
        axes.set(title=named(name), xlim=(-0.04, RADII[-1] + 0.04), ylim=(-3, 103), ylabel="accuracy (%)")
        part = there[there.dataset == name]
        # the legend has the order in which the lines lie
        for row in sorted(part.itertuples(), key=lambda row: -row.at[beyond]):
            axes.plot([0, *RADII], [row.clean, *row.at], ms=5, lw=1.3, label=row.title, **looks[row.title])
        axes.axvline(1, color="0.45", ls=":", lw=1)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=SMALL, handlelength=3, borderaxespad=0)
    grid[-1, 0].set_xlabel(r"$\epsilon$ of BIM(10,40), in multiples of the one trained with")
    sns.despine(figure)
    return figure


def lines_of(nets: pd.DataFrame) -> dict[str, dict]:
    """Return how each net's line looks: hue and marker of its family, a dash for each further one of it."""
    looks, drawn = {}, Counter()
    for row in nets.drop_duplicates("title").itertuples():
        hue, marker = look = FAMILIES[family(row.method, row.reset)]
        looks[row.title] = {"color": hue, "marker": marker, "ls": DASHES[drawn[look] % len(DASHES)]}
        drawn[look] += 1
    return looks
