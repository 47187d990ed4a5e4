"""Messages of the loaders are attributed to the layer or component that causes them.

SEED is unchanged. The other texts are from the issues named above them, or from the OpenSSL of a host, with the engine,
path or symbol of the case.
"""

from dataclasses import dataclass

import pytest

from fixtures.outcome import ProductError
from fixtures.stack.symbols.classify import Finding, classify

# OpenSSL 1.1.1n printed these lines after `(devcrypto) /dev/crypto engine`, on a board whose engine works.
SEED = """\
…:error:2506406A:DSO support routines:dlfcn_bind_func:could not bind to the requested symbol name:crypto/dso/dso_dlfcn.c:188:symname(EVP_PKEY_get_base_id): /usr/lib/engines-1.1/devcrypto.so: undefined symbol: EVP_PKEY_get_base_id
…:error:2506C06A:DSO support routines:DSO_bind_func:could not bind to the requested symbol name:crypto/dso/dso_lib.c:186:
"""  # noqa: E501

# openssl#17962, 1.1.1n.
QAT = """\
139953561638272:error:2506406A:DSO support routines:dlfcn_bind_func:could not bind to the requested symbol name:crypto/dso/dso_dlfcn.c:188:symname(EVP_PKEY_get_base_id): /root/install/lib/engines-1.1/qatengine.so: undefined symbol: EVP_PKEY_get_base_id
139953561638272:error:2506C06A:DSO support routines:DSO_bind_func:could not bind to the requested symbol name:crypto/dso/dso_lib.c:186:
(qatengine) Reference implementation of QAT crypto engine(qat_sw) v0.6.11
 [RSA, id-aes128-GCM, id-aes192-GCM, id-aes256-GCM, X25519, SM2]
     [ available ]
"""  # noqa: E501

# The same with musl, whose dlsym() has another message, and a libcrypto without error strings.
MUSL_CHECK = """\
3069845520:error:2506406A:lib(37):func(100):reason(106):crypto/dso/dso_dlfcn.c:188:symname(EVP_PKEY_get_base_id): Symbol not found: EVP_PKEY_get_base_id
3069845520:error:2506C06A:lib(37):func(108):reason(106):crypto/dso/dso_lib.c:186:
"""  # noqa: E501

# openssl#17900: 3.0.1 and 3.0.2.
MIRROR = """\
(devcrypto) /dev/crypto engine
C0E62AAAFFFF0000:error:1280006A:DSO support routines:dlfcn_bind_func:could not bind to the requested symbol name:crypto/dso/dso_dlfcn.c:188:symname(EVP_PKEY_base_id): /usr/lib/engines-3/devcrypto.so: undefined symbol: EVP_PKEY_base_id
C0E62AAAFFFF0000:error:1280006A:DSO support routines:DSO_bind_func:could not bind to the requested symbol name:crypto/dso/dso_lib.c:176:
"""  # noqa: E501

# 1.1.1: the format of openssl#727; 3.0 and 3.5: Debian 12 and 13.
INCOMPATIBLE_1 = """\
139681881966976:error:260B6091:engine routines:dynamic_load:version incompatibility:crypto/engine/eng_dyn.c:467:
139681881966976:error:2606A074:engine routines:ENGINE_by_id:no such engine:crypto/engine/eng_list.c:334:id=devcrypto
"""
INCOMPATIBLE_3 = """\
(dynamic) Dynamic engine loading support
[Success]: SO_PATH:/usr/lib/engines-3/devcrypto.so
[Failure]: LOAD
4077C210A87F0000:error:13000091:engine routines:dynamic_load:version incompatibility:../crypto/engine/eng_dyn.c:469:
     [ unavailable ]
"""

