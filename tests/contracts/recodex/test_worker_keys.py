"""Encrypted links: the right keys, wrong ones, and ones that cannot be read."""

import msgspec
import pytest
from zmq import auth

from contracts.recodex.doors_scene import ANY_PORT, scene_at
from contracts.recodex.worker_hands import Crew
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Submit
from crossdock.protocols.recodex.options import Curve, RecodexOptions


@pytest.fixture
def keys(tmp_path):
    """Return a folder with certificates of a server, a worker that may come, and a stranger."""
    for name in ("server", "clients/worker", "stranger"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        auth.create_certificates((tmp_path / name).parent, (tmp_path / name).name)
    return tmp_path


@pytest.fixture
async def scene(keys):
    secret = auth.load_certificate(keys / "server.key_secret")[1].decode()
    curve = Curve(secret_key=secret, clients=keys / "clients")
    async with scene_at(keys, RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, curve=curve)) as scene:
        yield scene


def crew(scene, server_key, secret_key, **address):
    keys = {"server_key": str(server_key), "secret_key": str(secret_key)}
    return Crew(scene.backend.port, "one", kinds=("echo",), **keys, **address)


async def refusal(crew) -> CrossdockError:
    crew.dispatch._patience = 0.7
    with pytest.raises(CrossdockError) as caught:
        await crew.dispatch.attach(crew.info)
    await crew.close()
    return caught.value


async def test_a_worker_with_a_known_key_works(scene, keys):
    ours = crew(scene, keys / "server.key", keys / "clients/worker.key_secret").start()
    job = (await scene.broker.intake.submit(Submit(kind="echo", payload=msgspec.json.encode(7)))).job
    assert (await scene.broker.intake.wait(job.id, 30)).result == b"7"
    await ours.close()


@pytest.mark.parametrize(
    ("server", "own"), [("server.key", "stranger.key_secret"), ("stranger.key", "clients/worker.key_secret")]
)
async def test_wrong_keys_reach_nobody(scene, keys, server, own):
    assert (await refusal(crew(scene, keys / server, keys / own))).code is Code.UNAVAILABLE


async def test_a_worker_without_keys_reaches_nobody(scene):
    assert (await refusal(Crew(scene.backend.port, "one"))).code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("server", "own", "part"),
    [
        ("server.key", "no such file", "cannot be read"),
        ("server.key", "clients/worker.key", "has no secret key"),
    ],
)
async def test_keys_that_cannot_be_used_are_named(scene, keys, server, own, part):
    error = await refusal(crew(scene, keys / server, keys / own))
    assert error.code is Code.INVALID
    assert part in error.message


async def test_an_endpoint_that_is_none_is_said(scene):
    error = await refusal(Crew(scene.backend.port, "one", endpoint="nonsense://127.0.0.1:9"))
    assert (error.code, "no address" in error.message) == (Code.INVALID, True)
