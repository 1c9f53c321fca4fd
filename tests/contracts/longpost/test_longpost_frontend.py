"""What the frontend answers, over real HTTP: the tables of the protocol page, row by row."""

import asyncio
import json

import pytest

from crossdock.core.jobs import ArtifactRef
from crossdock.core.requests import Query
from crossdock.protocols.longpost import LongpostOptions

GONE = {"done": False, "continue": False, "result": None}
STOPPED = {"done": True, "continue": False, "result": None}
RUNNING = {"done": False, "continue": True, "result": None}
MAX = 2**53 - 1


def said(answer: dict) -> dict:
    return {name: value for name, value in answer.items() if name != "token"}


async def test_a_quick_job_is_answered_at_once_and_its_token_is_spent(place):
    answer = await place.start("echo", {"a": "é"})
    assert said(answer) == {"done": True, "continue": False, "result": '{"a":"\\u00e9"}'}
    assert said(await place.ask("echo", action="get", token=answer["token"])) == GONE


async def test_a_held_job_runs_then_is_delivered_once(place):
    answer = await place.start("held", [1, 2])
    token = answer["token"]
    assert said(answer) == RUNNING
    assert isinstance(token, str)
    assert str(int(token)) == token
    assert 1 <= int(token) <= MAX
    assert await place.ask("held", action="get", token=token) == {"token": token, **RUNNING}
    await place.finish("held", token)
    done = await place.ask("held", action="get", token=int(token))
    assert done == {"token": int(token), "done": True, "continue": False, "result": "[1,2]"}
    assert await place.ask("held", action="get", token=token) == {"token": token, **GONE}


async def test_only_one_of_many_gets_has_the_result(place):
    token = (await place.start("held", 1))["token"]
    await place.finish("held", token)
    answers = await asyncio.gather(*[place.ask("held", action="get", token=token) for _ in range(20)])
    assert sum(answer["done"] for answer in answers) == 1
    assert all(said(answer) == GONE for answer in answers if not answer["done"])


@pytest.mark.parametrize("payload", [{}, {"a": [1, {"b": None}]}, [], [1], "text", "ä😀", 0, 1.5, True, None])
async def test_any_json_value_is_a_payload(place, payload):
    assert json.loads((await place.start("echo", payload))["result"]) == payload


async def test_a_missing_payload_is_an_empty_object(place):
    assert (await place.ask("echo", action="start"))["result"] == "{}"


async def test_a_job_without_a_result_gives_the_text_null(place):
    assert (await place.start("none", {}))["result"] == "null"


@pytest.mark.parametrize(
    "token", ["0", 0, "123456", 123456, MAX, MAX + 1, "", "x", "0123", 1.5, True, False, -1, "9" * 5000, "0a" * 16]
)
async def test_tokens_nobody_issued_are_gone_and_stopped_all_the_same(place, token):
    assert await place.ask("echo", action="get", token=token) == {"token": token, **GONE}
    assert await place.ask("echo", action="stop", token=token) == {"token": token, **STOPPED}


async def test_a_number_of_5000_digits_is_gone(place):
    digits = "9" * 5000
    response = await place.client.post(
        "/longpost/echo", content=f'{{"action":"get","token":{digits}}}', headers={"content-type": "application/json"}
    )
    assert response.status_code == 200
    assert f'"token":{digits}' in response.text
    assert '"continue":false' in response.text


async def test_tokens_are_valid_only_where_they_were_issued(place):
    token = (await place.start("held", {}))["token"]
    assert said(await place.ask("echo", action="get", token=token)) == GONE
    assert said(await place.ask("echo", action="stop", token=token)) == STOPPED
    assert said(await place.ask("held", action="get", token=token)) == RUNNING


@pytest.mark.parametrize("kind_of", [str, int])
async def test_stop_cancels_the_job_and_can_be_repeated(place, kind_of):
    token = kind_of((await place.start("held", {}))["token"])
    record = await place.broker.records.get("longpost.task", f"held/{token}")
    for _ in range(3):
        assert await place.ask("held", action="stop", token=token) == {"token": token, **STOPPED}
    assert said(await place.ask("held", action="get", token=token)) == GONE
    job = await place.broker.intake.job(int(record.value))
    assert job.cancel_requested or job.terminal


