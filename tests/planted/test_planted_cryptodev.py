"""A user's own cryptodev in the place of the stand-in, from its sources, by a Makefile such as cryptodev-linux's."""

import shutil
from pathlib import Path

import pytest
from gaterun import ROOT, UNIT, Run, ask

STAND_IN = ROOT / "fixtures/virt/cryptodev"
MAKEFILE = """VERSION = 9.9-own
KERNEL_DIR ?= /lib/modules/$(shell uname -r)/build
build: version.h
\t$(MAKE) -C $(KERNEL_DIR) M=$(CURDIR) ARCH=$(ARCH) CROSS_COMPILE=$(CROSS_COMPILE) modules
version.h: Makefile
\t@echo '#define OWN_VERSION "$(VERSION)"' > version.h
"""
FEW = ("tests/test_boot.py", "tests/test_stack.py", "-k", "boot or loaded")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The stand-in's, which tell their version to the kernel's log alone, as those of cryptodev-linux do."""
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


def version(run: Run) -> str:
    """The version that the run record has."""
    assert run.status == 0, run.text
    (fact,) = (record["value"] for record in run.of("fact") if record["name"] == "cryptodev version")
    return str(fact)


def test_sources_are_built_for_the_image(sources: Path) -> None:
    assert version(ask("--board", UNIT, "--cryptodev", sources, *FEW)) == "9.9-own"


def test_sources_that_do_not_compile_are_told_with_what_the_compiler_said(sources: Path) -> None:
    (sources / "device.c").write_text("#error this is not finished\n")
    run = ask("--board", UNIT, "--cryptodev", sources, *FEW)
    assert run.status == 9, run.text
    assert "#error this is not finished" in run.text, run.text
