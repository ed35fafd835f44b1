#!/usr/bin/env python3
"""Fails if the map in ARCHITECTURE.md differs from the crates that Cargo knows, and says in which crate or arrow.

    scripts/check_map.py                compares
    scripts/check_map.py --self-test    shows that every single change of the map is noticed

The map is the table under "## The map": a crate's folder in the first column, the crates it uses outside its tests in the last one.
A crate stands below those it uses. One that is called **Pure** has neither a runtime nor an AWS crate among its dependencies, and its
lib.rs forbids what clippy.toml lists.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPURE = re.compile(r"aws([-_].*)?|tokio.*|async-std|smol|lambda.*|hyper.*|axum|rustix|libc|fastrand|backoff|tracing.*")

FORBIDS = "\n#![forbid(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]\n"


@dataclass(frozen=True)
class Crate:
    """A crate as the map or Cargo has it: its folder, this project's crates that it uses, and its other dependencies.

    `pure`: the map calls it so, or its code is held to it.
    """

    folder: str
    uses: frozenset[str]
    others: frozenset[str] = field(default=frozenset())
    pure: bool = False


def read_map(text: str) -> list[Crate]:
    """The rows of the map in their order."""
    section = text.partition("\n## The map\n")[2].partition("\n## ")[0]
    crates = []
    for row in re.findall(r"^\| *`([^|]+)` *\|(.+)\|([^|]+)\|$", section, re.MULTILINE):
        folder, what, uses = (cell.strip() for cell in row)
        names = [] if uses == "–" else [name.strip() for name in uses.split(",")]
        crates.append(Crate(folder, frozenset(names), pure="**Pure**" in what))
    return crates


def read_cargo() -> list[Crate]:
    """The workspace's crates; what only tests use is left out."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--offline", "--locked"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"check_map: cargo metadata failed:\n{result.stderr}")
    crates = []
    for package in json.loads(result.stdout)["packages"]:
        folder = Path(package["manifest_path"]).parent.relative_to(ROOT).as_posix()
        used = [dependency for dependency in package["dependencies"] if dependency["kind"] != "dev"]
        ours = frozenset(dependency["name"] for dependency in used if dependency.get("path"))
        library = ROOT / folder / "src/lib.rs"
        pure = library.exists() and FORBIDS in library.read_text()
        crates.append(Crate(folder, ours, frozenset(dependency["name"] for dependency in used) - ours, pure))
    return crates


def name(crate: Crate) -> str:
    """Crates are named like their folders; the map relies on it."""
    return crate.folder.rpartition("/")[2]


def compare(rows: list[Crate], cargo: list[Crate]) -> list[str]:
    """One sentence for each difference."""
    wrong = []
    known = {crate.folder: crate for crate in cargo}
    names = {name(crate) for crate in cargo}
    for crate in cargo:
        count = sum(row.folder == crate.folder for row in rows)
        if count != 1:
            wrong.append(f"the crate {crate.folder} stands in the map {count} times instead of once")
    above = set()
    for row in rows:
        crate = known.get(row.folder)
        if crate is None:
            # Folders without a crate may have a row, but no arrows.
            if row.uses or row.pure or (ROOT / row.folder / "Cargo.toml").exists() or not folders_exist(row.folder):
                wrong.append(f"the map has the crate {row.folder}, which Cargo does not know")
            continue
        for missing in sorted(crate.uses - row.uses):
            wrong.append(f"{row.folder} uses {missing}, and the map does not say so")
        for untrue in sorted(row.uses - crate.uses):
            wrong.append(f"the map says that {row.folder} uses {untrue}, but its Cargo.toml does not")
        for below in sorted((row.uses & names) - above):
            wrong.append(f"{row.folder} uses {below}, which stands below it in the map")
        if row.pure and not crate.pure:
            wrong.append(f"the map calls {row.folder} pure, but its src/lib.rs has no {FORBIDS.strip()}")
        if crate.pure and not row.pure:
            wrong.append(f"{row.folder} is held to be pure by its src/lib.rs, and the map does not say **Pure**")
        for impure in sorted(filter(IMPURE.fullmatch, crate.others if row.pure else ())):
            wrong.append(f"the map calls {row.folder} pure, but it depends on {impure}")
        above.add(name(row))
    return wrong


def folders_exist(cell: str) -> bool:
    return all((ROOT / folder).is_dir() for folder in re.split(r"`, `", cell))


def self_test(rows: list[Crate], cargo: list[Crate]) -> list[str]:
    """Changes the map in every single way and expects a complaint each time."""
    changed = {"the heading was renamed": [], "two rows changed places": [rows[1], rows[0], *rows[2:]]}
    changed["a crate that is gone"] = [*rows, Crate("worker/gone", frozenset())]
    changed["a crate named twice"] = [*rows, rows[0]]
    crates = {crate.folder for crate in cargo}
    for place, row in enumerate(rows):
        if row.folder not in crates:
            continue
        before, behind = rows[:place], rows[place + 1 :]
        changed[f"{row.folder} is missing"] = [*before, *behind]
        for other in (name(crate) for crate in cargo if crate.folder != row.folder):
            changed[f"the arrow {row.folder} -> {other} is the other way"] = [
                *before, replace(row, uses=row.uses ^ {other}), *behind
            ]  # fmt: skip
        changed[f"{row.folder} is pure or not"] = [*before, replace(row, pure=not row.pure), *behind]
    unnoticed = [f"self-test: not noticed: {what}" for what, map_ in changed.items() if not compare(map_, cargo)]
    with_runtime = [replace(crate, others=crate.others | {"tokio"}) for crate in cargo]
    if len(compare(rows, with_runtime)) != sum(row.pure for row in rows):
        unnoticed.append("self-test: not noticed: a pure crate with a runtime")
    return unnoticed


def main(arguments: list[str]) -> int:
    rows, cargo = read_map((ROOT / "ARCHITECTURE.md").read_text()), read_cargo()
    wrong = compare(rows, cargo)
    if arguments == ["--self-test"] and not wrong:
        wrong = self_test(rows, cargo)
    for sentence in wrong:
        print(f"check_map: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
