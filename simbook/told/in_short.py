r"""The book in a few sentences, for its first page and for README: what holds of the paper, with the numbers."""

import textwrap

import pandas as pd

from simadv.runs import passes_per_image
from simadv.specs import run_spec
from simadv.store import Store
from simbook import chapters, paper, verdicts
from simbook.claims import judging
from simbook.claims import page as claims
from simbook.claims.beyond import NEAR, best, interval, one, without_attacks, withstood
from simbook.settings import EvaluationSettings
from simbook.tables import beside, beyond, sim_adv, survival
from simbook.tables.common import NAMES, NOT_RUN, Found
from simbook.tables.evaluation import accuracies, paper_value
from simbook.tables.spread import GLUE, over_seeds, with_sd
from simbook.told import beyond as beyond_told

_FILL = textwrap.TextWrapper(120, subsequent_indent="  ", break_on_hyphens=False)
TRAINED = ("mnist", "fmnist")  # as the paper trains them
DEAR = ("bim", "madry", "bim-atda")  # methods that train on iterated examples
ATTACK = "BIM(10,40)"
TEXT = """\
Of the published runs. Where there are two numbers the first is of MNIST, the second of Fashion-MNIST. No pixel
changes by more than {epsilons} of its range (ε). Nets are LeNet-5 after {epochs} epochs, at rate 1e-3 and attacked
away from true labels where nothing else is said. ± is the deviation over two or three seeds, and what has none is of
one; brackets are 95 % intervals. What {attack} leaves is of the 10,000 test images after the last epoch. AutoAttack's
numbers and what was watched in training are of the first 1,000; a net *ends* where it was on average after its last
five epochs.

- **What holds of the paper?** {C1_7} {C6_3} The abstract's accuracies are of CIFAR10, where C1.1 and C1.4 are
{cifar}. Of the paper's claims about MNIST and Fashion-MNIST these do not hold: {failed}.
- **Does it defend?** {attack} leaves SIM(10,20)-Adv {sim} %, BIM(10,30)-Adv {bim} %, FGSM-Adv {fgsm} % and
Free-Adv(10) {free_adv} %. On clean images the first has {sim_clean} %, the second {bim_clean} % and Vanilla
{vanilla_clean} %. Single epochs swing: on average after its last five, the first has {cycle} % and the second
{bim_end} %. AutoAttack, which came out days after the paper's preprint, leaves the first {sim_auto} %, the second
{bim_auto} %. {C6_2} {C6_2_open}
- **Whose label is attacked?** Vanilla at rate 1e-4 has {vanilla} % under {attack} where the attack pushes away from
the true label, and {predicted} % where it pushes away from the net's own answer. The paper prints {printed}. {C7_1}
- **Is it what the paper prints?** The paper has {paper} % at rate 1e-3; ours keep {sim_predicted} % by predicted
labels, which the paper probably used, and {sim} % by true ones. At rate 1e-4 the paper has {paper_low} %, and ours
keep {sim_low_predicted} % by predicted labels and {sim_low} % by true ones; there the end of the last cycle is {rise}
points from the end of the one before it: where it still rises, training was not finished. {C6_4}
- **At what cost?** In one epoch SIM-Adv takes {sim_f:g} F an image, and BIM(10,30)-Adv {bim_f:g} F: {ratio:.2f} times
as much (F is the work of a forward pass; a backward pass is one F to the image and one to the weights). The paper's
seconds have a ratio of {seconds}. ATDA takes the F of SIM-Adv, and more time in the batches of 32 that its authors
train it in. {C6_5}
- **When may training stop?** Every {n2} epochs the examples start afresh, and until they have grown again the net is
open to attack. The net of seed 0, watched on the first 1,000 images, has {last} % after the last epoch,
and {lowest} % in the worst epoch after the first cycle; in {lost} epochs after that cycle it has less than half of
what it has after the last.
- **Is the reset needed?** With it SIM-Adv ends at {cycle} %, without at {never} %; under AutoAttack the reset is
worth {worth} points, and that of SIM(5,10)-Adv {worth_5} (of one seed the interval is of the images alone). {C7_2}
- **Is anything cheaper?** Of the nets within {near:g} points of BIM(10,30)-Adv under AutoAttack, or above, the
cheapest is {cheap} an image, all epochs together. SIM(10,20)-Adv took {passes} F, BIM(10,30)-Adv {bim_passes} F.
{C7_11}
- **Can the attack's pass be saved?** With nothing but the gradients that training computes anyway, the best SIM-Adv
ends at {free} %. {C7_5}
- **What is missing?** Not tested are {untested}. Of the nets of chapters 2 to 6, seed 0, these were not run: {unrun}.
`python -m simadv plan` lists what the book asks for and nobody has made."""


