"""Commands of the CAAM model whose length is in a register (Linux drivers/crypto/caam/desc.h, KEY_VLF, LDST_VLF)."""

import pytest
from caam_bench import Bench, job, pointer, to_words

from fixtures.virt.caam.aes import ecb

KEY = bytes(range(16))
DATA = bytes(range(1, 17))
OTHER_LENGTH = 3
"""The length in a command, which its flag overrides."""


def set_variable(register: int, length: int) -> tuple[int, int]:
    """Return MATH that sets VSIL (0xA) or VSOL (0xB)."""
    return 0xA80C4004 | register << 8, length


@pytest.mark.parametrize("length", [0, 5, 16])
def test_store_of_variable_length(length: int) -> None:
    bench = Bench()
    output = bench.put(b"." * 16)
    words = (0x12A00010, *to_words(DATA), 0xF8000010, *pointer(output), *set_variable(0xB, length))
    assert bench.run(job(*words, 0x5B200000 | OTHER_LENGTH)) == 0
    assert bench.get(output, 16) == DATA[:length] + b"." * (16 - length)


@pytest.mark.parametrize("length", [0, 5, 16])
def test_load_of_variable_length(length: int) -> None:
    bench = Bench()
    output = bench.room(16)
    words = (0xF0000010, *pointer(bench.put(DATA)), *set_variable(0xA, length), 0x1B200000 | OTHER_LENGTH)
    assert bench.run(job(*words, 0x52200010, *pointer(output))) == 0
    assert bench.get(output, 16) == DATA[:length] + bytes(16 - length)


@pytest.mark.parametrize("command", [0x0B000000, 0x0B400000, 0x0B500000])
def test_key_of_variable_length(command: int) -> None:
    """In plain form, and encrypted: the register has the length of the key itself."""
    bench = Bench()
    source, output = bench.room(32), bench.room(16)
    forms = {0x0B000000: KEY, 0x0B400000: bench.silicon.encrypt_key(KEY)}
    bench.memory.write(source, forms.get(command) or bench.silicon.encrypt_key(KEY, ccm=True))
    words = (0xF0000020, *pointer(source), *set_variable(0xA, 16), command | OTHER_LENGTH)
    encrypt = (0x82100205, 0x22920010, *to_words(DATA), 0x60300010, *pointer(output))
    assert bench.run(job(*words, *encrypt)) == 0
    assert bench.get(output, 16) == ecb(KEY, DATA, True)
