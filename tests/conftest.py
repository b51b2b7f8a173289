"""What all tests share: which of them may run beside each other."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file stay together, since they share servers, and so do those of the machine's Ray."""
    for item in items:
        group = "ray" if item.path.name == "test_ray.py" else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
