"""Blocked tasks are found with the kernel function in which each of them waits."""

import threading
import time
from pathlib import Path

from local_shell import LocalShell

from fixtures.limits import MAX_BLOCKED_TASKS, MAX_FACT_LENGTH, MAX_STACK_LENGTH
from fixtures.stack.blocked_tasks import BlockedTask, find_blocked_tasks, parse_blocked_tasks

THREE_TASKS = """task: openssl
[<0>] virtio_crypto_ctrl_vq_request+0x9c/0x100 [virtio_crypto]
[<0>] __arm64_sys_ioctl+0xb4/0x100
task: (a b)
task: hil-probe
[<0>] cipher_run+0x1c/0x80 [cryptodev]
"""


def test_each_task_has_its_stack() -> None:
    tasks = parse_blocked_tasks(THREE_TASKS)
    assert [task.task for task in tasks] == ["openssl", "(a b)", "hil-probe"]
    assert tasks[0].stack.splitlines() == [
        "[<0>] virtio_crypto_ctrl_vq_request+0x9c/0x100 [virtio_crypto]",
        "[<0>] __arm64_sys_ioctl+0xb4/0x100",
    ]


def test_stack_is_empty_if_the_kernel_does_not_show_it() -> None:
    assert parse_blocked_tasks(THREE_TASKS)[1] == BlockedTask("(a b)", "")


def test_empty_output_means_no_blocked_task() -> None:
    assert parse_blocked_tasks("") == []


def test_first_tasks_are_kept() -> None:
    printed = "".join(f"task: {number}\n[<0>] wait+0x1/0x2\n" for number in range(10 * MAX_BLOCKED_TASKS))
    assert [task.task for task in parse_blocked_tasks(printed)] == [str(number) for number in range(MAX_BLOCKED_TASKS)]


def test_long_name_and_stack_of_a_task_are_cut() -> None:
    (task,) = parse_blocked_tasks(f"task: {'n' * 5000}\n{'s' * 1_000_000}")
    assert (len(task.task), len(task.stack)) == (MAX_FACT_LENGTH, MAX_STACK_LENGTH)


def write_task(folder: Path, number: int, name: str, state: str, switches: int) -> None:
    """Write the files of a task as in /proc."""
    task = folder / str(number)
    task.mkdir(exist_ok=True)
    (task / "status").write_text(f"Name:\t{name}\nState:\t{state}\nvoluntary_ctxt_switches:\t{switches}\n")
    (task / "comm").write_text(f"{name}\n")
    (task / "stack").write_text("[<0>] wait+0x1/0x2 [cryptodev]\n")


def test_task_that_runs_meanwhile_is_not_blocked(tmp_path: Path) -> None:
    write_task(tmp_path, 1, "stuck", "D (disk sleep)", 7)
    write_task(tmp_path, 2, "working", "D (disk sleep)", 7)
    write_task(tmp_path, 3, "sleeping", "S (sleeping)", 7)

    def run() -> None:
        time.sleep(1.5)
        write_task(tmp_path, 2, "working", "D (disk sleep)", 8)

    thread = threading.Thread(target=run)
    thread.start()
    tasks = find_blocked_tasks(LocalShell(replace={"/proc/": f"{tmp_path}/"}))
    thread.join()
    assert [(task.task, task.modules) for task in tasks] == [("stuck", ("cryptodev",))]
