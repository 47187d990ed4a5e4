"""Is a task that does not come back found, with the place where it waits?"""

from fixtures.stack.blocked import Blocked, parse

TWO = """task: openssl
[<0>] virtio_crypto_ctrl_vq_request+0x9c/0x100 [virtio_crypto]
[<0>] __arm64_sys_ioctl+0xb4/0x100
task: (a b)
task: hil-probe
[<0>] cipher_run+0x1c/0x80 [cryptodev]
"""


def test_tasks_and_their_stacks() -> None:
    found = parse(TWO)
    assert [each.task for each in found] == ["openssl", "(a b)", "hil-probe"]
    assert found[0].stack.splitlines() == [
        "[<0>] virtio_crypto_ctrl_vq_request+0x9c/0x100 [virtio_crypto]",
        "[<0>] __arm64_sys_ioctl+0xb4/0x100",
    ]
    assert found[1] == Blocked("(a b)", ""), "a kernel that does not tell"


def test_nobody_is_blocked() -> None:
    assert parse("") == []
