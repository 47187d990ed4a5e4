"""`--cryptodev DIR`: a cryptodev module built from a user's sources, with a Makefile such as cryptodev-linux's."""

import shutil
from pathlib import Path

import pytest
from gate_run import ROOT, UNIT, GateResult, run_gate

STAND_IN = ROOT / "fixtures/virt/cryptodev"
MAKEFILE = """VERSION = 9.9-own
KERNEL_DIR ?= /lib/modules/$(shell uname -r)/build
build: version.h
\t$(MAKE) -C $(KERNEL_DIR) M=$(CURDIR) ARCH=$(ARCH) CROSS_COMPILE=$(CROSS_COMPILE) modules
version.h: Makefile
\t@echo '#define OWN_VERSION "$(VERSION)"' > version.h
"""
FEW_TESTS = ("tests/test_boot.py", "tests/test_stack.py", "-k", "boot or loaded")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Sources of the stand-in, changed to print their version in the kernel log alone, as cryptodev-linux does."""
    folder = tmp_path / "own"
    shutil.copytree(STAND_IN, folder)
    (folder / "Makefile").write_text(MAKEFILE)
    main = folder / "device.c"
    text = main.read_text().replace("MODULE_VERSION(STANDIN_VERSION);\n", "")
    main.write_text(
        text.replace(
            '#define STANDIN_VERSION "1.14-standin"', '#include "version.h"\n#define STANDIN_VERSION OWN_VERSION'
        )
    )
    return folder


def cryptodev_version(run: GateResult) -> str:
    """Return the version of cryptodev in the run record."""
    (fact,) = (record["value"] for record in run.records_of("fact") if record["name"] == "cryptodev version")
    return str(fact)


def test_sources_are_built_for_the_image(sources: Path) -> None:
    run = run_gate("--board", UNIT, "--cryptodev", sources, *FEW_TESTS)
    assert run.is_healthy, run.text
    assert cryptodev_version(run) == "9.9-own"


def test_compiler_errors_are_shown(sources: Path) -> None:
    (sources / "device.c").write_text("#error this is not finished\n")
    run = run_gate("--board", UNIT, "--cryptodev", sources, *FEW_TESTS)
    assert run.exit_status == 9, run.text
    assert "#error this is not finished" in run.text, run.text
