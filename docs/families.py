"""Writes the parts of families.md that are made from the code: python docs/families.py"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import ownlm.models
import ownlm.nn
from ownlm.inspection.drawing import draw
from ownlm.inspection.traits import lineage, typical_model
from ownlm.models.families import FAMILIES
from ownlm.models.family import Family
from ownlm.models.load import count_parameters, empty_model, hf_values

PAGE = Path(__file__).with_name("families.md")
MODELS, NN = (Path(package.__path__[0]) for package in (ownlm.models, ownlm.nn))
FAMILY = re.compile(r'^(?: *Family\(\n? *|[A-Z0-9_]+ = Family\(\s*)"([\w-]+)"', re.M)
PART = re.compile(r"(<!-- made: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.S)


def page(text: str) -> str:
    """The page with every part made anew."""
    return PART.sub(lambda found: f"{found[1]}\n{part(found['name'])}\n\n{found[3]}", text)


def part(name: str) -> str:
    """What stands between the marks of that name."""
    tables: Mapping[str, Callable[[], str]] = {"overview": overview, "lines": lines}
    return tables[name]() if name in tables else about(FAMILIES[name])


def overview() -> str:
    """Every family, the one it is told against, and where it is described first."""
    rows = [["family", "against", "year", "paper"]]
    for family in sorted(FAMILIES.values(), key=lambda family: family.papers[0].year):
        paper = family.papers[0]
        link = f"[{family.name}](#{family.name})"
        rows.append([link, family.after, str(paper.year), paper.title])
    return table(rows)


def about(family: Family) -> str:
    """Papers, sizes, what differs from the family before, and a drawing."""
    model = typical_model(family)
    kin = lineage(model)
    papers = "\n".join(f"- {paper}" for paper in family.papers)
    sizes = ", ".join(f"`{name}` {millions(name, family)}" for name in family.sizes)
    told = f"Sizes: {sizes}.\n\nHeads: {', '.join(f'`{head}`' for head in family.heads)}."
    drawn = f"`{family.typical_name}`:\n\n```text\n{draw(model)}\n```"
    if not kin.after:
        return f"{papers}\n\n{told}\n\n{drawn}"
    rows = [["", f"`{family.typical_name}`", f"`{kin.compared}`"]]
    rows += [[trait, here or "-", before or "-"] for trait, here, before in kin.differences]
    return f"{papers}\n\n{told}\n\n{table(rows)}\n\n{drawn}"


def millions(name: str, family: Family) -> str:
    """The parameters of a named size, such as 8.03 B."""
    values = hf_values(family.sizes[name])
    count = count_parameters(empty_model(family, values, name))
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def lines() -> str:
    """Lines of each family's file, and about how many it shares with others.

    Docstrings and blank lines included; what is shared is told in steps of 500.
    """
    files = sorted(MODELS.glob("*.py"))
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    own = {name: text for name, text in texts.items() if FAMILY.search(text)}
    rows = [["file", "families", "lines"]]
    for name, text in own.items():
        families = ", ".join(f"`{family}`" for family in FAMILY.findall(text))
        rows.append([f"`{name}`", families, str(len(text.splitlines()))])
    rest = [path for path in files if path.name not in own]
    shared = {
        "models/, the rest": rest,
        "nn/": [*NN.rglob("*.py")],
        "nn/kernels/": [*NN.rglob("*.cpp"), *NN.rglob("*.h")],
    }
    for name, paths in shared.items():
        count = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
        rows.append([name, "all", f"about {round(count / 500) * 500:,}"])
    return table(rows)


def table(rows: list[list[str]]) -> str:
    """Rows as Markdown, the first being the heads of columns."""
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
