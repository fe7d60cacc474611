"""Draw which room imports which, as a mermaid picture, from the code itself.

    python docs/draw_imports.py docs/architecture.md

replaces what stands between the two marks in that file; a test fails where it is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grimp

PACKAGE = "facestudio"
FLOORS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("doors", ("cli", "web", "server", "comfy", "client")),
    ("saved people", ("identities",)),
    ("makes and judges models", ("training", "evaluation")),
    ("prepared sets", ("data",)),
    ("knows all parts", ("pipeline",)),
    ("vectors to tokens and latents", ("guidance", "prior", "codec")),
    ("pictures and words to vectors", ("faces", "encoders")),
    ("says what is generated", ("provenance",)),
    ("ground", ("images", "settings", "errors")),
)
START, END = "<!-- imports: start -->", "<!-- imports: end -->"


def draw_imports() -> str:
    """The mermaid text: a box for each floor, from the top, and an arrow for each import."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    rooms = {module.removeprefix(f"{PACKAGE}.") for module in graph.find_children(PACKAGE)}
    lines = ["flowchart TB"]
    for number, (name, floor) in enumerate(FLOORS):
        standing = [room for room in floor if room in rooms]
        if standing:
            lines.append(f'  subgraph floor{len(FLOORS) - 1 - number}["{name}"]')
            lines += [f"    {room}" for room in standing]
            lines.append("  end")
    shown = [room for _, floor in FLOORS for room in floor if room in rooms]
    lines += [f"  {a} --> {b}" for a in shown for b in shown if _imports(graph, a, b)]
    return "\n".join(lines)


def replace_picture(text: str, picture: str) -> str:
    """The page with the picture between its marks put anew."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    if not rest or not after:
        raise ValueError(f"the page lacks {START} or {END}")
    return f"{before}{START}\n```mermaid\n{picture}\n```\n{END}{after}"


def _imports(graph: grimp.ImportGraph, importer: str, imported: str) -> bool:
    """Whether any module of one room imports any of the other; `errors` is left to the reader."""
    if importer == imported or imported == "errors":
        return False
    return graph.direct_import_exists(
        importer=f"{PACKAGE}.{importer}", imported=f"{PACKAGE}.{imported}", as_packages=True
    )


def main(page: Path) -> None:
    """Put the picture of today into the page."""
    page.write_text(replace_picture(page.read_text("utf-8"), draw_imports()), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
