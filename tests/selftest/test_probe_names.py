"""The probe reads the longest names of the kernel whole: CRYPTO_MAX_ALG_NAME is 128, with the terminating zero."""

import subprocess
import sys
from pathlib import Path

from fixtures.probe.build import SOURCES

MAIN = """
#include "proc_crypto.h"
#include <stdio.h>
int main(int count, char **arguments)
{
    struct crypto_driver drivers[PROC_CRYPTO_MAX];
    size_t found = read_proc_crypto(arguments[count - 1], drivers, PROC_CRYPTO_MAX);

    for (size_t i = 0; i < found; i++)
        printf("%s %s %ld\\n", drivers[i].algorithm, drivers[i].name, drivers[i].users);
    return 0;
}
"""


def test_longest_names_of_the_kernel_are_read_whole(tmp_path: Path) -> None:
    algorithm, driver = "a" * 127, "d" * 127
    listed = tmp_path / "crypto"
    listed.write_text(f"name         : {algorithm}\ndriver       : {driver}\nrefcnt       : 3\n\n")
    source = (SOURCES / "proc_crypto.c").read_text()
    assert source.count('"/proc/crypto"') == 1
    (tmp_path / "proc_crypto.c").write_text(source.replace("/proc/crypto", str(listed)))
    (tmp_path / "main.c").write_text(MAIN)
    flags = ("-std=gnu11", "-D_GNU_SOURCE", f"-I{SOURCES}", "-fsanitize=undefined", "-o", str(tmp_path / "program"))
    compiler = (sys.executable, "-m", "ziglang", "cc", *flags)
    subprocess.run([*compiler, str(tmp_path / "main.c"), str(tmp_path / "proc_crypto.c")], check=True, timeout=300)
    done = subprocess.run([tmp_path / "program", driver], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{algorithm} {driver} 3\n"