def in_short(table: pd.DataFrame, store: Store) -> str:
    """Return the page in Markdown: a question a line, its numbers, and the verdicts on the claim that it is about.

    Args:
        table: :func:`simbook.verdicts.book` of the store.
    """
    found = verdicts.read(EvaluationSettings(), store=store)
    frame = over_seeds(accuracies(found["06_evaluation"], store=store))
    bars = beyond.bars(found["07_beyond"], store=store)
    seen = sim_adv.sawtooth(sim_adv.watched(found["05_sim_adv"]))
    each = [
        defence(frame, name) | ends(bars[bars.dataset.eq(name)]) | stops(seen, name) | labels(frame, name)
        for name in TRAINED
    ]
    told = {key: " and ".join(facts[key] for facts in each) for key in each[0]}
    told |= {claim.replace(".", "_"): judged(table, claim) for claim in table.claim.unique()}
    told["C6_2_open"] = undecided(table, "C6.2")
    rises = beside.last_rises(beside.cycle_ends(found["06_evaluation"]))
    low = rises.reindex([(NAMES[name], chapters.RATES[name][0]) for name in TRAINED])
    told["rise"] = " and ".join(
        NOT_RUN if pd.isna(row.rise) else f"{row.rise:+.1f} ({row.seeds:.0f} seeds)" for row in low.itertuples()
    )
    sim, bim = (sum(passes_per_image(run_spec("mnist", method))) for method in ("sim", "bim"))
    fixed = {"attack": ATTACK, "near": NEAR, "n2": run_spec("mnist", "sim").n2, "sim_f": sim, "bim_f": bim}
    fixed |= {"untested": untested(table), "unrun": unrun(found), "failed": failed(table), "cifar": of_abstract(table)}
    specs = [run_spec(name, "sim") for name in TRAINED]
    fixed |= {f"{name}s": " and ".join(f"{getattr(spec, name):g}" for spec in specs) for name in ("epsilon",)}
    fixed["epochs"] = " and ".join(f"{spec.epochs}" for spec in specs)
    text = TEXT.format(**told, **fixed, ratio=bim / sim)
    for sign in "%->":  # what begins with one of these is a comment in MyST, a list or a quotation
        text = text.replace(f" {sign} ", f"{GLUE}{sign} ").replace(f" {sign}\n", f"{GLUE}{sign}\n")
    head, *lines = text.replace(" %", f"{GLUE}%").split("\n- ")
    return "\n".join(
        [f"{textwrap.fill(head, 120, break_on_hyphens=False)}\n", *(_FILL.fill(f"- {line}") for line in lines)]
    )


def judged(table: pd.DataFrame, claim: str) -> str:
    """Return the verdicts on a claim, the paper's or ours, to stand after the numbers that it is about."""
    parts = table[table.claim.eq(claim) & table.dataset.isin(TRAINED)]
    return f"*{claim}, “{judging.CLAIMS[claim][0].rstrip('.')}”: {judging.by_dataset(parts)}.*"


def failed(table: pd.DataFrame) -> str:
    """Return the paper's claims that do not hold where nets were trained as the paper's, each with its data sets."""
    of = table[~claims.ours(table) & table.dataset.isin(TRAINED)]
    said = of.groupby(["claim", "dataset"], sort=False).verdict.agg(judging.together)
    where = said[said.eq(judging.FAILS)].reset_index().groupby("claim", sort=False).dataset.agg(list)
    told = [
        f"{claim}, “{judging.CLAIMS[claim][0].rstrip('.')}” ({' and '.join(NAMES[name] for name in names)})"
        for claim, names in where.items()
    ]
    return "; ".join(told) or "none"


def of_abstract(table: pd.DataFrame) -> str:
    """Return the verdict on the abstract's claims about accuracy on CIFAR10, C1.1 and C1.4, in that order."""
    of = table[table.claim.isin(["C1.1", "C1.4"]) & table.dataset.eq("cifar10")]
    said = [judging.together(parts.verdict) for _, parts in of.groupby("claim")] or [judging.UNTESTED]
    return " and ".join(dict.fromkeys(said))


def undecided(table: pd.DataFrame, claim: str) -> str:
    """Return by which parts a claim is undecided, where it is, with their numbers."""
    parts = table[table.claim.eq(claim) & table.dataset.isin(TRAINED)]
    parts = parts[parts.groupby("dataset").verdict.transform(judging.together).eq(judging.UNDECIDED)]
    each = [
        f"whether {row.part} on {NAMES[row.dataset]}, where it is {row.ours.replace(GLUE, ' ')}"
        for row in parts[parts.verdict.eq(judging.UNDECIDED)].itertuples()
    ]
    return f"Undecided, in points: {'; '.join(each)}." if each else ""


def untested(table: pd.DataFrame) -> str:
    """Return how many of the paper's claims are not tested, by data set."""
    counts = claims.counts(table[~claims.ours(table)])
    names = [name for name in NAMES.values() if name in counts]
    return ", ".join(f"{counts[name][judging.UNTESTED]} of {counts[name].sum()} claims on {name}" for name in names)


