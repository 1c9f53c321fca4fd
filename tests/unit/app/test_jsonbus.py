"""What the json-bus node of the server may do."""

import pytest

from crossdock.app.jsonbus import node_egress
from crossdock.config import Config, Jsonbus, Key
from crossdock.config.schema import Security
from crossdock.core.errors import CrossdockError

HERE = "amqp://guest:guest@127.0.0.1:5672/"
THERE = "amqp://u:p@10.1.2.3/v"
METRICS = "http://127.0.0.1:9090/secrets"


def config(**security) -> Config:
    return Config(security=Security(**security))


async def test_on_a_bus_of_this_machine_nodes_may_name_private_urls():
    assert (await node_egress(config(), Jsonbus(url=HERE)).judge(METRICS)).url == METRICS


@pytest.mark.parametrize(
    ("url", "security"),
    [(THERE, {}), ("amqps://u:p@rabbit.example.org/v", {}), (HERE, {"keys": (Key(name="k", sha256="0" * 64),)})],
    ids=["another machine", "a name", "API keys"],
)
async def test_whoever_else_reaches_the_bus_may_not(url, security):
    with pytest.raises(CrossdockError, match="allow_urls"):
        await node_egress(config(**security), Jsonbus(url=url)).judge(METRICS)
    allowed = config(allow_urls=("http://127.0.0.1:9090/secrets",), **security)
    assert (await node_egress(allowed, Jsonbus(url=url)).judge(METRICS)).url == METRICS
