import ipaddress

import pytest

from crossdock.core.errors import CrossdockError
from crossdock.http.egress import Egress, is_public, within

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_that_are(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "https://user:secret@8.8.8.8/",
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "http:///nothing",
    ],
)
async def test_urls_that_are_not_requested(url):
    with pytest.raises(CrossdockError):
        await Egress().judge(url)


async def test_a_public_address_is_requested_by_number_and_known_by_name():
    target = await Egress().judge("https://8.8.8.8/path?x=1#part")
    assert target.url == "https://8.8.8.8:443/path?x=1"
    assert (target.host, target.name) == ("8.8.8.8", "8.8.8.8")


async def test_what_is_allowed_is_allowed_exactly():
    egress = Egress(["http://127.0.0.1:9000/hooks/"])
    assert (await egress.judge("http://127.0.0.1:9000/hooks/a")).url == "http://127.0.0.1:9000/hooks/a"
    for url in ("http://127.0.0.1:9001/hooks/a", "http://127.0.0.1:9000/other", "http://127.0.0.1:90/hooks/a"):
        with pytest.raises(CrossdockError):
            await egress.judge(url)


async def test_a_server_for_this_machine_only_may_ask_this_machine():
    assert (await Egress(private=True).judge("http://localhost:1/")).host == "localhost:1"


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
async def test_nothing_opens_the_addresses_where_clouds_keep_their_secrets(host):
    with pytest.raises(CrossdockError, match="link-local"):
        await Egress([f"http://{host}/"], private=True).judge(f"http://{host}/latest/meta-data")


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("http://10.0.0.5/files", "http://10.0.0.5/files"),
        ("http://10.0.0.5/files/a", "http://10.0.0.5/files"),
        ("http://10.0.0.5/files/a?x=../y", "http://10.0.0.5/files/"),
        ("http://10.0.0.5/files/..a/b..", "http://10.0.0.5/files"),
        ("http://10.0.0.5:80/a", "http://10.0.0.5"),
        ("https://HOST.example", "https://host.example:443/"),
    ],
)
def test_what_is_below_a_prefix(url: str, prefix: str):
    assert within(url, prefix)


@pytest.mark.parametrize(
    "url",
    [
        *(f"http://10.0.0.5{path}" for path in ("", "/", "/file", "/filesX", "/files.x/a", "/Files/a")),
        *(f"http://10.0.0.5/files/{path}" for path in ("../admin/x", "..", "./a", "a/..", "%2e%2e/x", ".%2E/x", "%2E/a")),
        *(f"http://10.0.0.5/files/{path}" for path in ("..%2fadmin", "..\\admin", "..%5cadmin", "a%5Cb", ".\t./admin")),
        *(
            "https://10.0.0.5/files/a",
            "http://10.0.0.50/files/a",
            "http://10.0.0.5:8080/files/a",
            "http://10.0.0.5.evil/files/a",
        ),
    ],
)
async def test_what_only_looks_as_if_it_were_below_a_prefix(url: str):
    prefix = "http://10.0.0.5/files"
    assert not within(url, prefix)
    if url.startswith("http://10.0.0.5/"):
        with pytest.raises(CrossdockError, match="public"):
            await Egress([prefix]).judge(url)
