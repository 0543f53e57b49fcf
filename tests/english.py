#!/usr/bin/env python3
"""Holds the English of comments, messages and pages to STYLE.md, and comments to 120 columns.

    tests/english.py            fails for every finding that tests/english.baseline does not have
    tests/english.py --list     prints every finding
    tests/english.py --update   takes out of the baseline what is mended; it never adds anything

The baseline has a hash of each line that was there before this check was. So a line may move to another file, a new line
may have no finding, and a line that is changed is mended.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "tests" / "english.baseline"
WIDTH = 120

# What STYLE.md bans, and what to write instead.
WORDS = [
    (r"(?<![\"`])\bnobody\b(?![\"`])", "no one, or name who"),
    (r"\bsomebody\b", "name who: the owner, the sender, an operator"),
    (r"\banybody\b", "anyone, or name who"),
    (r"\bwhoever\b", "name who: the sender, the operator"),
    (r"\bof its own\b", "its own …, or a separate …"),
    (r"\b(?:lies|lie)\b(?! (?:to|about))", "is"),
    (r"\bis no (?!longer\b|more\b|less\b|later\b|way\b|match\b|one\b)[a-z]", "is not a …"),
    (r"\b(?:the|this|our|your) house\b", "the project, the code"),
    (r"\b(?:one|each|a|the) rooms?\b(?! (?:for|in|to|left|at|now|it|that))", "module, crate"),
]
WORDS = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in WORDS]
# Pages that quote a banned word to ban it.
QUOTES = {"STYLE.md", "tests/english.py"}
# Values of the configuration, which are not English.
VALUES = {"nobody"}
KINDS = {".rs", ".md", ".toml", ".py", ".yml", ".yaml", ".sh"}


def files():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in sorted(listed.stdout.splitlines()):
        path = ROOT / name
        if path.suffix in KINDS and name not in QUOTES and path.is_file():
            yield name, path


def readable(name, line):
    """The part of a line that a person reads: all of a page; of code, comments and texts in quotation marks."""
    if name.endswith(".md"):
        return line
    if name.endswith(".rs"):
        comment = re.search(r"(?:^|\s)//[/!]?(.*)", line)
        texts = re.findall(r'"((?:[^"\\]|\\.)*)"', line if comment is None else line[: comment.start()])
        texts = [text for text in texts if text not in VALUES]
        # A text that goes on from the line before has no mark at its beginning.
        whole = line if line.rstrip().endswith("\\") else ""
        return " ".join([*texts, comment.group(1) if comment else "", whole])
    return line.partition("#")[2]


def is_comment(name, line):
    stripped = line.lstrip()
    return stripped.startswith("//") if name.endswith(".rs") else stripped.startswith("#") and not name.endswith(".md")


def findings(name, path):
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if is_comment(name, line) and len(line) > WIDTH and "://" not in line:
            yield number, line, f"a comment of {len(line)} columns, {WIDTH} are enough"
        text = readable(name, line)
        for pattern, instead in WORDS:
            for found in pattern.finditer(text):
                yield number, line, f"{found.group(0)!r}: write {instead}"


def key(line):
    return hashlib.sha256(line.strip().encode()).hexdigest()[:12]


def main():
    found = [(name, *finding) for name, path in files() for finding in findings(name, path)]
    if "--list" in sys.argv:
        for name, number, _, what in found:
            print(f"{name}:{number}: {what}")
        return 0
    keys = {key(line) for _, _, line, _ in found}
    known = set(BASELINE.read_text().split()) if BASELINE.exists() else keys
    if "--update" in sys.argv:
        known &= keys
        BASELINE.write_text("".join(f"{line}\n" for line in sorted(known)))
    fresh = [finding for finding in found if key(finding[2]) not in known]
    for name, number, _, what in fresh:
        print(f"{name}:{number}: {what}")
    if fresh:
        print(f"{len(fresh)} findings in new or changed lines; STYLE.md says how to write them")
    mended = len(known - keys)
    if mended:
        print(f"{mended} lines of the baseline are mended: tests/english.py --update takes them out")
    return int(bool(fresh))


if __name__ == "__main__":
    sys.exit(main())
