import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.body import read_body, read_json
from crossdock.http.problems import ProblemError


def request_of(*messages, headers=()):
    queue = [*messages]

    async def receive():
        if not queue:
            await asyncio.Event().wait()
        return queue.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw, "query_string": b""}, receive)


def chunk(body, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


JSON = ("content-type", "application/json; charset=utf-8")


async def test_chunks_are_joined():
    assert await read_body(request_of(chunk(b"ab", True), chunk(b"", True), chunk(b"c"))) == b"abc"


async def test_exactly_the_limit_is_fine():
    assert await read_body(request_of(chunk(b"abc")), 3) == b"abc"


async def test_too_large_while_streaming():
    with pytest.raises(CrossdockError) as caught:
        await read_body(request_of(chunk(b"ab", True), chunk(b"cd", True)), 3)
    assert caught.value.code is Code.TOO_LARGE


async def test_too_large_as_announced_without_reading_anything():
    with pytest.raises(CrossdockError) as caught:
        await read_body(request_of(headers=[("content-length", "4")]), 3)
    assert caught.value.code is Code.TOO_LARGE


async def test_a_length_of_a_million_digits():
    with pytest.raises(CrossdockError):
        await read_body(request_of(headers=[("content-length", "9" * 10_000)]), 3)


async def test_a_sender_that_says_nothing_more():
    with pytest.raises(ProblemError) as caught:
        await read_body(request_of(chunk(b"a", True)), patience=0.01)
    assert caught.value.status == 408
    assert caught.value.headers["connection"] == "close"


async def test_a_sender_that_went_away():
    with pytest.raises(ClientDisconnect):
        await read_body(request_of(chunk(b"a", True), {"type": "http.disconnect"}))


async def test_compressed_bodies_are_refused():
    with pytest.raises(ProblemError) as caught:
        await read_body(request_of(chunk(b"x"), headers=[("content-encoding", "gzip")]))
    assert caught.value.status == 415


async def test_json():
    assert await read_json(request_of(chunk(b'{"a": [1]}'), headers=[JSON])) == (b'{"a": [1]}', {"a": [1]})


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_form_can_post_is_no_json(media_type):
    headers = [] if media_type is None else [("content-type", media_type)]
    with pytest.raises(ProblemError) as caught:
        await read_json(request_of(chunk(b"{}"), headers=headers))
    assert caught.value.status == 415