async def test_stop_throws_a_result_away(place):
    token = (await place.start("held", {}))["token"]
    await place.finish("held", token)
    assert said(await place.ask("held", action="stop", token=token)) == STOPPED
    assert said(await place.ask("held", action="get", token=token)) == GONE


async def test_a_job_cancelled_elsewhere_is_gone(place):
    token = (await place.start("held", {}))["token"]
    record = await place.broker.records.get("longpost.task", f"held/{token}")
    await place.broker.intake.cancel(int(record.value), "hard")
    assert said(await place.ask("held", action="get", token=token)) == GONE


@pytest.mark.parametrize(("code", "status"), [(404, 404), (418, 418), (503, 503), (599, 599), (399, 500), ("odd", 500)])
async def test_a_job_that_fails_shows_its_status_once(place, code, status):
    response = await place.post("fail", action="start", payload=[code, "what is wrong"])
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == "what is wrong"


async def test_an_exception_is_500_without_its_text_and_then_gone(place):
    place.free.clear()
    token = (await place.start("boom", {}))["token"]
    place.free.set()
    await place.finish("boom", token)
    response = await place.post("boom", action="get", token=token)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert said(await place.ask("boom", action="get", token=token)) == GONE


async def test_results_live_from_completion_and_not_longer(place):
    token = (await place.start("held", {}))["token"]
    place.clock.shift = 100_000
    assert said(await place.ask("held", action="get", token=token)) == RUNNING
    await place.finish("held", token)
    place.clock.shift += 115
    assert (await place.ask("held", action="get", token=token))["done"]


async def test_results_expire(place):
    token = (await place.start("held", {}))["token"]
    await place.finish("held", token)
    place.clock.shift = 121
    assert said(await place.ask("held", action="get", token=token)) == GONE


async def test_a_token_in_use_is_kept_for_as_long_as_it_is_asked_for(place):
    token = (await place.start("held", {}))["token"]
    for _ in range(5):
        place.clock.shift += 20 * 86400
        assert said(await place.ask("held", action="get", token=token)) == RUNNING
    place.clock.shift += 31 * 86400
    assert said(await place.ask("held", action="get", token=token)) == GONE


