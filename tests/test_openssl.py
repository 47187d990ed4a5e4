"""Does OpenSSL itself work, as openssl.cnf sets it up for every application, before an engine is asked anything?"""

import pytest

from fixtures.stack.openssl_functions import HANDSHAKE, KEY, PROVIDERS, RANDOM, VERSION, FunctionRun

pytestmark = pytest.mark.board


def test_version_is_readable(openssl_functions: FunctionRun) -> None:
    openssl_functions.check(VERSION)


def test_default_provider_is_active(openssl_functions: FunctionRun) -> None:
    """Of OpenSSL 3. OpenSSL 1.1.1 has no providers, and passes."""
    openssl_functions.check(PROVIDERS)


def test_no_fips_is_demanded_without_its_provider(openssl_functions: FunctionRun) -> None:
    openssl_functions.check_default_properties()


def test_random_bytes_differ(openssl_functions: FunctionRun) -> None:
    openssl_functions.check(RANDOM)


def test_private_key_can_be_generated(openssl_functions: FunctionRun) -> None:
    openssl_functions.check(KEY)


def test_tls_handshake_with_itself(openssl_functions: FunctionRun) -> None:
    openssl_functions.check(HANDSHAKE)