def unrun(found: dict[str, Found]) -> str:
    """Return how many nets of the paper's chapters are not in the store, seed 0, by data set."""
    nets = {spec: run for name, some in found.items() if name != "07_beyond" for spec, run in some if spec.seed == 0}
    told = []
    for dataset in NAMES:
        own = {spec: run for spec, run in nets.items() if spec.dataset == dataset}
        missing = [spec for spec, run in own.items() if run is None]
        iterated = sum(spec.method in DEAR for spec in missing)
        if own:
            of = f"{iterated} of them train on iterated examples"
            told.append(f"{len(missing)} of {len(own)} on {NAMES[dataset]} ({of})")
    return ", ".join(told)


def percents(value: float, sd: float = float("nan"), seeds: float = 1) -> str:
    """Return a number with its deviation over seeds, or that it is missing."""
    return NOT_RUN if pd.isna(value) else with_sd(value, sd, seeds)


def defence(frame: pd.DataFrame, dataset: str) -> dict[str, str]:
    """Return what BIM leaves of nets, at the lower rate (``_low``) and by predicted labels, and the paper's numbers."""
    rows = frame[frame.dataset.eq(dataset) & frame.attack.eq(ATTACK)].drop_duplicates(["method", "lr"])
    left = {}
    for lr, name in zip(chapters.RATES[dataset], ("_low", ""), strict=True):
        for row in rows[rows.lr.eq(lr)].itertuples():
            left[f"{row.method}{name}"] = percents(row.true, row.sd, row.seeds)
            left[f"{row.method}{name}_predicted"] = percents(row.predicted, row.predicted_sd, row.seeds)
        left[f"paper{name}"] = f"{paper_value(run_spec(dataset, 'sim', lr=lr), ATTACK):.2f}"
    clean = frame[frame.dataset.eq(dataset) & frame.attack.eq("Original") & frame.lr.eq(chapters.RATES[dataset][-1])]
    for row in clean.drop_duplicates("method").itertuples():
        left[f"{row.method}_clean"] = percents(row.true, row.sd, row.seeds)
    seconds = paper.TABLE5["bim"][dataset] / paper.TABLE5["sim"][dataset]
    left["free_adv"] = left.pop("free")  # free-SIM has that name
    return left | {"seconds": f"{seconds:.2f}"}


def ends(bars: pd.DataFrame) -> dict[str, str]:
    """Return how SIM-Adv ends with its reset, without it and without an attack pass, and what else is as good."""
    cycle, never = (best(one(bars, "sim", reset, n1=10)) for reset in ("cycle", "never"))
    three = {"cycle": cycle, "never": never, "free": best(without_attacks(bars))}
    told = {name: percents(row.end, row.sd, row.seeds) for name, row in three.items()}
    bim = bars[bars.method.eq("bim")].iloc[0]
    told["bim_end"] = percents(bim.end, bim.sd, bim.seeds)
    for name, row in (("sim", cycle), ("bim", bim)):
        told[f"{name}_auto"] = percents(row.AutoAttack, row["AutoAttack sd"], row["AutoAttack seeds"])
    for name, n1 in (("worth", 10), ("worth_5", 5)):
        pair = [best(one(bars, "sim", reset, n1=n1)) for reset in ("cycle", "never")]
        gain, half, seeds = withstood(*pair, survival.strongest(bars))
        told[name] = NOT_RUN if pd.isna(gain) else f"{gain:+.1f} {interval(gain, half)} ({seeds})"
    cheap = [f"{row.title} ({beyond_told.left(row)}) at {row.F:g} F" for _, row in beyond_told.cheap(bars).iterrows()]
    return told | {"cheap": [*cheap, "none"][0], "passes": passes(cycle), "bim_passes": passes(bim)}


def passes(row: pd.Series) -> str:
    """Return the passes an image that a setting's training took, all epochs together."""
    return NOT_RUN if pd.isna(row.F) else f"{row.F:g}"


def stops(seen: pd.DataFrame, dataset: str) -> dict[str, str]:
    """Return what the monitor saw of SIM-Adv, seed 0 at the higher rate, since its first cycle."""
    own = seen[seen.dataset.eq(dataset) & seen.lr.eq(chapters.RATES[dataset][-1]) & seen.reset.eq("cycle")]
    told = dict.fromkeys(("last", "lowest", "lost"), NOT_RUN)
    for row in own.head(1).to_dict("records"):
        told |= {name: percents(row[name]) for name in ("last", "lowest")}
        told["lost"] = f"{row['lost']:.0f} of {row['later']:.0f}"
    return told


def labels(frame: pd.DataFrame, dataset: str) -> dict[str, str]:
    """Return what BIM leaves of Vanilla at the lower rate, by true and by predicted labels, and the paper's number."""
    rows = frame[frame.dataset.eq(dataset) & frame.method.eq("vanilla") & frame.attack.eq(ATTACK)]
    row = rows[rows.lr.eq(chapters.RATES[dataset][0])].iloc[0]
    told = {"vanilla": percents(row.true, row.sd, row.seeds), "printed": f"{row.paper:.2f}"}
    return told | {"predicted": percents(row.predicted, row.predicted_sd, row.seeds)}
