"""Addresses of brokers as people type them."""

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Capabilities
from crossdock.protocols.recodex.worker_address import WorkerAddress, parse_connect


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("recodex+tcp://broker:9657", "tcp://broker:9657"),
        ("recodex+tcp://broker", "tcp://broker:9657"),
        ("recodex+tcp://10.0.0.7:1/", "tcp://10.0.0.7:1"),
        ("recodex+tcp://[::1]:9657", "tcp://[::1]:9657"),
    ],
)
def test_where_the_broker_is(url, endpoint):
    assert parse_connect(url) == WorkerAddress(endpoint=endpoint)


def test_what_the_worker_offers_there():
    found = parse_connect(
        "recodex+tcp://b?hwgroup=group1&header=env%3Dc&header=env=python3&header=x=a%26b=c&slots=4&description=my%20box"
        "&server_key=s.key&secret_key=w.key_secret&ping_interval=0.5&liveness=8&done=old"
    )
    assert found == WorkerAddress(
        endpoint="tcp://b:9657",
        offers=Capabilities(group="group1", values={"env": ("c", "python3"), "x": ("a&b=c",)}),
        slots=4,
        description="my box",
        server_key="s.key",
        secret_key="w.key_secret",
        ping_interval=0.5,
        liveness=8,
        old_done=True,
    )


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://b", "recodex+tcp://HOST"),
        ("recodex+tcp://", "recodex+tcp://HOST"),
        ("recodex+tcp://b:99999", "Port out of range"),
        ("recodex+tcp://b:x", "Port"),
        ("recodex+tcp://b/path", "recodex+tcp://HOST"),
        ("recodex+tcp://me:secret@b", "user names"),
        ("recodex+tcp://b?hwgrp=x", "do you mean 'hwgroup'"),
        ("recodex+tcp://b?zzzz=x", "there are description, done"),
        ("recodex+tcp://b?slots", "recodex+tcp://HOST"),
        ("recodex+tcp://b?slots=0", "slots has to be a number from 1 to 10000"),
        ("recodex+tcp://b?slots=many", "slots has to be a number"),
        ("recodex+tcp://b?slots=nan", "slots has to be a number"),
        ("recodex+tcp://b?slots=1&slots=2", "given twice"),
        ("recodex+tcp://b?header=env", "expected NAME=VALUE"),
        ("recodex+tcp://b?header=%3Dc", "expected NAME=VALUE"),
        ("recodex+tcp://b?done=new", "done can only be 'old'"),
        ("recodex+tcp://b?server_key=s", "needed together"),
        ("recodex+tcp://b?liveness=0.5", "liveness has to be a number from 1"),
    ],
)
def test_what_cannot_be_used_is_said(url, part):
    with pytest.raises(CrossdockError) as caught:
        parse_connect(url)
    assert caught.value.code is Code.INVALID
    assert part in caught.value.message
    assert "secret@" not in caught.value.message
