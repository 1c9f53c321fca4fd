"""Installations of ReCodEx in processes of their own."""

import pytest

from acceptance.recodex.recodex_site import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server without an App, and one worker that evaluates."""
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.server.start()
        site.worker()
        yield site
    finally:
        site.close()
