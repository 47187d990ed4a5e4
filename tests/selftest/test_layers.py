"""Is there one list of layers, which board files, the program on the board and the scheduler of workers agree with?"""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

import fixtures
from fixtures.gate.xdist_scheduler import group_of
from fixtures.lab.board import BoardFile
from fixtures.layers import DEFAULT_LAYERS, DRIVER_LAYERS, ENGINE_LAYERS, KERNEL_LAYERS, LAYERS, TABLE, Layer
from fixtures.probe.build import SOURCES


def test_table_has_a_row_for_each_layer_in_stack_order() -> None:
    assert tuple(row.name for row in TABLE) == LAYERS == get_args(Layer)


def test_each_layer_enters_at_openssl_an_engine_or_the_kernel() -> None:
    assert (LAYERS[0], *ENGINE_LAYERS, *KERNEL_LAYERS) == LAYERS
    assert set(DRIVER_LAYERS) <= set(KERNEL_LAYERS)


def test_board_file_without_layers_has_the_default() -> None:
    assert BoardFile.model_fields["layers"].default == DEFAULT_LAYERS == LAYERS[:-1]


def test_c_sources_of_the_probe_have_the_same_names() -> None:
    """A `struct layer` has its name as `.name = "afalg"` or as the first argument of a macro."""
    sources = "\n".join(file.read_text() for file in sorted(SOURCES.rglob("*.[ch]")))
    missing = [layer for layer in LAYERS if not re.search(rf'(?:LAYER\(|\.name = )"{layer}"', sources)]
    assert missing == []


@pytest.mark.parametrize("layer", LAYERS)
def test_scheduler_groups_by_layer(layer: Layer) -> None:
    assert group_of(f"tests/test_aes.py::test_known_answers[{layer}-AES-128-CBC]") == f"tests/test_aes.py {layer}"
    assert group_of(f"tests/test_aes.py::test_known_answers[{layer}]") == f"tests/test_aes.py {layer}"


def listed_layers(file: Path) -> int:
    """Return how many layers the longest tuple, list, set or mapping of a module has as elements or keys."""
    lists = [
        node.keys if isinstance(node, ast.Dict) else node.elts
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Dict | ast.Tuple | ast.List | ast.Set)
    ]
    values = [{item.value for item in items if isinstance(item, ast.Constant)} for items in lists]
    return max((len(found & set(LAYERS)) for found in values), default=0)


def test_no_other_module_lists_the_layers() -> None:
    package = Path(fixtures.__file__).parent
    listing = [str(file.relative_to(package)) for file in package.rglob("*.py") if listed_layers(file) > 3]
    assert listing == ["layers.py"]
