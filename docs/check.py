#!/usr/bin/env python3
"""Holds the documentation: links and anchors lead somewhere, every page is in the index, every command line is one that hookline has.

    docs/check.py

Commands and options are those of the help texts that crates/cli/src/snapshots holds, so nothing has to be built.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "STYLE.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
# Read, and not part of the book.
BESIDE = sorted((ROOT / "crates").rglob("README.md"))
HELP = ROOT / "crates/cli/src/snapshots"
FENCE = re.compile(r"^\s*(```|~~~)\s*(\w*)")
PROBLEMS = []


def problem(path, line, what):
    PROBLEMS.append(f"{path.relative_to(ROOT)}:{line}: {what}")


def lines_of(path):
    """Each line with its number, and the language of the block of code that it is in: None outside of one."""
    language = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence:
            language = None if language is not None else fence[2]
            continue
        yield number, line, language


def slug(heading):
    """As GitHub makes the anchor of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(path):
    found, seen = set(), {}
    for _, line, language in lines_of(path):
        found.update(re.findall(r'<a (?:id|name)="([^"]+)"', line))
        heading = re.match(r"#{1,6}\s+(.*)", line) if language is None else None
        if heading:
            name = slug(heading[1])
            count = seen.get(name, 0)
            seen[name] = count + 1
            found.add(f"{name}-{count}" if count else name)
    return found


def links(path):
    for number, line, language in lines_of(path):
        if language is None:
            # Code is not a link, but the text of a link may be code.
            hidden = re.sub(r"`[^`]*`", lambda code: "`" + "x" * (len(code[0]) - 2) + "`", line)
            for found in re.finditer(r"\[([^\[\]]*)\]\(([^)\s]+)\)", hidden):
                yield number, line[found.start(1):found.end(1)].strip("`"), found[2]
            for found in re.finditer(r"^\[([^\]]+)\]:\s+(\S+)", hidden):
                yield number, found[1], found[2]


def check_links():
    known = {}
    reached = {}
    for path in PAGES:
        for number, text, target in links(path):
            if "://" in target or target.startswith("mailto:"):
                continue
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            if not there.exists():
                problem(path, number, f"links to {target}, which is not there")
                continue
            reached.setdefault(path, set()).add(there)
            if there.suffix == ".rs" and re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+){2,}", text) and f"fn {text}(" not in there.read_text():
                problem(path, number, f"says that {target} has a test {text}, which it has not")
            if anchor and there.suffix == ".md":
                if there not in known:
                    known[there] = anchors(there)
                if anchor not in known[there]:
                    problem(path, number, f"links to {target}, which has no such heading")
    return reached


def check_paths():
    """A file that a page names in code is there: the end of its path is enough. Files that people write have no folder."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    ends = {"/".join(parts[place:]) for parts in (file.split("/") for file in listed) for place in range(len(parts))}
    for path in PAGES + BESIDE:
        for number, line, language in lines_of(path):
            if language is not None:
                continue
            for code in re.findall(r"`([\w.-]+(?:/[\w.-]+)+\.(?:rs|py|sql|c))`", line):
                if code not in ends and path.name != "CHANGELOG.md" and not re.search(r"[A-Z]{3}", code):
                    problem(path, number, f"names {code}, which is not there")


def check_index(reached):
    """Who begins at docs/README.md finds every page of the book."""
    index = ROOT / "docs/README.md"
    found, left = set(), [index]
    while left:
        page = left.pop()
        if page not in found:
            found.add(page)
            for there in reached.get(page, ()):
                left += [there] if there.suffix == ".md" else sorted(there.glob("*.md")) if there.is_dir() else []
    for page in PAGES:
        if page not in found:
            problem(page, 1, "cannot be reached from docs/README.md")


def commands():
    """Options by the words of a command: ("ledger", "recover") has {"--apply", …}."""
    known = {}
    for path in HELP.glob("hookline__tests__help_hookline*.snap"):
        text = path.read_text()
        usage = re.search(r"^Usage: hookline ?(.*)$", text, re.M)
        words = tuple(word for word in usage[1].split() if re.fullmatch(r"[a-z][a-z-]*", word))
        known[words] = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*|-[a-zA-Z])(?=[\s,=\[]|$)", text))
    return known


def written(path):
    """Command lines of hookline on a page: in blocks of shell, and in code within a sentence."""
    wanted = True
    for number, line, language in lines_of(path):
        if language is None and line.startswith("#"):
            wanted = not re.search(r"not there|not yet", line, re.I)
        if not wanted:
            continue
        if language in ("sh", "bash", "console", "shell"):
            line = re.sub(r"(^|\s)#.*$", "", line)
            for part in re.split(r"\||&&|;|\$\(", line):
                found = re.match(r"\s*(?:[A-Z_]+=\S+\s+)*(?:\S*/)?hookline\s+(.*)$", part) or re.search(r"cargo run --release -- (.*)$", part)
                if found:
                    yield number, found[1]
        elif language is None:
            for code in re.findall(r"`([^`]+)`", line):
                found = re.match(r"hookline\s+(.*)$", code) or re.match(r"cargo run --release -- (.*)$", code)
                if found:
                    yield number, found[1]


def check_command(path, number, text, known):
    words = re.sub(r"[\[\]()]", " ", text).replace("…", " ").split()
    if not words:
        return 0
    count = 0
    # `pause|resume` are two commands.
    for first in words[0].split("|"):
        if not re.match(r"^[a-z-]", first):
            continue
        count += 1
        command = () if first.startswith("-") else (first,)
        if command not in known:
            problem(path, number, f"hookline has no {first}")
            continue
        rest = words[1:] if command else words
        if rest and (*command, rest[0]) in known:
            command, rest = (*command, rest[0]), rest[1:]
        for word in rest:
            if word == "--":
                break
            for option in word.split("|"):
                name = option.split("=")[0].rstrip(",.;:")
                if re.fullmatch(r"--[a-z][a-z-]*", name) and name not in known[command] | {"--help", "--version"}:
                    problem(path, number, f"hookline {' '.join(command)} has no {name}")
    return count


def main():
    check_index(check_links())
    check_paths()
    known = commands()
    count = sum(check_command(path, number, text, known) for path in PAGES if path.name != "CHANGELOG.md" for number, text in written(path))
    if count < 100 or len(known) < 25:
        problem(ROOT / "docs/check.py", 1, f"found {count} command lines and {len(known)} commands: it looks at the wrong places")
    page = subprocess.run([ROOT / "docs/commands.py", "--check"], capture_output=True, text=True)
    if page.returncode != 0:
        problem(ROOT / "docs/commands.md", 1, page.stderr.strip())
    for line in PROBLEMS:
        print(f"  {line}")
    print(f"  {len(PAGES)} pages, {count} command lines")
    sys.exit(1 if PROBLEMS else 0)


main()
