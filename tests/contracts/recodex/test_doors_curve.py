"""Doors with CURVE: only peers whose keys are known come in, and without the handler nobody does."""

from contextlib import suppress

import zmq
import zmq.asyncio

from contracts.recodex.doors_scene import ANY_PORT, Peer, Scene, scene_at
from crossdock.protocols.recodex.options import Curve, RecodexOptions


class Keyed(Peer):
    """A peer with keys, or with none."""

    def __init__(self, scene: Scene, server: bytes | None, own: tuple[bytes, bytes] | None) -> None:
        self.socket = scene.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        if server is not None and own is not None:
            self.socket.curve_serverkey = server
            self.socket.curve_publickey, self.socket.curve_secretkey = own
        self.socket.connect(f"tcp://127.0.0.1:{scene.frontend.port}")
        scene.peers.append(self)


async def test_only_known_keys_open_the_door(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir()
    public, secret = zmq.curve_keypair()
    known, unknown = zmq.curve_keypair(), zmq.curve_keypair()
    text = f'metadata\ncurve\n    public-key = "{known[0].decode()}"\n'
    (keys / "alice.key").write_text(text)
    options = RecodexOptions(
        clients=ANY_PORT, workers=ANY_PORT, curve=Curve(secret_key=secret.decode(), clients=keys), insecure=False
    )
    async with scene_at(tmp_path / "data", options) as scene:
        alice = Keyed(scene, public, known)
        await alice.say("freeze")
        assert await alice.hear() == ["ack"]
        for stranger in (
            Keyed(scene, public, unknown),
            Keyed(scene, None, None),
            Keyed(scene, zmq.curve_keypair()[0], known),
        ):
            with suppress(zmq.Again):  # who was refused before it could say anything has nobody to say it to
                await stranger.socket.send(b"unfreeze", zmq.NOBLOCK)
            assert await stranger.silent(0.5)
        await alice.say("get-runtime-stats")
        assert (await alice.hear())[-2:] == ["is-frozen", "1"]


async def test_with_keys_a_door_to_the_network_is_fine(tmp_path):
    _, secret = zmq.curve_keypair()
    (tmp_path / "keys").mkdir()
    curve = Curve(secret_key=secret.decode(), clients=tmp_path / "keys")
    options = RecodexOptions(clients="tcp://0.0.0.0:0", workers="tcp://0.0.0.0:0", curve=curve)
    async with scene_at(tmp_path / "data", options) as scene:
        assert scene.frontend.port
        assert scene.backend.port
