"""Are failures of OpenSSL's own functions found, and the lines of openssl.cnf at fault? With this host's OpenSSL."""

import shutil
import time
from pathlib import Path

import pytest
from gate_run import find_processes
from local_shell import LocalShell

from fixtures.limits import MAX_CONF_INCLUDES
from fixtures.outcome import Evidence, ProductError
from fixtures.stack.openssl_conf import parse_conf, read_conf
from fixtures.stack.openssl_functions import (
    FUNCTIONS,
    HANDSHAKE,
    KEY,
    PROVIDERS,
    RANDOM,
    VERSION,
    Function,
    FunctionRun,
    active_providers,
    run_functions,
)

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="this host has no program openssl")

BASE_ONLY = "[start]\nproviders = p\n[p]\nbase = b\n[b]\nactivate = 1\n"
FIPS = "[start]\nalg_section = a\n[a]\n# comment\ndefault_properties = fips=yes  # comment\n"
NO_TLS = "[start]\nssl_conf = s\n[s]\nsystem_default = t\n[t]\nMinProtocol = TLSv1.3\nMaxProtocol = TLSv1.2\n"


def run_with(conf: str, folder: Path, *, with_engine: bool = False) -> FunctionRun:
    """Run all functions with a configuration whose first section is `start`."""
    file = folder / "openssl.cnf"
    file.write_text(f"openssl_conf = start\n{conf}")
    return run_functions(
        LocalShell(environment={"OPENSSL_CONF": str(file)}), str(folder), FUNCTIONS, with_engine=with_engine
    )


def failure_of(run: FunctionRun, function: Function) -> Evidence:
    """Return the evidence of a function that fails."""
    with pytest.raises(ProductError, match=f"^{function.name} failed ") as caught:
        run.check(function)
    (evidence,) = caught.value.evidence
    return evidence


@pytest.mark.parametrize("with_engine", [False, True])
def test_functions_of_a_healthy_openssl_pass_and_leave_no_server(tmp_path: Path, with_engine: bool) -> None:
    run = run_with("[start]\n", tmp_path, with_engine=with_engine)
    for function in FUNCTIONS:
        run.check(function)
    run.check_default_properties()
    assert [line for line in find_processes("s_server -unix") if line.startswith("openssl")] == []


def test_base_provider_alone_is_named_with_its_line(tmp_path: Path) -> None:
    run = run_with(BASE_ONLY, tmp_path)
    run.check(VERSION)
    for function in (PROVIDERS, RANDOM, KEY, HANDSHAKE):
        evidence = failure_of(run, function)
        assert (evidence.kind, evidence.origin) == ("openssl function", "openssl")
        assert f"active providers: base; see {tmp_path}/openssl.cnf:7: [b] activate = 1" in evidence.detail


def test_fips_without_its_provider_is_named_with_its_line(tmp_path: Path) -> None:
    run = run_with(FIPS, tmp_path)
    with pytest.raises(ProductError, match=r"openssl\.cnf:6: \[a\] default_properties = fips=yes: every") as caught:
        run.check_default_properties()
    assert caught.value.evidence[0].origin == "openssl"
    assert ":6: [a] default_properties = fips=yes" in failure_of(run, RANDOM).detail


def test_defaults_of_tls_fail_the_handshake_alone(tmp_path: Path) -> None:
    run = run_with(NO_TLS, tmp_path)
    run.check(RANDOM)
    run.check(KEY)
    assert "openssl.cnf:7: [t] MinProtocol = TLSv1.3; " in failure_of(run, HANDSHAKE).detail


