"""The house rules: who imports whom, how long things may be, what is documented, who owns which equation."""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "simadv").glob("**/*.py"))
TREES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
BOOK = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "simbook").glob("**/*.py"))}
ALL, A_FILE, A_FUNCTION = 1_500, 250, 40
# the book's rooms from the ground up: a room imports from lower ones and from itself
FLOORS = (
    {"paper", "settings", "workers"},
    {"measures"},
    {"chapters"},
    {"audit", "doubts", "publish", "tables"},
    {"claims", "plots"},
    {"verdicts"},
    {"told"},
    {"commands"},
)

# who may import whom; "every" room may use checks
EDGES = {
    "__init__": set(),
    "checks": set(),
    "attacks": {"checks"},
    "models": {"checks"},
    "data": {"checks"},
    "losses": {"attacks", "checks"},
    "graphs": set(),
    "adversaries": {"attacks", "checks", "graphs"},
    "learners": {"attacks", "checks", "graphs"},
    "training": {"attacks", "checks", "data", "learners", "losses"},
    "evaluation": {"attacks", "checks", "training"},
    "neighbours": {"adversaries", "attacks", "checks", "graphs", "losses"},
    "specs": {"adversaries", "attacks", "checks", "losses", "neighbours"},
    "store": {"checks", "models", "specs"},
    "runs": {
        "adversaries",
        "attacks",
        "checks",
        "data",
        "learners",
        "losses",
        "neighbours",
        "specs",
        "store",
        "training",
    },
    "__main__": set(),
}

# the one function or class in which each equation of the paper is found
OWNERS = {
    "attacks.fgsm": [1, 2],
    "attacks.bim": [3, 4],
    "training.fit": [5, 6],
    "losses.coral": [7],
    "losses.mmd": [8],
    "losses.uda": [9],
    "losses.sda": [10, 11],
    "losses.Centers.update": [12],
    "evaluation.rho": [13],
    "adversaries.SIM": [14, 15, 16],
    "evaluation.accuracy": [17],
}


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield every module that is imported anywhere in ``tree``, in full: ``simadv.checks``, ``torch.nn``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports from siblings are written in full"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def siblings(tree: ast.AST) -> set[str]:
    return {name.split(".")[1] for name in imports(tree) if name.startswith("simadv.")}


