"""Writes a CycloneDX 1.5 list of what the functions are linked from: usage package_sbom.py FILE

Names, versions, licences and checksums come from cargo itself (cargo metadata, Cargo.lock); only what the functions' crate needs to run is
listed, without what builds and tests it. No time and no random serial number, so the same sources give the same list.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"


def metadata() -> dict:
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={TARGET}"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def linked(graph: dict, root: str) -> tuple[set[str], dict[str, list[str]]]:
    """Package ids that root needs at run time, and who needs whom of them."""
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    needs, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package in needs:
            continue
        normal = [
            dependency["pkg"]
            for dependency in nodes[package]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
        needs[package] = sorted(normal)
        waiting.extend(normal)
    return set(needs), needs


def component(package: dict, checksums: dict) -> dict:
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if package.get("license"):
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if (name, version) in checksums:
        found["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
    if package.get("repository"):
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def main(path: Path) -> None:
    graph = metadata()
    packages = {package["id"]: package for package in graph["packages"]}
    root = next(id for id, package in packages.items() if package["name"] == "functions" and package["source"] is None)
    ids, needs = linked(graph, root)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}
    components = {id: component(packages[id], checksums) for id in ids}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": components[root] | {"type": "application"}},
        "components": sorted((c for id, c in components.items() if id != root), key=lambda c: c["bom-ref"]),
        "dependencies": sorted(
            (
                {"ref": components[id]["bom-ref"], "dependsOn": sorted(components[need]["bom-ref"] for need in needs[id])}
                for id in ids
            ),
            key=lambda d: d["ref"],
        ),
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print(f"{path}: {len(components)} components")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
