"""Build small shared objects, good and defective, for the tests of `fixtures.stack.symbols`. No C library is needed."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HOST = "x86_64-linux-gnu"

# A minimal engine without OpenSSL's headers: what IMPLEMENT_DYNAMIC_CHECK_FN and IMPLEMENT_DYNAMIC_BIND_FN expand to.
ENGINE = """
extern int ENGINE_set_id(void *, const char *);
extern int ENGINE_set_name(void *, const char *);
unsigned long v_check(unsigned long v) { return v; }
int bind_engine(void *e, const char *id, const void *functions)
{ return ENGINE_set_id(e, "sample") && ENGINE_set_name(e, "sample engine"); }
"""


def calls(*names: str) -> str:
    """Return C source that imports these functions."""
    externs = "".join(f"extern int {name}(void);\n" for name in names)
    return externs + f"int calls_them(void) {{ return {' | '.join(f'{n}()' for n in names)}; }}\n"


def defines(*names: str) -> str:
    """Return C source that defines these functions."""
    return "".join(f"int {name}(void) {{ return 1; }}\n" for name in names)


def nodes(**versions: list[str]) -> str:
    """Return a version script: node -> the symbols it holds. OPENSSL_3__0__0 stands for OPENSSL_3.0.0."""
    return "".join(
        f"{node.replace('__', '.')} {{ {'global: ' * bool(symbols)}{' '.join(f'{s};' for s in symbols)} }};\n"
        for node, symbols in versions.items()
    )


def build(
    path: Path,
    source: str,
    *libraries: Path,
    target: str = HOST,
    soname: str = "",
    script: str = "",
    flags: Iterable[str] = ("-nostdlib",),
) -> Path:
    """Compile and link one shared object.

    :param libraries: shared objects to link with.
    :param target: target triple of `zig cc`.
    :param script: version script.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    code = path.parent / f"{path.name}.c"
    code.write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-shared", "-fPIC", "-fno-sanitize=undefined"]
    command += ["-o", str(path), str(code), *map(str, libraries), *flags]
    if soname:
        command.append(f"-Wl,-soname,{soname}")
    if script:
        code.with_suffix(".map").write_text(script)
        command.append(f"-Wl,--version-script={code.with_suffix('.map')}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return path
