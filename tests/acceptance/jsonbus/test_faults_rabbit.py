"""RabbitMQ is stopped, killed and short of memory under load: every request has one logical answer, and none is lost.

Nobody but RabbitMQ is started anew. The rounds are CROSSDOCK_RABBIT_ROUNDS, 1 without it.
"""

import asyncio
import os
from pathlib import Path

import pytest

from acceptance.jsonbus.fault_site import KINDS, Site, site_at
from acceptance.jsonbus.our_load import calling
from acceptance.jsonbus.raw_load import Load, loading
from rabbit import Vhost

ROUNDS = int(os.environ.get("CROSSDOCK_RABBIT_ROUNDS", "1"))
QUIET = 1.0

pytestmark = pytest.mark.timeout(240 + 60 * ROUNDS)


def judge(site: Site, load: Load) -> None:
    print(load.counts)
    assert all(program.alive() for program in site.programs)
    assert load.violations() == []
    assert load.returned == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_nothing_is_lost_when_rabbitmq_is_started_anew(vhost: Vhost, tmp_path: Path, end: str):
    with site_at(vhost, tmp_path) as site:
        async with loading(Load(vhost.url, KINDS)) as load:
            for _ in range(ROUNDS):
                await load.more(50)
                await asyncio.to_thread(getattr(vhost.rabbit, end))
                await asyncio.sleep(QUIET)
                await asyncio.to_thread(vhost.rabbit.start)
                await load.more(50)
        judge(site, load)


async def test_nothing_is_lost_when_rabbitmq_is_short_of_memory(vhost: Vhost, tmp_path: Path):
    with site_at(vhost, tmp_path) as site:
        async with loading(Load(vhost.url, KINDS)) as load:
            for _ in range(ROUNDS):
                await load.more(50)
                await asyncio.to_thread(vhost.rabbit.alarm, on=True)
                await asyncio.sleep(QUIET)
                before = len(load.answers)
                await asyncio.sleep(QUIET)
                assert len(load.answers) == before, "RabbitMQ blocked nobody"
                await asyncio.to_thread(vhost.rabbit.alarm, on=False)
                await load.more(50)
        judge(site, load)


async def test_our_client_comes_through_all_of_it(vhost: Vhost, tmp_path: Path):
    with site_at(vhost, tmp_path):
        async with calling(vhost, KINDS) as calls:
            await calls.more(50)
            await asyncio.to_thread(vhost.rabbit.kill)
            await asyncio.to_thread(vhost.rabbit.start)
            await calls.more(50)
            await asyncio.to_thread(vhost.rabbit.alarm, on=True)
            await asyncio.sleep(QUIET)
            await asyncio.to_thread(vhost.rabbit.alarm, on=False)
            await calls.more(50)
    assert len(set(calls.nonces)) == len(calls.nonces)
