#!/usr/bin/env python3
"""Fails where a Markdown file has a prose line over 140 characters, or names a file of this project that is not there.

    scripts/check_prose.py                 checks every Markdown file that git knows
    scripts/check_prose.py --sentences     lists the sentences over 35 words instead, and each file's median

Tables, code and addresses may be longer.
"""

import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_CHARACTERS = 140
MAX_WORDS = 35
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?<![\w./-])((?:worker|tests|scripts|infra|docs)/[\w./-]*\w)(?![\w*{<…-])")


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


def without_code(text: str) -> str:
    """Blank lines stand for code, so that lines keep their numbers."""
    return CODE.sub(lambda found: "\n" * found[0].count("\n"), text)


def complaints(path: Path) -> list[str]:
    found = []
    text = path.read_text()
    for number, (line, whole) in enumerate(zip(without_code(text).split("\n"), text.split("\n"), strict=True), 1):
        where = f"{path.relative_to(ROOT)}:{number}"
        length = len(re.sub(r"https?://\S+|`[^`]{80,}`", "", line))
        if length > MAX_CHARACTERS and not line.lstrip().startswith("|"):
            found.append(f"{where}: {length} characters, more than {MAX_CHARACTERS}")
        for name in NAMED.findall(whole):
            if not (ROOT / name).exists() and not (path.parent / name).exists():
                found.append(f"{where}: {name} does not exist")
    return found


def sentences(path: Path) -> list[str]:
    """The sentences of a file's paragraphs and list items; headings and tables aside."""
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", without_code(path.read_text())):
        lines = [line for line in paragraph.split("\n") if not re.match(r"\s*(\||#|<!--)", line)]
        text = re.sub(r"\]\([^)]*\)|[*_`\[\]]", "", " ".join(lines))
        found += [" ".join(part.split()) for part in re.split(r"(?<=[^.\s][.!?])\)?\s+", text) if len(part.split()) > 2]
    return found


def report(path: Path) -> None:
    lengths = [(len(sentence.split()), sentence) for sentence in sentences(path)]
    if lengths:
        print(f"{path.relative_to(ROOT)}: {len(lengths)} sentences, median {statistics.median(n for n, _ in lengths):g} words")
    for words, sentence in lengths:
        if words > MAX_WORDS:
            print(f"    {words}: {sentence}")


def main(arguments: list[str]) -> int:
    if arguments == ["--sentences"]:
        for path in documents():
            report(path)
        return 0
    found = [sentence for path in documents() for sentence in complaints(path)]
    for sentence in found:
        print(f"check_prose: {sentence}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
