"""The recovery of a unit: which step follows which error."""

import pytest

from fixtures.gate.recovery import MAX_KERNEL_FAULTS, Abilities, Recovery, Step

BOOTED = Abilities(can_boot=True, has_console=True, was_up=True)
NEVER_UP = Abilities(can_boot=True, has_console=True, was_up=False)
SSH_ONLY = Abilities(can_boot=False, has_console=False, was_up=True)
CONSOLE_ONLY = Abilities(can_boot=False, has_console=True, was_up=True)


def started_recovery(unit: Abilities) -> Recovery:
    """Return the recovery of a unit that was just leased."""
    recovery = Recovery()
    recovery.start(unit)
    return recovery


def steps_of_lab_errors(unit: Abilities, count: int) -> list[Step]:
    """Return the steps that follow a number of lab errors in a row."""
    recovery = Recovery()
    recovery.begin_lease()
    recovery.start(unit)
    steps = []
    for number in range(count):
        recovery.after_lab_error(unit, f"error {number}")
        steps.append(recovery.step)
        recovery.begin_step()
        recovery.succeed()
    return steps


@pytest.mark.parametrize(
    ("unit", "steps"),
    [
        (BOOTED, [Step.RECONNECT, Step.RESET, Step.POWER_CYCLE, Step.QUARANTINE]),
        (NEVER_UP, [Step.POWER_CYCLE, Step.QUARANTINE]),
        (SSH_ONLY, [Step.RECONNECT, Step.QUARANTINE]),
        (CONSOLE_ONLY, [Step.RECONNECT, Step.QUARANTINE]),
    ],
)
def test_lab_errors_escalate_to_quarantine(unit: Abilities, steps: list[Step]) -> None:
    assert steps_of_lab_errors(unit, len(steps)) == steps


def test_no_step_is_taken_twice_on_one_lease() -> None:
    """Also not if the unit came up in between: POWER_CYCLE was taken, so RECONNECT is not."""
    recovery = started_recovery(NEVER_UP)
    recovery.after_lab_error(NEVER_UP, "no prompt")
    recovery.succeed()
    recovery.after_lab_error(BOOTED, "SSH lost")
    assert recovery.step is Step.QUARANTINE


def test_recovery_starts_anew_with_another_unit() -> None:
    recovery = started_recovery(BOOTED)
    for _ in range(4):
        recovery.after_lab_error(BOOTED, "SSH lost")
    recovery.begin_lease()
    recovery.start(BOOTED)
    assert (recovery.step, recovery.cause) == (Step.POWER_CYCLE, "")
    recovery.after_lab_error(BOOTED, "SSH lost")
    assert recovery.step is Step.RECONNECT


@pytest.mark.parametrize(("unit", "step"), [(BOOTED, Step.POWER_CYCLE), (CONSOLE_ONLY, Step.RECONNECT)])
def test_kernel_fault_takes_the_bring_up_step_at_once(unit: Abilities, step: Step) -> None:
    recovery = started_recovery(unit)
    recovery.after_kernel_fault(unit, "kernel panic")
    assert (recovery.step, recovery.cause, recovery.is_pending) == (step, "kernel panic", True)


def test_kernel_fault_uses_up_no_step() -> None:
    recovery = started_recovery(BOOTED)
    recovery.after_kernel_fault(BOOTED, "kernel panic")
    recovery.after_lab_error(BOOTED, "SSH lost")
    assert recovery.step is Step.RECONNECT


def test_too_many_kernel_faults_exhaust_the_recovery() -> None:
    recovery = started_recovery(BOOTED)
    for _ in range(MAX_KERNEL_FAULTS):
        assert not recovery.is_exhausted
        recovery.after_kernel_fault(BOOTED, "kernel panic")
    assert recovery.is_exhausted


def test_unreachable_unit_is_quarantined_at_once() -> None:
    """A console that cannot be opened: the unit is leased, and nothing can be done with it."""
    recovery = Recovery()
    recovery.begin_lease()
    recovery.after_lab_error(SSH_ONLY, "console cannot be opened")
    assert recovery.step is Step.QUARANTINE


def test_each_cause_starts_one_recovery_step() -> None:
    recovery = started_recovery(BOOTED)
    assert recovery.begin_step() == ""
    recovery.after_lab_error(BOOTED, "SSH lost")
    assert recovery.is_pending
    assert recovery.begin_step() == "SSH lost"
    assert not recovery.is_pending
    recovery.succeed()
    assert recovery.cause == ""