# dstu-engine#21 (1.1.1q) with the import of an engine from 3.0 headers; the three lines of 3.x from Debian 12.
LOAD_1 = """\
139949105176064:error:25066067:DSO support routines:dlfcn_load:could not load the shared library:crypto/dso/dso_dlfcn.c:118:filename(/usr/lib/engines-1.1/devcrypto.so): /usr/lib/engines-1.1/devcrypto.so: undefined symbol: EVP_MD_get_size
139949105176064:error:25070067:DSO support routines:DSO_load:could not load the shared library:crypto/dso/dso_lib.c:162:
139949105176064:error:260B6084:engine routines:dynamic_load:dso not found:crypto/engine/eng_dyn.c:414:
139949105176064:error:2606A074:engine routines:ENGINE_by_id:no such engine:crypto/engine/eng_list.c:335:id=devcrypto
"""  # noqa: E501
LOAD_3 = """\
Invalid engine "devcrypto"
40372274837F0000:error:12800067:DSO support routines:dlfcn_load:could not load the shared library:../crypto/dso/dso_dlfcn.c:118:filename(/usr/lib/engines-3/devcrypto.so): /usr/lib/engines-3/devcrypto.so: undefined symbol: EVP_MD_size
40372274837F0000:error:12800067:DSO support routines:DSO_load:could not load the shared library:../crypto/dso/dso_lib.c:152:
40372274837F0000:error:13000084:engine routines:dynamic_load:dso not found:../crypto/engine/eng_dyn.c:442:
40372274837F0000:error:13000066:engine routines:int_engine_configure:engine configuration error:../crypto/engine/eng_cnf.c:139:section=devcrypto_section, name=dynamic_path, value=/usr/lib/engines-3/devcrypto.so
40372274837F0000:error:0700006D:configuration file routines:module_run:module initialization error:../crypto/conf/conf_mod.c:276:module=engines, value=engine_section retcode=-1
"""  # noqa: E501
# The symbol that the version check of 1.1.1n looks up, but here the engine imports it and does not load.
LOAD_LOOKALIKE = SEED.splitlines()[0].replace(
    "2506406A:DSO support routines:dlfcn_bind_func:could not bind to the requested symbol name:crypto/dso/dso_dlfcn.c:188:symname(EVP_PKEY_get_base_id)",  # noqa: E501
    "25066067:DSO support routines:dlfcn_load:could not load the shared library:crypto/dso/dso_dlfcn.c:118:filename(/usr/lib/engines-1.1/devcrypto.so)",  # noqa: E501
)

VERSION_3 = """\
40C7BDA5527F0000:error:12800067:DSO support routines:dlfcn_load:could not load the shared library:../crypto/dso/dso_dlfcn.c:115:filename(/usr/lib/engines-3/devcrypto.so): /usr/lib/libcrypto.so.3: version `OPENSSL_3.0.3' not found (required by /usr/lib/engines-3/devcrypto.so)
40C7BDA5527F0000:error:12800067:DSO support routines:DSO_load:could not load the shared library:../crypto/dso/dso_lib.c:152:
40C7BDA5527F0000:error:13000084:engine routines:dynamic_load:dso not found:../crypto/engine/eng_dyn.c:433:
"""  # noqa: E501
LIBRARY_3 = VERSION_3.replace(
    "/usr/lib/libcrypto.so.3: version `OPENSSL_3.0.3' not found (required by /usr/lib/engines-3/devcrypto.so)",
    "libcrypto.so.1.1: cannot open shared object file: No such file or directory",
)
# ERR_error_string(): no file, no data.
SHORT = "EVP_CIPHER_fetch: error:12800067:DSO support routines::could not load the shared library"

# basnijholt/home-assistant-streamdeck-yaml#231.
MUSL = """\
Error loading shared library libcrypto.so.3: No such file or directory (needed by /usr/lib/libcurl.so.4)
Error relocating /usr/lib/libcurl.so.4: EVP_PKEY_get_id: symbol not found
Error relocating /usr/lib/engines/devcrypto.so: EVP_MD_get_size: symbol not found
"""

# open-cas-linux#503.
DISAGREES = """\
[  846.266075] cryptodev: disagrees about version of symbol crypto_alloc_skcipher
[  846.266080] cryptodev: Unknown symbol crypto_alloc_skcipher (err -22)
[  846.266090] cryptodev: Unknown symbol mmap_lock_trace (err -2)
"""
# cryptodev-linux#42.
BUSYBOX = "modprobe: can't load module cryptodev (extra/cryptodev.ko): unknown symbol in module, or unknown parameter"
# cryptodev-linux#79.
INSMOD = (
    "insmod: can't insert '/lib/modules/5.15.32-linux4microchip-2022.04/extra/cryptodev.ko': "
    "unknown symbol in module, or unknown parameter"
)
KMOD = "modprobe: ERROR: could not insert 'cryptodev': Exec format error"
MAGIC = (
    "[   12.5] cryptodev: version magic '6.1.0-30-arm64 SMP mod_unload aarch64' should be '6.1.0-44-arm64 SMP preempt'"
)


