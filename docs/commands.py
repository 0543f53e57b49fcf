#!/usr/bin/env python3
"""Writes docs/commands.md: what each command says of itself, from the snapshots that the tests of the command line hold.

    just commands                  writes the page
    docs/commands.py --check       fails when the page is not what it would write
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HELP = ROOT / "crates/cli/src/snapshots"
PAGE = ROOT / "docs/commands.md"

HEAD = """# Commands

Written by `docs/commands.py` (`just commands`) from the help texts, which tests hold; change those (`crates/cli/src/commands/`), not this file.
What a command is for, and when: [operations](operations.md), [on call](sre.md).

Exit codes: 0 fine; 1 needs attention; 2 what it looked at is broken, or wrong use or an error.
"""


def texts():
    """Help texts by the words of a command, in the order in which `hookline --help` lists them."""
    found = {}
    for path in HELP.glob("hookline__tests__help_hookline*.snap"):
        text = path.read_text().split("---\n", 2)[2].strip("\n")
        words = tuple(re.search(r"^Usage: (.*)$", text, re.M)[1].split())
        found[tuple(word for word in words if re.fullmatch(r"[a-z][a-z-]*", word))] = text

    def order(words):
        """Where each word stands in the list of the command above it."""
        places = []
        for depth in range(1, len(words)):
            listed = re.findall(r"^  ([a-z][a-z-]*) ", found[words[:depth]], re.M)
            places.append(listed.index(words[depth]))
        return places

    return [(words, found[words]) for words in sorted(found, key=order)]


def page():
    parts = [HEAD]
    for words, text in texts():
        parts.append(f"\n## `{' '.join(words)}`\n\n```text\n{text}\n```\n")
    return "".join(parts)


def main():
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != page():
            sys.exit("docs/commands.md is not what the help texts say: just commands")
        return
    PAGE.write_text(page())
    print(f"wrote docs/commands.md: {len(texts())} commands")


main()
