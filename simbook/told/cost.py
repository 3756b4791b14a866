r"""What the page on cost found, in sentences whose every number is computed."""

import pandas as pd

from simadv.specs import run_spec
from simbook import paper
from simbook.settings import Settings
from simbook.tables import cost
from simbook.tables.common import NAMES, title
from simbook.tables.cost import Parts


def findings(found: Parts, settings: Settings) -> str:
    """Return what was measured in at most five sentences of Markdown, every number from the benchmark's table."""
    said = [*said_of_training(found), *said_of_table5(settings), *said_of_attacks(found), *said_of_rest(found)]
    return "\n".join(f"{i}. {sentence}" for i, sentence in enumerate(said, 1))


def said_of_training(found: Parts) -> list[str]:
    """Return what epochs cost."""
    sentences = []
    for part in found.get("training", [])[:1]:
        table, words = cost.training(part), []
        for net, rows in table.groupby(level="net", sort=False):
            sim, bim = (rows.droplevel("net").loc[title(run_spec("mnist", method))] for method in ("sim", "bim"))
            text = f"{net}: {sim.over:.2f} and {bim.over:.1f} times, and BIM-Adv {bim.seconds / sim.seconds:.2f} times "
            words.append(f"{text}SIM-Adv's seconds")
        text = "Over Vanilla's, an epoch of SIM-Adv and one of BIM(10,30)-Adv take, on "
        first, step = part["first_layer"], part["sim_step"]
        plain, sim, bim = (cost.f_of("mnist", method) for method in ("vanilla", "sim", "bim"))
        text += f"{'; on '.join(words)} (passes: {sim / plain:.2f}, {bim / plain:g} and {bim / sim:.2f}); "
        text += "LeNet-5's first convolution makes a gradient pass "
        text += f"{first['dearer_percent']:.0f} % dearer; {step['rest']:.1f} % of a SIM epoch are neither passes nor "
        text += f"the optimiser's, {step['examples']:.1f} % to read, move and store the carried examples."
        sentences.append(text)
    return sentences


def said_of_table5(settings: Settings) -> list[str]:
    """Return whether the paper's ratio can be computation."""
    words = []
    for dataset in cost.datasets(settings):
        ratio = paper.TABLE5["bim"][dataset] / paper.TABLE5["sim"][dataset]
        n2, needed = cost.steps_that_fit(ratio), cost.overhead_that_fits(ratio, 30)
        words.append(f"{NAMES[dataset]} {ratio:.2f} (n2 = {n2:.1f}, or {needed:.1f} F an image besides passes)")
    text = "The paper's ratio of BIM-Adv's time to SIM-Adv's cannot be the computation of n2 = 30, which is "
    text += f"{cost.f_of('mnist', 'bim') / cost.f_of('mnist', 'sim'):.2f}; it is, with what would explain it: "
    return [f"{text}{'; '.join(words)}."]


def said_of_attacks(found: Parts) -> list[str]:
    """Return how fast the attack is, and whether it is the same one."""
    sentences = []
    for part in found.get("attacks", [])[:1]:
        rows = pd.DataFrame(part["rows"]).set_index("attacker")
        for net in [name for name in part["ours_over_fastest"] if name == "plain net"]:
            fastest, times = part["ours_over_fastest"][net]["fastest"], part["ours_over_fastest"][net]["times"]
            speeds = {name.removeprefix("ours, "): (rows.images_per_second[name], n) for name, n in times.items()}
            words = [f"{v:.0f} images a second in {kind}, {n:.2f} times" for kind, (v, n) in speeds.items()]
            apart = (rows.robust - rows.robust["ours, float32"]).abs()
            peers = apart[~apart.index.str.startswith("ours")].max()
            alike = [f"{rows.images_per_second['ours, plain net'] / rows.images_per_second[fastest]:.2f} times ({net})"]
            for other in [found for name, found in part["ours_over_fastest"].items() if name != net]:
                alike.append(f"{other['times']['ours, float32']:.2f} times (the book's)")
            text = f"{part['attack']} runs at {', and at '.join(words)} the speed of the fastest library ({fastest}, "
            text += f"{rows.images_per_second[fastest]:.0f}). That is mostly the net's layers, and bf16: in float32 "
            text += f"on one net ours is {', '.join(alike)} as fast. Robust accuracy is at most {peers:.2f} points "
            text += f"from the libraries' in float32, and {apart['ours, bf16']:.2f} in bf16. "
            same = [found["images"] for found in part["agreement_on_plain_net"]["ours, plain net"].values()]
            text += f"In float32 on one net, {min(same):.2f} to {max(same):.2f} % of the examples are theirs."
            sentences.append(text)
    return sentences


def said_of_rest(found: Parts) -> list[str]:
    """Return how time grows, and what is above the floors."""
    sentences = []
    for part in found.get("growth", [])[:1]:
        powers = [part[what]["time_exponent"] for what in ("images", "n2")]
        text = f"Time grows with the power {powers[0]:.2f} of the images and {powers[1]:.2f} of n2"
        memory = part["images"].get("memory_exponent")
        sentences.append(text + ("." if memory is None else f", memory with the power {memory:.2f} of the images."))
    return sentences + [f"{held(part)}" for part in found.get("floors", [])[:1]]


def held(part: dict) -> str:
    """Return what holds a gradient pass above its floor, from the arithmetic that is done and where its time goes."""
    words = []
    for row in part["rows"]:
        text = (
            f"{cost.NETS[row['net']]} in {row['precision']} takes {row['times_the_floor']:.1f} times the larger floor"
        )
        more = row.get("flops_done_an_image", row["flops_an_image"]) / row["flops_an_image"]
        text += f", with {more:.1f} times the arithmetic" if more > 1.05 else ""
        shares = row.get("shares")
        text += f" and {shares['rest']:.0f} % of the time in neither convolutions nor products" if shares else ""
        words.append(text)
    return f"A gradient pass beside what arithmetic and bytes allow: {'; '.join(words)}."
