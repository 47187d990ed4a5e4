"""Debian packages that self-tests need and the host lacks: unpacked below the cache, never installed.

Nothing of the host changes, no root is needed, and no service starts, as the package ser2net would have one.
"""

import functools
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures import cache
from fixtures.virt.debian import SEARCH_PATH, run

FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin")


def find_program(name: str, package: str) -> str:
    """Return the path of a program: the host's own, or that of the unpacked package. Skips the test if there is none.

    :param package: the Debian package that brings it.
    """
    if own := shutil.which(name, path=SEARCH_PATH):
        return own
    root = unpacked(package)
    found = next((root / folder / name for folder in FOLDERS if (root / folder / name).is_file()), None)
    assert found, f"Debian's {package} has no program {name}"
    return str(_with_its_libraries(found, root))


def _with_its_libraries(found: Path, root: Path) -> Path:
    """Return a program that becomes another, with the libraries that were unpacked with it; the same if none were."""
    libraries = ":".join(sorted({str(path.parent) for path in root.rglob("*.so*")}))
    if not libraries:
        return found
    wrapper = root / "run" / found.name
    wrapper.parent.mkdir(exist_ok=True)
    # gensio, which ser2net is made of, looks for its parts in a path of its own.
    paths = [f"{name}={libraries}" for name in ("LD_LIBRARY_PATH", "GENSIO_LIBRARY_PATH")]
    command = shlex.join(["env", *paths, str(found)])
    wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


@functools.cache
def unpacked(package: str) -> Path:
    """Return the folder in which a package lies, with all it needs that the host lacks. Skips where apt has none."""
    if not shutil.which("apt-get"):
        pytest.skip(f"this host has no apt-get to fetch Debian's package {package} with")
    simulated = subprocess.run(
        ["apt-get", "--simulate", "--no-install-recommends", "install", package],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if simulated.returncode:
        pytest.skip(f"apt-get has no package {package}: {simulated.stderr.strip()}; `apt-get update` fetches its lists")
    packages = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", simulated.stdout, re.MULTILINE)
    exact = [f"{name}={version}" for name, version in packages]

    def unpack(into: Path) -> None:
        archives = into / "archives"
        archives.mkdir()
        run(["apt-get", "-q", "download", *exact], cwd=archives)
        for archive in archives.glob("*.deb"):
            run(["dpkg-deb", "--extract", str(archive), str(into)])
            archive.unlink()

    return cache.built(f"package-{package}", cache.key_of(exact), unpack)
