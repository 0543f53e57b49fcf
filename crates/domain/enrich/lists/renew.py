"""Renews crawler-user-agents.tsv from the package "crawler-user-agents" of PyPI (MIT).

python3 crates/domain/enrich/lists/renew.py [VERSION]     without a version: the newest

Afterwards: run `tests/labels`, read what it says about people who are now called bots, and add the patterns behind them to
adjusted.tsv.
"""
import json, pathlib, re, subprocess, sys, tempfile, zipfile

HERE = pathlib.Path(__file__).parent
# Tags of the list, the most telling first, and the kind that counted_by gets.
KINDS = [
    ("social-preview", "preview"), ("monitoring", "monitor"), ("scanner", "scanner"), ("http-library", "program"),
    ("browser-automation", "program"), ("search-engine", "crawler"), ("ai-crawler", "crawler"), ("seo", "crawler"),
    ("advertising", "crawler"), ("feed-reader", "crawler"), ("archiver", "crawler"), ("academic", "crawler"),
]
PLAIN = re.compile(r"\^?(\\[^a-zA-Z0-9]|[^\\.\[\](){}*+?|^$\t])+\$?")

wanted = "crawler-user-agents" + (f"=={sys.argv[1]}" if len(sys.argv) > 1 else "")
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, wanted], check=True)
    (wheel,) = pathlib.Path(folder).glob("*.whl")
    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as package:
        (name,) = [name for name in package.namelist() if name.endswith("crawler-user-agents.json")]
        entries = json.loads(package.read(name))

lines = (HERE / "adjusted.tsv").read_text().splitlines()
adjusted = {line.split("\t")[0] for line in lines if line and not line.startswith("#")}
unread = [entry["pattern"] for entry in entries if entry["pattern"] not in adjusted and not PLAIN.fullmatch(entry["pattern"])]
if unread:
    sys.exit("These patterns are not plain text. Add them to adjusted.tsv, and what is meant to ours.tsv:\n  " + "\n  ".join(unread))
gone = adjusted - {entry["pattern"] for entry in entries}
if gone:
    print("No longer in the list, so adjusted.tsv can lose them:", *sorted(gone), sep="\n  ")

rows = []
for entry in entries:
    if entry["pattern"] in adjusted:
        continue
    kind = next((kind for tag, kind in KINDS if tag in entry.get("tags", [])), "crawler")
    text = re.sub(r"\\(.)", r"\1", entry["pattern"]).lower()
    rows.append(f"{kind}\t{text}")
head = f"# crawler-user-agents {version} (MIT, see crawler-user-agents.LICENSE), less adjusted.tsv; written by renew.py\n"
(HERE / "crawler-user-agents.tsv").write_text(head + "\n".join(dict.fromkeys(rows)) + "\n")
print(f"{version}: {len(rows)} of {len(entries)} patterns")
