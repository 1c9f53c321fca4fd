"""Tokens: drawn at random, drawn again when taken, and silent about why they are unknown."""

import hashlib
import time

import pytest

from crossdock.http.auth import ApiKey
from crossdock.protocols.longpost import LongpostOptions
from crossdock.protocols.longpost.errands import Errands, Ports, Visit, draw_token
from crossdock.protocols.longpost.messages import Start
from crossdock.protocols.longpost.session import Terms, serve


def test_a_million_tokens_are_different_and_fit_into_a_javascript_number():
    tokens = {draw_token() for _ in range(1_000_000)}
    assert len(tokens) == 1_000_000
    assert min(tokens) >= 1
    assert max(tokens) <= 2**53 - 1


async def test_a_token_that_is_taken_is_drawn_again(place):
    broker, draws = place.broker, iter([5, 5, 5, 6])
    ports = Ports(broker.intake, broker.records, broker.artifacts, place.clock)
    errands = Errands(ports, LongpostOptions(grace=0), draw=lambda: next(draws))
    visit = Visit("held", "", "local", known=False)
    answers = [await errands.run(serve(Start(), Terms("", 120)), visit) for _ in range(2)]
    assert [answer.token.text for answer in answers] == ["5", "6"]


class TestSilence:
    @pytest.fixture
    def keys(self):
        return tuple(
            ApiKey(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), tenant=name) for name in ("ann", "bob")
        )

    async def test_unknown_expired_foreign_and_stopped_look_alike(self, place):
        async def ask(name, action, token=None):
            body = {"action": action, "token": token} if token else {"action": action}
            started = time.perf_counter()
            response = await place.client.post("/longpost/held", json=body, headers={"authorization": f"Bearer {name}"})
            headers = {key: value for key, value in response.headers.items() if key not in ("date", "content-length")}
            return response, response.text.replace(token or "", ""), headers, time.perf_counter() - started

        expired, foreign, stopped = [(await ask("ann", "start"))[0].json()["token"] for _ in range(3)]
        await ask("ann", "stop", stopped)
        await place.finish("held", expired)
        place.clock.shift = 121
        asked = [("ann", "12345"), ("ann", expired), ("bob", foreign), ("ann", stopped)]
        answers = [await ask(name, "get", token) for name, token in asked]
        assert len({(text, tuple(headers.items())) for _, text, headers, _ in answers}) == 1
        fastest = {token: min([(await ask(name, "get", token))[3] for _ in range(9)]) for name, token in asked}
        assert max(fastest.values()) - min(fastest.values()) < 0.005
