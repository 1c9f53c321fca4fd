"""The App and what its options become."""

import pytest

from crossdock import App, Context
from crossdock.runners.function.registry import parse_size


def test_options_become_the_kind() -> None:
    app = App()

    @app.function(
        "render",
        title="Render",
        public=True,
        requires={"gpu": "a100", "disk": ["ssd", "large"], "cores": 4},
        memory="512MB",
        retries=4,
        backoff=3,
        non_retryable=["quota", ValueError],
        timeout=60,
        queue_timeout=600,
        total_timeout=3600,
        lease=20,
        grace=2,
        keep=60,
    )
    def render(ctx: Context, width: int = 200) -> list[int]:
        """Render a picture.

        In colour.
        """
        return [width]

    kind = app.kinds()["render"]
    assert (kind.title, kind.description, kind.public) == ("Render", "Render a picture.\n\nIn colour.", True)
    assert kind.requirements == (("cores", "4"), ("disk", "large"), ("disk", "ssd"), ("gpu", "a100"))
    assert (kind.memory, kind.runner, kind.raw) == (512_000_000, "function", False)
    policy = kind.policy
    assert (policy.attempts, policy.backoff, policy.non_retryable) == (5, 3, ("quota",))
    assert (policy.timeout, policy.queue_timeout, policy.total_timeout) == (60, 600, 3600)
    assert (policy.lease, policy.grace, policy.keep) == (20, 2, 60)
    assert kind.inputs["properties"] == {"width": {"default": 200, "title": "Width", "type": "integer"}}
    assert kind.outputs == {"items": {"type": "integer"}, "type": "array"}
    assert kind.check is not None
    assert app.functions["render"].fatal == (ValueError,)


def test_three_attempts_unless_told_otherwise() -> None:
    app = App()
    app.function("f")(lambda: 1)
    app.function("g", retries=0)(lambda: 1)
    assert [app.kinds()[name].policy.attempts for name in "fg"] == [3, 1]


def test_the_function_stays_a_function() -> None:
    app = App()

    @app.function("add")
    def add(a: int, b: int) -> int:
        return a + b

    assert add(1, b=2) == 3


def test_a_description_of_its_own_wins_over_the_docstring() -> None:
    app = App()

    @app.function("f", description="what it does")
    def f() -> None:
        """How it does it."""

    assert app.kinds()["f"].description == "what it does"


def test_a_name_is_taken_once() -> None:
    app = App()

    @app.function("f")
    def first() -> None: ...

    with pytest.raises(ValueError, match=r"'f' is registered twice: by .*first and by .*second"):

        @app.function("f")
        def second() -> None: ...


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "-a", "ä", "x" * 101])
def test_names_have_to_fit_into_addresses(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a function"):
        App().function(name)(lambda: 1)


def test_numbers_have_to_make_sense() -> None:
    with pytest.raises(ValueError, match="retries"):
        App().function("f", retries=-1)
    with pytest.raises(ValueError, match="memory"):
        App().function("f", memory="lots")


@pytest.mark.parametrize(
    ("written", "size"),
    [(1000, 1000), ("1000", 1000), ("512MB", 512_000_000), ("2 GiB", 2**31), ("1.5k", 1500), ("1Ki", 1024), (None, None)],
)
def test_sizes(written: int | str | None, size: int | None) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", [0, -1, "", "MB", "1TB", "one", "1 M B", "0MB"])
def test_other_sizes_are_refused(written: int | str) -> None:
    with pytest.raises(ValueError, match="amount of memory"):
        parse_size(written)