@dataclass(frozen=True)
class Row:
    """Messages, the state of the board, and the expected findings."""

    name: str
    text: str
    kinds: tuple[str, ...]
    culprit: str
    listed: bool = False
    openssl: str = "OpenSSL 1.1.1n  15 Mar 2022"
    harmless: bool = False


UPGRADE = ": its own version check leaves this error in the queue; upgrade OpenSSL"
V302 = "OpenSSL 3.0.2 15 Mar 2022 (Library: OpenSSL 3.0.2 15 Mar 2022)"
V3022 = "OpenSSL 3.0.22 25 Aug 2026 (Library: OpenSSL 3.0.22 25 Aug 2026)"
CHECK = ("openssl version check",)
ROWS = (
    Row("seed, listed", SEED, CHECK, "OpenSSL 1.1.1n" + UPGRADE, listed=True, harmless=True),
    Row("seed, not listed", SEED, CHECK, "unknown"),
    Row("seed, on 3.x, which has no such check", SEED, ("unknown",), "unknown", listed=True, openssl=V3022),
    Row("qatengine", QAT, CHECK, "OpenSSL 1.1.1n" + UPGRADE, listed=True, harmless=True),
    Row("musl, no error strings", MUSL_CHECK, CHECK, "OpenSSL 1.1.1n" + UPGRADE, listed=True, harmless=True),
    Row("mirror image, listed", MIRROR, CHECK, "OpenSSL 3.0.2" + UPGRADE, listed=True, harmless=True, openssl=V302),
    Row("mirror image, not listed", MIRROR.partition("\n")[2], CHECK, "unknown", openssl=V302),
    Row("mirror image, on 1.1.1", MIRROR, ("unknown",), "unknown", listed=True),
    Row("version incompatibility, 1.1.1", INCOMPATIBLE_1, ("wrong major version",), "engine"),
    Row("version incompatibility, 3.x", INCOMPATIBLE_3, ("wrong major version",), "engine", openssl=V3022),
    Row("undefined symbol, 1.1.1", LOAD_1, ("missing symbol",), "engine"),
    Row("undefined symbol, 3.x", LOAD_3, ("missing symbol",), "engine", openssl=V3022),
    Row("the look-alike", LOAD_LOOKALIKE, ("missing symbol",), "engine", listed=True),
    Row("version node", VERSION_3, ("missing version",), "engine", openssl=V302),
    Row("library", LIBRARY_3, ("missing library",), "engine", openssl=V3022),
    Row("no data", SHORT, ("unknown",), "unknown", openssl=V3022),
    Row("version magic", MAGIC, ("module for another kernel",), "kernel module cryptodev"),
    Row("unknown symbol, busybox", BUSYBOX, ("module unknown symbol",), "kernel module cryptodev"),
    Row("unknown symbol, insmod", INSMOD, ("module unknown symbol",), "kernel module cryptodev"),
    Row("wrong format, kmod", KMOD, ("module for another kernel",), "kernel module cryptodev"),
    Row("symbol versions", DISAGREES, ("module symbol version", "module unknown symbol"), "kernel module cryptodev"),
)


def classify_row(row: Row) -> tuple[Finding, ...]:
    return classify(row.text, listed=row.listed, openssl=row.openssl)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_text_has_its_kind_and_origin(row: Row) -> None:
    findings = classify_row(row)
    assert tuple(f.kind for f in findings) == row.kinds
    assert {f.culprit for f in findings} == {row.culprit}
    assert all(f.origin == "openssl" or f.culprit.startswith(f.origin) for f in findings)
    assert {f.harmless for f in findings} == {row.harmless}
    assert all(f.advice for f in findings)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_significant_line_is_reported_once(row: Row) -> None:
    reported_lines = [line for finding in classify_row(row) for line in finding.text.splitlines()]
    significant_lines = [line for line in row.text.splitlines() if not line.startswith(("(", " [", "  ", "[Success]"))]
    assert reported_lines == significant_lines


