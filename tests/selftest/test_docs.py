"""The documentation: every command works, every link leads somewhere, the examples are valid."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fixtures.lab.labfile import load_lab

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
RECORD = Path(__file__).parent / "data/record/before-evidence"
"""Run record of an earlier release."""
FENCE = re.compile(r"^```sh(?P<kind>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)#:]+)(#[^)]*)?\)")


@dataclass(frozen=True)
class Command:
    """A command of the documentation.

    `kind`: "" runs anywhere; `virt` and `hardware` need a board; `two-lines` are those of CI.
    """

    page: str
    kind: str
    text: str

    def __str__(self) -> str:
        """Return page and command, for test ids."""
        return f"{self.page}: {self.text}"


def commands(*kinds: str) -> list[Command]:
    """Return the commands of all pages, of these kinds."""
    return [
        Command(str(page.relative_to(ROOT)), fence["kind"].strip(), line)
        for page in PAGES
        for fence in FENCE.finditer(page.read_text())
        for line in fence["body"].splitlines()
        if fence["kind"].strip() in kinds
    ]


def run_command(command: str, *more: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command of the documentation with this interpreter's pytest and packages."""
    words = shlex.split(command)
    program = [sys.executable, "-m", "pytest"] if words[0] == "pytest" else [sys.executable]
    return subprocess.run(
        [*program, *words[1:], *more], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )


def test_every_command_is_of_a_known_kind() -> None:
    assert {fence["kind"].strip() for page in PAGES for fence in FENCE.finditer(page.read_text())} == {
        "", "virt", "hardware", "two-lines",
    }  # fmt: skip


@pytest.mark.parametrize("command", commands(""), ids=str)
def test_command_works(command: Command, tmp_path: Path) -> None:
    if "runs/latest" in command.text:
        shutil.copytree(RECORD, tmp_path / "runs/latest")
        result = run_command(command.text.replace("runs/latest", str(tmp_path / "runs/latest")))
    else:
        result = run_command(command.text)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("command", commands("virt"), ids=str)
def test_command_for_the_virtual_board_is_accepted(command: Command) -> None:
    """Everything up to the boot is run: options, board file, vectors, collection. CI runs whole gates."""
    result = run_command(command.text, "--collect-only", "-q")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def help_text() -> str:
    """Output of `pytest --help`."""
    return run_command("pytest --help").stdout


@pytest.mark.parametrize("command", commands("hardware"), ids=str)
def test_options_of_a_command_for_hardware_exist(command: Command, help_text: str) -> None:
    options = [word for word in command.text.split() if word.startswith("--")]
    assert [option for option in options if option not in help_text] == []


def test_two_lines_are_the_same_everywhere() -> None:
    """CI reads them from README.md."""
    lines = [command.text for command in commands("two-lines")]
    assert len(lines) == 4 and lines[:2] == lines[2:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [link["target"] for link in LINK.finditer(page.read_text())]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    """Files of the tree that a page names in backticks."""
    named = re.findall(r"`((?:fixtures|tests|boards|docs|examples)/[\w./-]+)`", page.read_text())
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def test_example_lab_file_is_valid(tmp_path: Path) -> None:
    key = tmp_path / "hil"
    key.touch(mode=0o600)
    text = (ROOT / "examples/lab.yaml").read_text().replace("~/.ssh/hil", str(key)).replace("/srv/tftp", str(tmp_path))
    (tmp_path / "lab.yaml").write_text(text)
    lab = load_lab(tmp_path / "lab.yaml")
    assert [unit.id for unit in lab.units] == ["ls1046a/bench-1", "ls1046a/bench-2"]


@pytest.mark.parametrize(
    ("file", "schema"), [("gitlab-ci.yml", "vendor.gitlab-ci"), ("github-workflow.yml", "vendor.github-workflows")]
)
def test_example_of_a_ci_job_fits_the_schema(file: str, schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, f"examples/{file}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def gate_lines(file: str) -> list[str]:
    """Return the lines of a CI example that start the gate."""
    text = (ROOT / "examples" / file).read_text()
    return [match[0] for match in re.finditer(r"tox -e gate.*", text)]


@pytest.mark.parametrize("file", ["gitlab-ci.yml", "github-workflow.yml"])
def test_gate_of_a_ci_example_is_accepted(file: str, tmp_path: Path) -> None:
    """The command that tox would run, with an image and a lab file, up to the boot."""
    lab = tmp_path / "lab.yaml"
    (tmp_path / "hil").touch(mode=0o600)
    text = (ROOT / "examples/lab.yaml").read_text()
    lab.write_text(text.replace("~/.ssh/hil", str(tmp_path / "hil")).replace("/srv/tftp", str(tmp_path)))
    image = tmp_path / "image"
    image.mkdir()
    for name in ("kernel", "dtb", "initrd", "itb"):
        (image / name).write_text(name)
    lines = gate_lines(file)
    assert len(lines) == 2
    for line in lines:
        arguments = line.partition(" -- ")[2] or "virt"
        arguments = arguments.replace("build/image", str(image))
        result = run_command(f"pytest --board {arguments}", "--lab", str(lab), "--collect-only", "-q")
        assert result.returncode == 0, result.stdout + result.stderr


def test_pre_commit_has_the_versions_of_tox() -> None:
    hooks = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    pinned = {pin for hook in hooks for pin in hook.get("additional_dependencies", [])}
    assert pinned == set(re.findall(r"^ +(ruff==\S+)$", (ROOT / "tox.ini").read_text(), re.MULTILINE))