def test_failure_with_the_engine_names_no_layer_unless_it_is_a_crash(tmp_path: Path) -> None:
    """What works without the engine: see test_openssl.py. A wrong answer may come from any layer below the engine."""
    assert failure_of(run_with(BASE_ONLY, tmp_path, with_engine=True), RANDOM).origin == "unknown"
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\nkill -ABRT $$\n")
    program.chmod(0o755)
    shell = LocalShell(environment={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    run = run_functions(shell, str(tmp_path), [RANDOM], with_engine=True)
    assert failure_of(run, RANDOM).origin == "engine"


def test_openssl_that_fails_without_its_configuration_is_itself_at_fault(tmp_path: Path) -> None:
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\necho 1122; exit 0\n")
    program.chmod(0o755)
    shell = LocalShell(environment={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    run = run_functions(shell, str(tmp_path), [VERSION, PROVIDERS, RANDOM], with_engine=False)
    for function in (VERSION, RANDOM):
        evidence = failure_of(run, function)
        assert evidence.origin == "openssl" and "OpenSSL itself is at fault" in evidence.detail


def test_openssl_1_1_1_has_no_providers_and_passes() -> None:
    """It prints the line of the version, then refuses the command's option."""
    assert PROVIDERS.is_right("OpenSSL 1.1.1w  11 Sep 2023\nlist: Option unknown option -providers\n")
    assert not PROVIDERS.is_right("OpenSSL 3.0.17 1 Jul 2025\nlist: Option unknown option -providers\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Providers:\n  default\n    name: D\n    version: 3\n    status: active\n", ("default",)),
        ("Providers:\n  base\n    status: active\n  fips\n    name: F\n    status: active\n", ("base", "fips")),
        ("Providers:\n  default\n    name: D\n    status: inactive\n", ()),
        ("", ()),
    ],
)
def test_active_providers_are_listed(text: str, expected: tuple[str, ...]) -> None:
    assert active_providers(text) == expected


def test_same_number_twice_is_not_random() -> None:
    assert RANDOM.is_right(f"{'ab' * 32}{'cd' * 32}\n")
    assert not RANDOM.is_right(f"{'ab' * 32}{'ab' * 32}\n")


@pytest.mark.parametrize(
    ("value", "demands"),
    [("fips=yes", True), ("fips", True), ("provider=x, fips = yes", True), ("?fips=yes", False), ("fips=no", False),
     ("provider=fips", False), ("-fips", False)],
)  # fmt: skip
def test_property_query_demands_fips(value: str, demands: bool) -> None:
    conf = parse_conf(f"openssl_conf=s\n[s]\nalg_section=a\n[a]\ndefault_properties={value}\n", "x")
    assert (conf.demands_fips is not None) == demands


def test_included_files_are_read_with_their_own_lines(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.cnf").write_text("\n[p]\nbase = b\n")
    (tmp_path / "one").write_text("[b]\nactivate = 1\n")
    main = tmp_path / "main.cnf"
    main.write_text(
        f"openssl_conf = s\n.include {tmp_path}/one\n.include = {tmp_path}/d\n[s]\nproviders \\\n = p\nengines = e\n"
    )
    conf = read_conf(LocalShell(environment={"OPENSSL_CONF": str(main)}))
    assert list(map(str, conf.activations)) == [f"{tmp_path}/one:2: [b] activate = 1"]
    assert conf.path == str(main)


def test_file_that_is_missing_has_no_settings(tmp_path: Path) -> None:
    assert read_conf(LocalShell(environment={"OPENSSL_CONF": f"{tmp_path}/none"})).settings == ()


def test_includes_are_bounded() -> None:
    assert len(parse_conf(".include /a\n" * 1000, "x").includes) == MAX_CONF_INCLUDES


def test_many_providers_take_linear_time() -> None:
    names = range(20_000)
    providers = "".join(f"p{n} = s{n}\n" for n in names) + "".join(f"[s{n}]\nactivate = 1\n" for n in names)
    conf = parse_conf(f"openssl_conf = a\n[a]\nproviders = b\n[b]\n{providers}", "openssl.cnf")
    start = time.monotonic()
    assert len(conf.activations) == len(names)
    assert time.monotonic() - start < 2
