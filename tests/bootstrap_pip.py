"""Installs one known pip into the environment whose Python runs this file.

For a Python without ensurepip. Asks the package index (PIP_INDEX_URL, or PyPI) where the wheel is
and takes it only if its SHA-256 is the one below; a wheel can install itself.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

WHEEL = "pip-26.3-py3-none-any.whl"
SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
INDEX = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"


def fetch(url, accept="*/*"):
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def main():
    listing = json.loads(fetch(INDEX, "application/vnd.pypi.simple.v1+json"))
    links = [file["url"] for file in listing["files"] if file["filename"] == WHEEL]
    if not links:
        sys.exit(f"{INDEX} has no {WHEEL}")
    wheel = fetch(urllib.parse.urljoin(INDEX, links[0]))
    if hashlib.sha256(wheel).hexdigest() != SHA256:
        sys.exit(f"{links[0]} is not the {WHEEL} that is expected")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, WHEEL)
        with open(path, "wb") as file:
            file.write(wheel)
        pip = [sys.executable, os.path.join(path, "pip")]
        subprocess.run([*pip, "install", "--quiet", "--no-index", path], check=True)


main()
