"""Is the growth of the kernel's memory read right, and the cache named that grew?"""

import pytest
from local_shell import LocalShell

from fixtures.outcome import ProductError
from fixtures.stack.kernel_memory import (
    READ_MEMORY,
    Cache,
    Growth,
    Memory,
    compute_growth,
    find_growing_cache,
    parse_caches,
    parse_memory,
)

SLABINFO = """\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount>
kmalloc-2k           640    640   2048   16    8 : tunables    0    0    0 : slabdata     40     40      0
vm_area_struct       900    936    152   26    1 : tunables    0    0    0 : slabdata     36     36      0
"""


def test_memory_is_read_on_this_host() -> None:
    memory = parse_memory(LocalShell().run(READ_MEMORY).text)
    assert memory.slab > 1 << 20
    assert memory.available > 1 << 20


def test_kilobytes_become_bytes() -> None:
    assert parse_memory("MemAvailable:  444776 kB\nSlab:   15664 kB\n") == Memory(15664 * 1024, 444776 * 1024)


@pytest.mark.parametrize(
    "text", ["", "Slab: 15664 kB\n", "Slab: 1 kB\nMemAvailable: many kB\n", f"Slab: {'9' * 30} kB\nMemAvailable: 1 kB"]
)
def test_missing_memory_is_a_product_failure(text: str) -> None:
    with pytest.raises(ProductError, match="expected Slab and MemAvailable"):
        parse_memory(text)


def test_growth_is_per_request_and_has_a_sign() -> None:
    before, after = Memory(1 << 20, 10 << 20), Memory((1 << 20) + 4096, 11 << 20)
    assert compute_growth(before, after, 128) == Growth(32.0, -8192.0)


def test_cache_that_grew_most_is_named_by_its_bytes() -> None:
    before = parse_caches(SLABINFO)
    assert before == {"kmalloc-2k": Cache(640, 2048), "vm_area_struct": Cache(900, 152)}
    after = {"kmalloc-2k": Cache(768, 2048), "vm_area_struct": Cache(1100, 152)}
    assert find_growing_cache(before, after) == "kmalloc-2k by 128 objects of 2048 bytes"


@pytest.mark.parametrize("after", [{}, {"kmalloc-2k": Cache(640, 2048)}, {"new": Cache(9, 9)}])
def test_no_cache_is_named_if_none_grew(after: dict[str, Cache]) -> None:
    assert find_growing_cache(parse_caches(SLABINFO), after) == ""


def test_unreadable_slabinfo_has_no_caches() -> None:
    assert parse_caches("cat: /proc/slabinfo: Permission denied\n") == {}
