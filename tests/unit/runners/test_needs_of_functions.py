"""``needs``: what is declared, what clients see of it, and functions that get what other functions made."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crossdock.artifacts.files import file_artifacts
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec
from crossdock.core.lifecycle import State
from crossdock.runners.function import App, load_app
from unit.test_worker import Place

APP = f"{Path(__file__).parent / 'needs_app.py'}:app"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(file_artifacts(tmp_path / "artifacts"), load_app(APP), APP)
    await place.broker.open()
    async with place.worker(slots=4):
        yield place
    await place.broker.close()


async def ended(place: Place, kind: str, payload: object, **options: Any):
    return await place.end(await place.submit(kind, payload, **options))


async def test_a_function_gets_what_another_made(place: Place) -> None:
    job = await ended(place, "thumbnail", {"url": "abc", "width": 3})
    assert await place.result(job) == "ABC@3 of abc"


async def test_functions_in_the_loop_and_in_children_need_each_other(place: Place) -> None:
    first = await place.submit("size", {"url": "four"})
    job = await ended(place, "report", {"url": "abc", "colour": "red"}, after=(first,))
    assert await place.result(job) == ["ABC@1 of abc", 3, ["colour", "url"], [4]], "and ctx.inputs is what was named"


async def test_members_of_an_array_share_what_is_needed(place: Place) -> None:
    array = ArraySpec(count=3, name="width")
    job = await ended(place, "thumbnail", {"url": "abc"}, array=array)
    results = [member.result async for member in place.broker.intake.members(job.id)]
    assert [json.loads(result or b"") for result in results] == [f"ABC@{width} of abc" for width in range(3)]


async def test_large_results_get_there_too(place: Place) -> None:
    job = await ended(place, "thumbnail", {"url": "a" * 200_000})
    assert await place.result(job) == f"{'A' * 200_000}@1 of {'a' * 200_000}"


async def test_a_failure_is_told_where_it_hurts(place: Place) -> None:
    job = await ended(place, "report", {"url": "gone"})
    assert (job.state, job.code) == (State.FAILED, "need_failed")
    assert job.message.startswith("'small' cannot be had: the job ")
    assert "'image' cannot be had: the job " in job.message
    assert job.message.endswith("LookupError: nothing is there")


async def test_what_was_made_is_checked_like_any_argument(place: Place) -> None:
    job = await ended(place, "picky", {"url": "x"})
    assert (job.state, job.code) == (State.FAILED, Code.INVALID)
    assert "number: " in job.message


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        ({"url": "x", "image": {}}, r"image is unknown \(expected: url, width\)"),
        ({"width": 2}, "url is missing"),
    ],
)
async def test_clients_leave_out_what_is_made(place: Place, payload: object, complaint: str) -> None:
    with pytest.raises(CrossdockError, match=complaint):
        await place.submit("thumbnail", payload)


async def test_an_array_whose_template_has_not_what_is_needed_is_refused(place: Place) -> None:
    with pytest.raises(
        CrossdockError, match=r"'image' comes of 'loader', which gets the template of an array: .*url is missing"
    ):
        await place.submit("thumbnail", {}, array=ArraySpec(count=2, name="url", table=b'[{"url": "a"}, {"url": "b"}]'))


def test_the_published_schema_leaves_it_out() -> None:
    kind = load_app(APP).kinds()["thumbnail"]
    assert set(kind.inputs["properties"]) == {"url", "width"}  # type: ignore[arg-type]
    assert kind.inputs["required"] == ["url"]
    assert kind.needs == {"image": "loader"}


def test_only_parameters_can_be_needed() -> None:
    app = App()
    with pytest.raises(TypeError, match="needs 'image', which is none of its parameters"):
        app.function("a", needs={"image": "b"})(lambda url: url)
    with pytest.raises(TypeError, match="raw"):
        app.function("b", raw=True, needs={"image": "b"})(lambda image: image)
    with pytest.raises(TypeError, match="none of its parameters"):
        app.function("c", needs={"rest": "b"})(lambda **rest: rest)


def test_a_circle_is_refused_when_the_app_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "circle.py"
    file.write_text(
        "from crossdock import App\napp = App()\n"
        "@app.function('a', needs={'x': 'b'})\ndef a(x: int): ...\n"
        "@app.function('b', needs={'x': 'a'})\ndef b(x: int): ...\n"
    )
    with pytest.raises(CrossdockError, match="'a' needs 'b' needs 'a'"):
        load_app(f"{file}:app")
