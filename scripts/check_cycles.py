#!/usr/bin/env python3
"""Fails if files of one crate import each other in a circle, and names the circle.

    scripts/check_cycles.py [CRATE_FOLDER ...]      (default: every crate of worker/)

A file uses another if a path in its code (`use` or in place, tests aside) leads to something that the other defines; names that
a file only passes on (`pub use`) count for the file that defines them. `mod` declarations are no use. Macros are not looked into.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Known circles, each a set of files; to be emptied. One that is no longer there has to go from this list.
KNOWN: list[set[str]] = []

CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|r(?P<hashes>\#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\])'""", re.DOTALL
)
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([a-z]+\))?\s+)?mod\s+(\w+)\s*([;{])")
DECLARED = re.compile(r"\bmod\s+(\w+)\s*;")
USE = re.compile(r"(?<![\w.])(pub(?:\([a-z:\s]+\))?\s+)?use\s+([^;]+);")
VISIBILITY = re.compile(r"\bpub\(in [^)]*\)")
PATH = re.compile(r"(?<![\w:])((?:crate|self|super|[a-z_]\w*)(?:::\w+)+)")


def blocks_end(code: str, start: int) -> int:
    """The place behind the brace that closes the one at `start`."""
    depth = 0
    for place in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[place], 0)
        if depth == 0:
            return place + 1
    return len(code)


def leaves(tree: str) -> list[tuple[list[str], str]]:
    """The paths of a use tree, each with the name it gets here."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        path, _, name = tree.partition(" as ")
        parts = [part.strip() for part in path.split("::") if part.strip()]
        return [(parts, name.strip() or (parts[-1] if parts else ""))]
    prefix = [part.strip() for part in head.split("::") if part.strip()]
    inner, depth, item, found = rest[: rest.rindex("}")], 0, "", []
    for letter in inner + ",":
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            for parts, name in leaves(item) if item.strip() else []:
                is_self = parts[-1:] == ["self"]
                whole = prefix + (parts[:-1] if is_self else parts)
                found.append((whole, whole[-1] if is_self and name == "self" else name))
            item = ""
        else:
            item += letter
    return found


class Source:
    """One file: its module, its submodules, what it uses and what it passes on."""

    def __init__(self, path: Path, module: tuple[str, ...]):
        self.path, self.module = path, module
        code = VISIBILITY.sub("pub", CODE.sub(" ", path.read_text()))
        self.tests = set()
        while found := TEST_MODULE.search(code):
            end = found.end() if found[2] == ";" else blocks_end(code, found.end() - 1)
            self.tests.add(found[1])
            code = code[: found.start()] + code[end:]
        self.children = set(DECLARED.findall(code))
        self.passed_on = {}
        self.paths = []
        for visible, tree in USE.findall(code):
            for parts, name in leaves(tree):
                self.passed_on[name] = parts
                if not visible:
                    self.paths.append(parts)
        self.paths += [path.split("::") for path in PATH.findall(USE.sub(" ", code))]


def crate(root: Path) -> dict[tuple[str, ...], Source]:
    """All files of a crate by their modules, beginning with its root file."""
    sources, waiting = {}, [(root, ())]
    while waiting:
        path, module = waiting.pop()
        source = sources[module] = Source(path, module)
        folder = path.parent if path == root or path.name == "mod.rs" else path.with_suffix("")
        for child in source.children:
            for file in (folder / f"{child}.rs", folder / child / "mod.rs"):
                if file.is_file():
                    waiting.append((file, (*module, child)))
    return sources


def target(sources: dict, module: tuple[str, ...], parts: list[str], depth: int = 0) -> tuple[str, ...] | None:
    """The module of the file that defines what a path of `module` leads to; `None` outside of the crate."""
    parts = list(parts)
    if parts[0] == "crate":
        at, parts = (), parts[1:]
    elif parts[0] in ("self", "super"):
        at = module
        while parts and parts[0] in ("self", "super"):
            at, parts = (at[:-1] if parts[0] == "super" else at), parts[1:]
    elif parts[0] in sources[module].children or parts[0] in sources[module].passed_on and depth:
        at = module
    else:
        return None
    while parts:
        source = sources[at]
        if (*at, parts[0]) in sources:
            at, parts = (*at, parts[0]), parts[1:]
        elif parts[0] in source.passed_on and depth < 8:
            return target(sources, at, source.passed_on[parts[0]] + parts[1:], depth + 1)
        else:
            break
    return at


def edges(sources: dict) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    uses = {module: set() for module in sources}
    for module, source in sources.items():
        for parts in source.paths:
            found = target(sources, module, parts) if parts else None
            if found is not None and found != module:
                uses[module].add(found)
    return uses


def circle(uses: dict, start) -> list | None:
    """The shortest way from a module back to itself."""
    ways = [[start]]
    seen = set()
    for way in ways:
        for following in sorted(uses[way[-1]]):
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return None


def roots(folder: Path) -> list[Path]:
    source = folder / "src"
    return [path for path in [source / "lib.rs", source / "main.rs", *sorted(source.glob("bin/*.rs"))] if path.is_file()]


def main(folders: list[Path]) -> int:
    known, found = [frozenset(circle) for circle in KNOWN], {}
    for root in [root for folder in folders for root in roots(folder)]:
        sources = crate(root)
        uses = edges(sources)
        for module in sources:
            if way := circle(uses, module):
                names = [str(sources[step].path.relative_to(ROOT)) for step in way]
                found.setdefault(frozenset(names), names)
    new = [names for files, names in found.items() if files not in known]
    for names in new:
        print(f"files import each other: {' -> '.join(names)}", file=sys.stderr)
    for gone in [files for files in known if files not in found and folders == all_crates()]:
        print(f"no longer a circle, take it from KNOWN: {sorted(gone)}", file=sys.stderr)
        new.append([])
    return 1 if new else 0


def all_crates() -> list[Path]:
    return sorted(path.parent for path in (ROOT / "worker").glob("*/Cargo.toml"))


if __name__ == "__main__":
    sys.exit(main([Path(folder).resolve() for folder in sys.argv[1:]] or all_crates()))
