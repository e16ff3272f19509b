"""How tests are dealt to workers: a file to one, a row of the zoo to one."""

import pytest


def pytest_collection_modifyitems(items):
    """What shares a compilation runs in the same worker (`--dist loadgroup`)."""
    for item in items:
        group = item.path.name
        callspec = getattr(item, "callspec", None)
        if item.path.name == "test_conformance.py" and callspec is not None:
            group = f"zoo {callspec.params['name']}"
        item.add_marker(pytest.mark.xdist_group(group))
