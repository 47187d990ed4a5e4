"""Do others on the board get the same: OpenSSL's own functions, other users, a login, a service, a chroot?"""

import pytest

from fixtures.gate.fixtures_environments import WITH_ENGINE, CheckUser, WrongAnswers
from fixtures.stack.environments import ENVIRONMENTS, Environment, Offers
from fixtures.stack.openssl_functions import Function, FunctionRun

pytestmark = pytest.mark.board


@pytest.mark.parametrize("function", WITH_ENGINE, ids=lambda function: function.name)
def test_openssl_works_with_the_engine(function: Function, functions_with_engine: FunctionRun) -> None:
    """What test_openssl.py does without the engine."""
    functions_with_engine.check(function)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_engine_offers_the_same_in(environment: Environment, offers: Offers) -> None:
    """As in the shell of the suite, in which variables of OpenSSL and of the dynamic linker are dropped."""
    offers.check(environment)


def test_user_gets_the_accelerator(user: str, check_user: CheckUser) -> None:
    check_user(user)


def test_engine_without_its_device_gives_no_wrong_answer(run_without_device: WrongAnswers) -> None:
    """As in a chroot without /dev/crypto: software does the work, or an operation fails."""
    assert run_without_device() == []
