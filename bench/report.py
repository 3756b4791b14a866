"""The table file, ``bench/results/<device>.json``, and the same as text. A part carries where and when it was taken."""

import json
import re
from itertools import combinations
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def path_of(device: str, folder: Path = RESULTS) -> Path:
    """Return the file of a device: ``AMD EPYC, 2 cores`` is ``amd-epyc-2-cores.json``."""
    return folder / f"{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}.json"


def short(value):
    """Return ``value`` with all its floats at four significant digits."""
    if isinstance(value, dict):
        return {key: short(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [short(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def write(parts: dict[str, dict], path: Path) -> None:
    """Put ``parts`` into the file at ``path``; the parts that it already holds and that were not taken stay."""
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(held | short(parts), indent=1) + "\n", encoding="utf-8")


def text(parts: dict[str, dict]) -> str:
    """Return ``parts`` as tables to read."""
    writers = {"attacks": attacks, "training": training, "growth": growth, "floors": floors, "gpu": gpu}
    return "\n\n".join("\n".join([head(name, part), *writers[name](part)]) for name, part in parts.items())


def head(name: str, part: dict) -> str:
    """Return where and when a part was taken."""
    about = part["about"]
    alone = "alone" if about["alone"] else "beside other work"
    return f"{name}: {about['device']}, {about['threads']} threads, torch {about['torch']}, {about['date']}, {alone}"


def attacks(part: dict) -> list[str]:
    """Return the lines of item 2."""
    lines = [f"{part['attack']}, LeNet-5 of {part['net']}, {part['images']}, {part['batch']} images a batch"]
    lines.append(f"{'':26}{'images/s':>9}{'spread':>8}  robust on {part['accuracy_images']}")
    for row in part["rows"]:
        line = f"{row['attacker']:26}{row['images_per_second']:9.0f}{row['spread']:8.0%}{row['robust']:8.2f} %"
        same = part["agreement"].get(row["attacker"])
        lines.append(line + (f"   same examples as our float32: {same['images']:.2f} % of images" if same else ""))
    for name, same in part["agreement"].items():
        if name.endswith("float64"):
            lines.append(f"{name:26} same examples as our float64: {same['images']:.2f} % of images")
    for first, second in combinations(part["agreement_on_plain_net"], 2):
        same = part["agreement_on_plain_net"][first][second]
        lines.append(f"{first}, and {second}: the same examples in {same['images']:.2f} % of images")
    for net, found in part["ours_over_fastest"].items():
        times = ", ".join(f"{name} {value:.2f} times" for name, value in found["times"].items())
        lines.append(f"over the fastest on the {net} ({found['fastest'].split(',')[0]}): {times}")
    return lines


def training(part: dict) -> list[str]:
    """Return the lines of item 3."""
    lines = []
    for net, found in (("LeNet-5", part), ("ResNet-20", part["resnet20"])):
        lines.append(f"{net}: {found['settings']['images']} images an epoch")
        lines.append(f"{'':22}{'batch':>6}{'s/epoch':>9}{'spread':>8}{'/Vanilla':>10}{'passes say':>12}")
        for row in found["rows"]:
            times = f"{row['over_vanilla']:10.2f}{row['predicted']:12.2f}"
            lines.append(f"{row['method']:22}{row['batch']:6}{row['median']:9.3f}{row['spread']:8.0%}{times}")
    step, first = part["sim_step"], part["first_layer"]
    parts = ", ".join(f"{name} {step[name]:.1f} %" for name in ("passes", "optimizer", "rest"))
    lines.append(f"a SIM epoch of LeNet-5: {parts}, of that the carried examples {step['examples']:.1f} %")
    return [*lines, f"the first layer's backward to the image makes a pass {first['dearer_percent']:.0f} % dearer"]


def growth(part: dict) -> list[str]:
    """Return the lines of item 6."""
    lines = []
    for what, title in (("images", "a SIM epoch"), ("n2", f"BIM(10, n2) on {part['batch']['n2']} images")):
        found = part[what]
        lines.append(f"{title}: time grows with the power {found['time_exponent']:.2f} of {what}")
        if "memory_exponent" in found:
            lines.append(f"memory grows with the power {found['memory_exponent']:.2f}")
        for row in found["rows"]:
            lines.append(f"{row['size']:10,}{row['median']:10.3f} s{row['memory'] / 2**20:10.1f} MiB more")
    return lines


def floors(part: dict) -> list[str]:
    """Return the lines of item 7."""
    rates = ", ".join(f"{kind} {rate / 1e9:.0f} GFLOP/s" for kind, rate in part["flops_a_second"].items())
    lines = [f"peaks: {rates}, copy {part['bytes_a_second'] / 1e9:.1f} GB/s"]
    for row in part["rows"]:
        counts = f"{row['flops_an_image'] / 1e6:7.2f} MFLOP{row['bytes_an_image'] / 1e3:9.1f} kB an image"
        least = f"floors {1e3 * row['arithmetic_seconds']:.2f} and {1e3 * row['memory_seconds']:.2f} ms"
        ours = f"ours {1e3 * row['seconds']:.2f} ms, {row['times_the_floor']:.1f} times the larger"
        lines.append(f"{row['net']:9}{row['precision']:8}{counts}, {row['batch']} images: {least}, {ours}")
    return lines


def gpu(part: dict) -> list[str]:
    """Return the lines of item 4."""
    lines = [f"{'':42}{'s/epoch':>9}{'spread':>8}{'goal':>7}"]
    for row in part["rows"]:
        goal = "" if row["goal_seconds"] is None else f"{row['goal_seconds']:.1f}"
        over = f"  {row['over_ours']:.2f} times ours" if "over_ours" in row else ""
        if "same_bits" in row:
            over = f"  {'the same' if row['same_bits'] else 'OTHER'} bits as not recorded"
        lines.append(f"{row['epoch']:42}{row['median']:9.3f}{row['spread']:8.0%}{goal:>7}{over}")
    return lines + floors(part["floors"])