def test_failure_after_a_harmless_line_is_reported() -> None:
    failed = "1:error:260B606D:engine routines:dynamic_load:init failed:crypto/engine/eng_dyn.c:487:\n"
    findings = classify(SEED + failed + LOAD_1, listed=True, openssl="1.1.1n")
    assert [(f.kind, f.harmless) for f in findings] == [
        ("openssl version check", True),
        ("unknown", False),
        ("missing symbol", False),
    ]


def test_unknown_release_is_named_in_the_advice() -> None:
    (finding,) = classify(SEED, listed=True, openssl="OpenSSL 1.1.1w  11 Sep 2023")
    assert finding.harmless
    assert "known of 1.1.1n 1.1.1o 1.1.1p, not of 1.1.1w" in finding.advice


def test_advice_names_the_headers_of_the_engine() -> None:
    (old_board,) = classify(LOAD_1, listed=False, openssl="1.1.1w")
    assert old_board.advice.startswith("EVP_MD_get_size comes from OpenSSL 3.x headers, the board has OpenSSL 1.1.1w")
    (new_board,) = classify(LOAD_3, listed=False, openssl="3.5.4")
    assert new_board.advice.startswith("EVP_MD_size comes from OpenSSL 1.1 headers, the board has OpenSSL 3.5.4")
    (same,) = classify(LOAD_1, listed=False, openssl="3.0.22")
    assert same.advice == "built against other headers than the board's library, which has no EVP_MD_get_size"


def test_musl_messages_are_classified() -> None:
    findings = classify(MUSL, listed=False, openssl="1.1.1w")
    assert [(f.kind, f.culprit) for f in findings] == [
        ("missing library", "image"),
        ("missing symbol", "image"),
        ("missing symbol", "engine"),
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("openssl: symbol lookup error: openssl: undefined symbol: EVP_mdc2, version OPENSSL_1_1_0", "missing symbol"),
        (
            "openssl: relocation error: openssl: symbol EVP_mdc2 version OPENSSL_1_1_0 not defined in file "
            "libcrypto.so.1.1 with link time reference",
            "missing symbol",
        ),
        (
            "openssl: error while loading shared libraries: libssl.so.3: cannot open shared object file: "
            "No such file or directory",
            "missing library",
        ),
        (
            "openssl: /usr/lib/libcrypto.so.3: version `OPENSSL_3.0.3' not found (required by openssl)",
            "missing version",
        ),
    ],
)
def test_culprit_of_a_program_that_does_not_start_is_the_image(text: str, kind: str) -> None:
    (finding,) = classify(text, listed=False, openssl="")
    assert (finding.kind, finding.culprit, finding.text) == (kind, "image", text)


def test_unmatched_lines_are_unknown_findings_with_their_full_text() -> None:
    text = "Segmentation fault\nsomething: else\n1:error:80000002:system library:file_open:No such file:x.c:1:open(x)"
    (plain, queue) = classify(text, listed=True, openssl="1.1.1n")
    assert (plain.kind, queue.kind) == ("unknown", "unknown")
    assert f"{plain.text}\n{queue.text}" == text
    assert not plain.harmless


def test_endless_messages_are_a_product_failure_that_names_the_limit() -> None:
    """Each line is compared with the one before: a long one, and many short ones, take hours."""
    with pytest.raises(ProductError, match=r"over the limit of 131,072 \(MAX_LOADER_OUTPUT\)") as caught:
        classify("error:99800067:x:y:z:f:1:" + "a" * 100_000 + "\nzz" * 20_000, listed=True, openssl="3.0.1")
    assert len(str(caught.value)) < 2000


def test_ordinary_listing_has_no_finding() -> None:
    text = (
        "(dynamic) Dynamic engine loading support\n(devcrypto) /dev/crypto engine\n [AES-128-CBC, SHA1]\n"
        '     [ available ]\n\nEngine "devcrypto" set.\nLoaded: (devcrypto) /dev/crypto engine\n'
    )
    assert classify(text, listed=True, openssl="3.0.22") == ()


def test_refused_command_without_an_error_is_a_finding() -> None:
    (finding,) = classify("[Failure]: CIPHERS:NONE\n     [ available ]\n", listed=True, openssl="3.0.22")
    assert (finding.kind, finding.text) == ("unknown", "[Failure]: CIPHERS:NONE")
