#!/usr/bin/env python3
"""What the binary is built from, as CycloneDX 1.5 JSON: the crates that cargo takes for one platform, without those of tests.

    deploy/release/sbom.py x86_64-unknown-linux-gnu
"""

import json
import subprocess
import sys


def metadata(target):
    said = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target], capture_output=True, text=True, check=True)
    return json.loads(said.stdout)


def reached(nodes, root):
    """Crates that the root needs to be built; a crate that only tests need is not in the binary."""
    found, left = {}, [root]
    while left:
        node = nodes[left.pop()]
        if node["id"] in found:
            continue
        found[node["id"]] = [each["pkg"] for each in node["deps"] if any(kind["kind"] != "dev" for kind in each["dep_kinds"])]
        left += found[node["id"]]
    return found


def component(package, kind="library"):
    entry = {"type": kind, "bom-ref": package["id"], "name": package["name"], "version": package["version"], "purl": f"pkg:cargo/{package['name']}@{package['version']}"}
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package.get("repository"):
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def main():
    tree = metadata(sys.argv[1])
    packages = {package["id"]: package for package in tree["packages"]}
    root = next(package["id"] for package in tree["packages"] if package["name"] == "hookline")
    needs = reached({node["id"]: node for node in tree["resolve"]["nodes"]}, root)
    # No name of a folder: our own crates are found by name.
    local = {id: package["name"] for id, package in packages.items() if not package["source"]}
    for id, name in local.items():
        packages[id] = {**packages[id], "id": name}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[root], "application")},
        "components": sorted((component(packages[id]) for id in needs if id != root), key=lambda entry: (entry["name"], entry["version"])),
        "dependencies": sorted(({"ref": packages[id]["id"], "dependsOn": sorted({packages[each]["id"] for each in below})} for id, below in needs.items()), key=lambda entry: entry["ref"]),
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


main()
