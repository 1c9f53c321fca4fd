"""Results that are fetched: signed URLs, what is behind them, and what is said when nothing is."""

import json
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from brokers import WRONG, House
from crossdock.core.jobs import Job, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.http.handlers import EXCEPTION_HANDLERS
from crossdock.protocols.jsonbus.references import PATH, References, Ticket, seal, unseal

KEEP = 1000.0
SECRET = b"s" * 32


class Door(NamedTuple):
    house: House
    references: References
    client: httpx.AsyncClient

    async def done(self, result: bytes) -> Job:
        job = await self.house.submit()
        await self.house.report(await self.house.lease(), Outcome(kind=OutcomeKind.SUCCEEDED, result=result))
        return await self.house.job(job)


async def opened(house: House) -> Door:
    references = References(house.broker, KEEP, "http://here:1/")
    await references.start()
    app = Starlette(routes=references.routes(), exception_handlers=EXCEPTION_HANDLERS)
    return Door(house, references, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here:1"))


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    house = House({"work": Kind(name="work", policy=Policy(keep=2 * KEEP))})
    await house.open()
    await house.attach()
    door = await opened(house)
    yield door
    await door.client.aclose()
    await house.crash()


@pytest.mark.parametrize("result", [b'{"n": 1.50}', json.dumps("x" * 300_000).encode()], ids=["small", "an artifact"])
async def test_a_result_is_behind_its_url_as_it_was_written(door, result):
    url = door.references.url(await door.done(result))
    assert url.startswith("http://here:1" + PATH)
    answer = await door.client.get(url)
    assert (answer.status_code, answer.content) == (200, result)
    assert (answer.headers["content-type"], answer.headers["content-length"]) == ("application/json", str(len(result)))
    assert (await door.client.head(url)).status_code == 200


async def test_urls_work_after_a_restart(door):
    url = door.references.url(await door.done(b"1"))
    await door.house.restart()
    again = await opened(door.house)
    assert (await again.client.get(url)).content == b"1"
    await again.client.aclose()


async def test_urls_expire_with_the_answer(door):
    job = await door.done(b"1")
    url = door.references.url(job)
    await door.house.advance(KEEP - 1)
    assert (await door.client.get(url)).status_code == 200
    assert door.references.url(job) == url
    await door.house.advance(1)
    answer = await door.client.get(url)
    assert answer.status_code == 410
    assert "send the request again" in answer.json()["detail"]


async def test_nobody_can_make_a_url_up(door):
    job = await door.done(b"1")
    url = door.references.url(job)
    forged = PATH + seal(Ticket(job.id, 2**40), b"another secret")
    changed = url[:-1] + ("A" if url[-1] != "A" else "B")
    for wrong in (forged, changed, url + "AAAA", PATH + "x", PATH + "%00", PATH + "ü"):
        answer = await door.client.get(wrong)
        assert answer.status_code == 403, wrong
        assert answer.json()["code"] == "unauthorized"


async def test_jobs_that_are_gone_or_failed_have_no_result(door):
    job = await door.done(b"1")
    url = door.references.url(job)
    failed = await door.house.submit()
    await door.house.report(await door.house.lease(), WRONG)
    assert (await door.client.get(door.references.url(await door.house.job(failed)))).status_code == 410
    await door.house.broker.sweep()
    unknown = PATH + seal(Ticket(1, 2**40), door.references._secret)
    assert (await door.client.get(unknown)).status_code == 410
    assert (await door.client.get(url)).status_code == 200


async def test_an_artifact_that_is_gone_is_told_before_the_answer_begins(door):
    url = door.references.url(await door.done(json.dumps("x" * 300_000).encode()))
    door.house.artifacts.contents.clear()
    assert (await door.client.get(url)).status_code == 410


@given(job=st.integers(0, 2**63 - 1), expires=st.integers(0, 2**63))
def test_a_ticket_comes_out_of_its_seal(job, expires):
    token = seal(Ticket(job, expires), SECRET)
    assert unseal(token, SECRET) == Ticket(job, expires)
    assert unseal(token, b"t" * 32) is None


@given(st.text(max_size=100))
def test_any_text_is_no_ticket(text):
    assert unseal(text, SECRET) is None


def test_nothing_is_let_in_before_there_is_a_secret():
    assert unseal(seal(Ticket(1, 2), b""), b"") is None
