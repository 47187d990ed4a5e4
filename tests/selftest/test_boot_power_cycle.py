"""Power control is verified on the console of a simulated unit: a switch without effect is detected."""

import time
from collections.abc import Iterator
from pathlib import Path

import powered
import pytest

from fixtures.boot import power_cycle
from fixtures.lab.labfile import Command
from fixtures.link.console import Console
from fixtures.outcome import LabError
from fixtures.power.command import CommandPower
from fixtures.power.switch import PowerSwitch, create_power_switch


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts: the simulated unit answers at once."""
    monkeypatch.setattr(power_cycle, "KEYPRESS_TIMEOUT", 0.4)


@pytest.fixture
def power_file(tmp_path: Path) -> Path:
    """File of the power commands of the simulated unit, which is on."""
    path = tmp_path / "power"
    path.write_text("on")
    return path


@pytest.fixture
def console(power_file: Path, tmp_path: Path) -> Iterator[Console]:
    with powered.unit(power_file) as url, Console(url, 115200, tmp_path / "console.log") as console:
        yield console


def make_switch(
    power_file: Path, *, on: str = "echo on >{power_file}", off: str = "echo off >{power_file}", settle: float = 0.2
) -> PowerSwitch:
    commands = Command(on=on.format(power_file=power_file), off=off.format(power_file=power_file), settle=settle)
    return create_power_switch(commands, "ls1046a/bench-1")


def test_working_switch_powers_off_and_on(power_file: Path, console: Console) -> None:
    started = time.monotonic()
    power_cycle.power_off(make_switch(power_file), console, "bench-1")
    assert time.monotonic() - started >= 0.2 + power_cycle.KEYPRESS_TIMEOUT
    power_cycle.power_on(make_switch(power_file), console, "bench-1", 5)
    console.expect("Hit any key", 5, "the countdown")


def test_power_off_of_a_unit_that_is_off_succeeds(power_file: Path, console: Console) -> None:
    power_cycle.power_off(make_switch(power_file), console, "bench-1")
    power_cycle.power_off(make_switch(power_file), console, "bench-1")


def test_output_from_before_power_off_is_ignored(power_file: Path, console: Console) -> None:
    console.type_keys("x")
    console.expect("INTERRUPT", 5, "an answer")
    power_cycle.power_off(make_switch(power_file), console, "bench-1")


def test_power_off_fails_if_the_unit_still_answers(power_file: Path, console: Console) -> None:
    with pytest.raises(LabError) as caught:
        power_cycle.power_off(make_switch(power_file, off="true"), console, "ls1046a/bench-1")
    message = str(caught.value)
    assert message.startswith(
        "power-off failed: unit ls1046a/bench-1 still answers on its console 0.2 s after power-off (output: '"
    )
    assert "INTERRUPT" in message or "<" in message
    assert "Check that `power` and `console` of this unit in the lab file belong together." in message
    assert message.endswith("raise `settle` under `power`.")


def test_power_on_fails_if_the_unit_stays_silent(power_file: Path, console: Console) -> None:
    power_cycle.power_off(make_switch(power_file), console, "bench-1")
    with pytest.raises(LabError) as caught:
        power_cycle.power_on(make_switch(power_file, on="true"), console, "bench-1", 0.3)
    assert str(caught.value).startswith(
        f"power-on failed: unit bench-1 printed nothing within 0.3 s on console {console.url}. Check that `power`"
    )


def test_power_on_fails_if_a_hung_unit_was_never_off(power_file: Path, tmp_path: Path) -> None:
    with powered.unit(power_file, silent=True) as url, Console(url, 115200, tmp_path / "console.log") as console:
        power_cycle.power_off(make_switch(power_file, off="true"), console, "bench-1")
        with pytest.raises(LabError, match="power-on failed: unit bench-1 printed nothing within"):
            power_cycle.power_on(make_switch(power_file), console, "bench-1", 0.3)


def test_verified_switch_is_not_checked_on_the_console(power_file: Path, console: Console) -> None:
    """QMP reports the state of the machine. A key would wait in the UART of a stopped machine and stop its autoboot."""
    verified_switch = make_switch(power_file, off="true")
    verified_switch.is_verified = True
    started = time.monotonic()
    power_cycle.power_off(verified_switch, console, "bench-1")
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    ("command", "message"), [("exit 3", "exit status 3"), ("echo no >&2; false", r"\(output: no\)")]
)
def test_failing_command_is_a_lab_error_with_its_output(command: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        CommandPower(Command(on=command, off="true")).on()
