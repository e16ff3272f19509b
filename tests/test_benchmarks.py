"""The table of benchmarks/combiners.py is whole; it is not run here."""

import importlib.util
from pathlib import Path

FILE = Path(__file__).parent.parent / "benchmarks" / "combiners_of_combiners.py"


def load():
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_combiner_has_a_row_in_the_benchmark_and_can_be_made():
    rows = load()
    assert not rows.missing()
    for name, row in rows.ROWS.items():
        for m in (2, 8, 32, 128):
            if m >= row.least:
                assert row.ours(m) is not None, name
