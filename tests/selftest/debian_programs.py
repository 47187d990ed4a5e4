"""Debian packages that self-tests need and the host lacks: unpacked in the cache, never installed.

The host is not changed, root is not needed, and no service starts (the package ser2net would start one).
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
    """Return the path of a program: the host's own or the unpacked one. Skip the test if apt cannot provide it.

    :param package: the Debian package that contains it.
    """
    if own := shutil.which(name, path=SEARCH_PATH):
        return own
    root = unpack_package(package)
    found = next((root / folder / name for folder in FOLDERS if (root / folder / name).is_file()), None)
    assert found, f"Debian's {package} has no program {name}"
    return str(_wrap_with_libraries(found, root))


def _wrap_with_libraries(found: Path, root: Path) -> Path:
    """Write a script that runs a program with its unpacked libraries. Return the program itself if there are none."""
    libraries = ":".join(sorted({str(path.parent) for path in root.rglob("*.so*")}))
    if not libraries:
        return found
    wrapper = root / "run" / found.name
    wrapper.parent.mkdir(exist_ok=True)
    # gensio, the library of ser2net, searches GENSIO_LIBRARY_PATH for its plugins.
    paths = [f"{name}={libraries}" for name in ("LD_LIBRARY_PATH", "GENSIO_LIBRARY_PATH")]
    command = shlex.join(["env", *paths, str(found)])
    wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


@functools.cache
def unpack_package(package: str) -> Path:
    """Return the folder of an unpacked package and its missing dependencies. Skip the test if apt lacks the package."""
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

    return cache.get_or_build(f"package-{package}", cache.compute_key(exact), unpack)
