"""How tests are dealt to workers, and what they leave behind."""

from pathlib import Path

import jax
import pytest

# A process may hold 65,530 memory maps on Linux; each compiled program takes a few, and
# at the limit the compiler crashes.
_MANY_MAPS = 20_000
_MAPS = Path("/proc/self/maps")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """What shares a compilation runs in the same worker (`--dist loadgroup`)."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    first = {}
    for place, item in enumerate(items):
        first.setdefault(_group(item), place)
    items.sort(key=lambda item: first[_group(item)])


def pytest_runtest_teardown(item, nextitem):
    """Compiled programs go before they are too many, where no test shares them."""
    if nextitem is not None and _group(nextitem) == _group(item):
        return
    if not _MAPS.exists() or _MAPS.read_text().count("\n") > _MANY_MAPS:
        jax.clear_caches()


def _group(item):
    callspec = getattr(item, "callspec", None)
    if item.path.name == "test_conformance.py" and callspec is not None:
        return f"zoo {callspec.params['name']}"
    return item.path.name