def documented(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield the module, and its classes, functions and methods, by name; not what is inside a function."""
    yield prefix, tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from documented(node, f"{prefix}.{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}.{node.name}", node


DOCUMENTED = {name: node for stem, tree in TREES.items() for name, node in documented(tree, stem)}


def code_lines(text: str) -> set[int]:
    """Return the numbers of the lines that hold code: no docstring, no comment, not blank."""
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def test_code_lines_are_counted_as_promised():
    text = '''"""Two lines
of docstring."""

import os  # one


@property
def f(a):
    """One line."""
    # none
    b = """three,
    for this is
    no docstring"""

    return (
        b
    )
'''
    assert sorted(code_lines(text)) == [4, 7, 8, 11, 12, 13, 15, 16, 17]


def test_the_import_graph_is_the_one_that_is_allowed():
    assert {stem: siblings(tree) for stem, tree in TREES.items()} == EDGES


def test_the_import_graph_has_no_cycle():
    assert set(TopologicalSorter({stem: siblings(tree) for stem, tree in TREES.items()}).static_order()) == set(TREES)


def test_the_book_s_rooms_import_from_lower_ones():
    floor = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
    wrong = []
    for path, tree in BOOK.items():
        room = path.relative_to(ROOT / "simbook").with_suffix("").parts[0]
        if room == "__init__":
            continue
        for name in imports(tree):
            parts = name.split(".")
            if parts[0] == "simbook" and parts[1] != room and floor[parts[1]] >= floor[room]:
                wrong.append(f"{path.name} imports {name}")
    assert wrong == []


def test_no_import_takes_everything():
    every = [*TREES.values(), *BOOK.values()]
    assert not [name for tree in every for name in imports(tree) if name.endswith("*")]


def test_the_package_stays_small():
    counts = {path.name: len(code_lines(path.read_text(encoding="utf-8"))) for path in FILES}
    assert sum(counts.values()) <= ALL, counts
    assert max(counts.values()) <= A_FILE, counts


def test_functions_stay_short():
    long = {}
    for path in [*FILES, *BOOK]:
        text = path.read_text(encoding="utf-8")
        lines = code_lines(text)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = len(lines & set(range(node.lineno, node.end_lineno + 1)))
                if count > A_FUNCTION:
                    long[f"{path.stem}.{node.name}"] = count
    assert long == {}


def test_the_science_does_not_know_the_book():
    """simbook builds on simadv; of simadv, only the command line asks simbook which runs the chapters want."""
    users = {stem for stem, tree in TREES.items() if any(name.startswith("simbook") for name in imports(tree))}
    assert users == {"__main__"}
    drawing = ("matplotlib", "seaborn", "IPython")
    assert not [stem for stem, tree in TREES.items() if any(name.startswith(drawing) for name in imports(tree))]


def test_everything_public_has_a_docstring():
    public = {
        name: node for name, node in DOCUMENTED.items() if not any(part.startswith("_") for part in name.split(".")[1:])
    }
    # an empty __init__ holds nothing to explain
    assert [name for name, node in public.items() if ast.get_docstring(node) is None and node.body] == []


def test_every_equation_has_its_owner_and_no_other():
    # a docstring that says "(Eq. 7, section 3.1.1)" claims the equation; one that says "(Eq. 7)" speaks of it
    claims = {}
    for name, node in DOCUMENTED.items():
        text = ast.get_docstring(node) or ""
        for first, last in re.findall(r"\(Eqs?\. (\d+)(?:-(\d+))?, section [\d.]+\)", text):
            claims.setdefault(name, []).extend(range(int(first), int(last or first) + 1))
    assert claims == OWNERS


def test_owners_are_told_in_the_first_line_with_their_section():
    for name, numbers in OWNERS.items():
        first = ast.get_docstring(DOCUMENTED[name]).splitlines()[0]
        told = f"Eq. {numbers[0]}" if len(numbers) == 1 else f"Eqs. {numbers[0]}-{numbers[-1]}"
        assert re.search(rf"\({told}, section \d[\d.]*\)", first), f"{name}: {first}"
    assert sorted(number for numbers in OWNERS.values() for number in numbers) == list(range(1, 18))


def test_every_equation_and_its_owner_link_to_each_other():
    """An owner names the one chapter that prints its equations, and that chapter names the owner with a link."""
    chapters = {}
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        chapters[path.stem] = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    for name, numbers in OWNERS.items():
        (named,) = re.findall(r"Chapter: :doc:`(\w+)`", ast.get_docstring(DOCUMENTED[name]))
        for number in numbers:
            assert [chapter for chapter, text in chapters.items() if rf"\tag{{{number}}}" in text] == [named]
        assert re.search(rf"{{py:(func|class|meth)}}`simadv\.{re.escape(name)}`", chapters[named]), name


def test_no_error_is_swallowed():
    everything = {"Exception", "BaseException"}
    swallowed = []
    for stem, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
                broad = any(kind is None or getattr(kind, "id", "") in everything for kind in caught)
                if broad and not isinstance(node.body[-1], ast.Raise):
                    swallowed.append(f"{stem}, line {node.lineno}")
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "suppress":
                swallowed.append(f"{stem}, line {node.lineno}")
    assert swallowed == []


@pytest.mark.parametrize("words", [["format", "--check"], ["check"]], ids=" ".join)
def test_ruff_is_content(words):
    folders = ["simadv", "simbook", "tests", "book", "bench"]
    command = [sys.executable, "-m", "ruff", *words, "--no-cache", "--quiet", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
