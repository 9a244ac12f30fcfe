"""How much an installation downloads on this machine: asks pip what it would install, and the index how large that is.

python benchmarks/download_size.py [--extra dev]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]


def planned_downloads(extra: str) -> list[tuple[str, str]]:
    """Return name and address of each file that pip would download, wheels on this disk left out of account."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--report", str(report), "-c", str(ROOT / "constraints.txt"), f"{ROOT}[{extra}]"]
        plain = {k: v for k, v in os.environ.items() if k not in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")}
        subprocess.run(command, check=True, env={**plain, "PIP_CONFIG_FILE": os.devnull})
        items = json.loads(report.read_text())["install"]
    files = [(item["metadata"]["name"], item["download_info"]["url"]) for item in items]
    return [(name, url) for name, url in files if url.startswith("http")]


def size(url: str) -> int:
    """Return the bytes of a file on the index."""
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
        return int(answer.headers["Content-Length"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", default="all", help="which extra of the project to install (default: all)")
    sizes = {name: size(url) for name, url in planned_downloads(parser.parse_args().extra)}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:10]:
        print(f"{sizes[name] / 1e6:8.0f} MB  {name}")
    cuda = sum(n for name, n in sizes.items() if name.startswith(("nvidia", "cuda", "triton")) or name == "torch")
    print(f"{sum(sizes.values()) / 1e9:8.2f} GB  in {len(sizes)} packages, {cuda / 1e9:.2f} GB of it torch with CUDA")


if __name__ == "__main__":
    main()
