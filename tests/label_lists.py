"""Fetches lists of user agents that others keep and writes them as texts, an agent a line.

python3 tests/label_lists.py FOLDER

They measure the product (crates/domain/enrich/tests/lists.rs) and are not part of it: some have licences that we do not take.
"""
import json, pathlib, re, subprocess, sys, tarfile, tempfile, zipfile

PYPI = ["crawler-user-agents==1.67.0", "device-detector==6.5.1", "fake-useragent==2.2.0"]
NPM = ["top-user-agents@2.1.138", "user-agents@2.1.198", "user-agents@2.1.190"]


def fetched(folder):
    """All files of the packages: (package, path) -> bytes."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, *PYPI], check=True)
    subprocess.run(["npm", "pack", "--silent", *NPM], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    for path in sorted(pathlib.Path(folder).iterdir()):
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as package:
                yield from (((path.name, name), package.read(name)) for name in package.namelist())
        elif path.suffix == ".tgz":
            with tarfile.open(path) as package:
                yield from (((path.name, item.name), package.extractfile(item).read()) for item in package if item.isfile())


def of_yaml(text):
    """The values of user_agent: in a file of fixtures, which has one a line."""
    for line in text.splitlines():
        found = re.match(r"\s*-?\s*user_agent:\s*(.+?)\s*$", line)
        if found:
            value = found[1]
            if value[0] == value[-1] == "'" and len(value) > 1:
                value = value[1:-1].replace("''", "'")
            elif value[0] == value[-1] == '"' and len(value) > 1:
                value = value[1:-1].replace('\\"', '"')
            yield value


def of_json(value):
    """Every userAgent, useragent and plain text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from of_json(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name.lower() == "useragent":
                yield item


def main(folder):
    lists = {name: {} for name in ("bots-crawler-user-agents", "bots-matomo", "browsers", "devices-matomo")}

    def add(name, agents):
        lists[name].update((" ".join(agent.split()), None) for agent in agents if agent.strip())

    with tempfile.TemporaryDirectory() as packages:
        for (package, path), content in fetched(packages):
            fixture = re.search(r"tests/fixtures/.*\.yml$", path)
            if path.endswith("crawler-user-agents.json"):
                add("bots-crawler-user-agents", [agent for entry in json.loads(content) for agent in entry["instances"]])
            elif fixture and path.endswith("bots.yml"):
                add("bots-matomo", of_yaml(content.decode()))
            elif fixture and not path.endswith("unknown.yml"):
                agents = of_yaml(content.decode())
                add("devices-matomo", [agent for agent in agents if "Safari/" in agent or "Firefox/" in agent])
            elif path.endswith("browsers.jsonl"):
                add("browsers", [json.loads(line)["useragent"] for line in content.decode().splitlines()])
            elif "user-agents" in package and path.endswith(".json") and "package.json" not in path:
                add("browsers", of_json(json.loads(content)))
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, agents in lists.items():
        if not agents:
            sys.exit(f"no agents for {name}: its package has another layout")
        (folder / f"{name}.txt").write_text("\n".join(agents) + "\n")
        print(f"{name}: {len(agents)} agents")
    (folder / "complete").touch()


main(sys.argv[1])
