"""What all tests share: the profiles of Hypothesis, marks, RabbitMQ and receivers of requests.

Other fixtures stand beside the tests they serve.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("night", parent=settings.get_profile("default"), max_examples=5000)
settings.load_profile("default")

pytest_plugins = ["rabbit", "receivers"]

MARKS = {"acceptance": pytest.mark.acceptance, "faults": pytest.mark.fault}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of some folders, so that none is forgotten."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in MARKS:
            item.add_marker(MARKS[folder])
        elif "rabbit" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.acceptance)


@pytest.fixture(autouse=True)
def others_log_as_before() -> Iterator[None]:
    """Undo what a test did to the log: its stderr is closed after it, and whoever logged there next would fail."""
    yield
    structlog.reset_defaults()