class TestCargo:
    @pytest.fixture
    def options(self):
        return LongpostOptions(chunk=100, misses_per_minute=1000, breaker=1e9)

    async def collect(self, place, tokens):
        parts = []
        for token in tokens:
            part = await place.ask("big", action="cargo", token=token)
            assert set(part) == {"token", "result"}
            assert part["token"] == token
            parts.append(part["result"])
        return parts

    @pytest.mark.parametrize("text", ["x", "é", "€", "😀", 'a"\\'])
    async def test_long_results_come_in_parts(self, place, text):
        answer = await place.start("big", [text, 300])
        assert (answer["done"], answer["continue"]) == (True, True)
        assert len(set(answer["result"])) == len(answer["result"]) > 1
        assert all(len(token) == 32 for token in answer["result"])
        parts = await self.collect(place, answer["result"])
        assert json.loads("".join(parts)) == text * 300
        assert all(88 < len(part) <= 100 for part in parts[:-1])
        assert all(part.isascii() for part in parts)

    @pytest.mark.parametrize("text", ["x", "é", "😀"])
    async def test_results_at_rest_are_read_part_by_part(self, place, text):
        answer = await place.start("big", [text, 70_000])
        while not answer["done"]:
            answer = await place.ask("big", action="get", token=answer["token"])
        record = await place.broker.records.get("longpost.cargo", f"big/{answer['result'][1]}")
        assert isinstance(json.loads(record.value)["document"], dict)
        first, last = await self.collect(place, [answer["result"][0], answer["result"][-1]])
        assert first.startswith('"')
        assert last.endswith('"')
        assert json.loads(f'{first}"').startswith(text)

    @pytest.mark.parametrize(("characters", "parts"), [(98, 1), (99, 2), (198, 2), (199, 3)])
    async def test_the_limit_is_exact(self, place, characters, parts):
        answer = await place.start("big", ["x", characters])
        if parts == 1:
            assert said(answer) == {"done": True, "continue": False, "result": f'"{"x" * characters}"'}
        else:
            assert len(answer["result"]) == parts
            assert [len(part) for part in await self.collect(place, answer["result"])][:-1] == [100] * (parts - 1)

    async def test_a_part_can_be_read_once(self, place):
        token = (await place.start("big", ["x", 200]))["result"][0]
        answers = await asyncio.gather(*[place.post("big", action="cargo", token=token) for _ in range(10)])
        assert sorted(answer.status_code for answer in answers) == [200] + [404] * 9
        assert (await place.post("big", action="cargo", token=token)).headers["content-type"] == "application/problem+json"

    async def test_parts_come_in_any_order_and_belong_to_their_kind(self, place):
        tokens = (await place.start("big", ["x", 300]))["result"]
        assert (await place.post("echo", action="cargo", token=tokens[0])).status_code == 404
        parts = await self.collect(place, reversed(tokens))
        assert json.loads("".join(reversed(parts))) == "x" * 300

    async def test_parts_expire(self, place):
        tokens = (await place.start("big", ["x", 200]))["result"]
        place.clock.shift = 590
        await self.collect(place, tokens[:1])
        place.clock.shift = 601
        assert (await place.post("big", action="cargo", token=tokens[1])).status_code == 404

    @pytest.mark.parametrize("times", [300, 70_000])
    async def test_parts_survive_a_restart(self, place, times):
        answer = await place.start("big", ["é", times])
        while not answer["done"]:
            answer = await place.ask("big", action="get", token=answer["token"])
        tokens = answer["result"]
        [first] = await self.collect(place, tokens[:1])
        await place.restart()
        assert (await place.post("big", action="cargo", token=tokens[0])).status_code == 404
        [second] = await self.collect(place, tokens[1:2])
        assert first.startswith('"\\u00e9')
        assert second.startswith("\\u00e9")

    @pytest.mark.parametrize("token", [1, "1", "0a" * 16, "constructor", "__proto__", 1.5, ""])
    async def test_cargo_nobody_packed(self, place, token):
        assert (await place.post("big", action="cargo", token=token)).status_code == 404

    async def test_task_and_cargo_tokens_are_not_each_other(self, place):
        place.release.clear()
        task = (await place.start("held", {}))["token"]
        assert (await place.post("held", action="cargo", token=task)).status_code == 404
        cargo = (await place.start("big", ["x", 200]))["result"][0]
        assert said(await place.ask("big", action="get", token=cargo)) == GONE


async def test_large_results_at_rest_are_sent_whole_below_the_chunk(place):
    answer = await place.start("big", ["é", 100_000])
    while not answer["done"]:
        answer = await place.ask("big", action="get", token=answer["token"])
    assert answer["continue"] is False
    assert json.loads(answer["result"]) == "é" * 100_000
    page = await place.broker.intake.search(Query())
    assert isinstance(page.jobs[0].result, ArtifactRef)


async def test_tasks_survive_a_restart(place):
    finished = (await place.start("held", {"a": 1}))["token"]
    await place.finish("held", finished)
    place.release.clear()
    held = (await place.start("held", {"a": 2}))["token"]
    await place.restart()
    assert said(await place.ask("held", action="get", token=held)) == RUNNING
    assert (await place.ask("held", action="get", token=finished))["result"] == '{"a":1}'
    await place.finish("held", held)
    assert (await place.ask("held", action="get", token=held))["result"] == '{"a":2}'
    await place.restart()
    assert said(await place.ask("held", action="get", token=held)) == GONE


async def test_tokens_are_random(place):
    tokens = {int((await place.start("held", 0))["token"]) for _ in range(20)}
    assert len(tokens) == 20
    assert max(tokens) > 2**47
