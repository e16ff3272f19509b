"""How tests are dealt to workers, and what they leave behind."""

import re
from pathlib import Path

import jax
import pytest
from xdist.scheduler import LoadScopeScheduling

# Run by tests in processes of their own, with several devices.
collect_ignore = ["host.py", "placed_members.py"]

# A process may hold 65,530 memory maps on Linux; each compiled program takes a few, and
# at the limit the compiler crashes.
_MANY_MAPS = 20_000
_MAPS = Path("/proc/self/maps")


class _GroupScheduling(LoadScopeScheduling):
    """What shares a compilation runs in the same worker.

    By our own rule and not by marks: xdist 3.8 hands marks on through a private field
    of pytest that is gone in 9.2, and deals the tests out one by one without a word.
    """

    def _split_scope(self, nodeid):
        return _group(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return _GroupScheduling(config, log)


def pytest_collection_modifyitems(items):
    """The order of the groups, without xdist too."""
    first = {}
    for place, item in enumerate(items):
        first.setdefault(_group(item.nodeid), place)
    items.sort(key=lambda item: first[_group(item.nodeid)])


def pytest_runtest_teardown(item, nextitem):
    """Compiled programs go before they are too many, where no test shares them."""
    if nextitem is not None and _group(nextitem.nodeid) == _group(item.nodeid):
        return
    if not _MAPS.exists() or _MAPS.read_text().count("\n") > _MANY_MAPS:
        jax.clear_caches()


def _group(nodeid):
    """The file; of the conformance suite, the row of the zoo."""
    file, _, test = nodeid.partition("::")
    row = re.search(r"\[(?:float(?:32|64)-)?(.+)\]$", test)
    return f"zoo {row[1]}" if row and file.endswith("test_conformance.py") else file
