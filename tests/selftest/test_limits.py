"""Each limit of fixtures/limits.py is used, and a self-test names it: one that nothing checks cannot fail."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMITS = [
    target.id
    for statement in ast.parse((ROOT / "fixtures/limits.py").read_text()).body
    if isinstance(statement, ast.Assign)
    for target in statement.targets
    if isinstance(target, ast.Name)
]


@pytest.mark.parametrize("limit", LIMITS)
def test_limit_is_used_and_tested(limit: str) -> None:
    word = re.compile(rf"\b{limit}\b")
    users = [path for path in (ROOT / "fixtures").rglob("*.py") if path.name != "limits.py"]
    for files in (users, (ROOT / "tests/selftest").glob("test_*.py")):
        assert any(word.search(path.read_text()) for path in files)
