"""What is wrong with values that are each fine alone, and with texts that have a form of their own."""

from pathlib import Path
from urllib.parse import urlsplit

from crossdock.config.schema import Config
from crossdock.config.sources import ConfigError, Problem, Settings
from crossdock.http.loopback import is_loopback

_LARGEST_PORT = 65535


def listen_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` (an IPv6 host in brackets).

    Raises:
        ValueError: the text has another form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > _LARGEST_PORT:
        raise ValueError(f"expected HOST:PORT, got {text!r}")
    return host.strip("[]"), int(port)


def store_path(config: Config) -> Path | None:
    """Return the file of the SQLite store, None if jobs are kept in memory only.

    Raises:
        ValueError: the URL names a store that this release does not have.
    """
    url = config.store.url
    if not url:
        return Path(config.data) / "crossdock.db"
    if url == "memory:":
        return None
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest.strip("/"):
        return Path(rest.removeprefix("//"))
    if urlsplit(url).scheme in ("postgresql", "postgres"):
        raise ValueError("PostgreSQL comes with a later release; leave the key out for SQLite in the data directory")
    raise ValueError(f"expected sqlite:PATH or memory:, got {url!r}")


def artifacts_path(config: Config) -> Path:
    """Return the directory of the artifacts.

    Raises:
        ValueError: the URL names a place that this release cannot use.
    """
    url = config.artifacts.url
    if not url:
        return Path(config.data) / "artifacts"
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest.strip("/"):
        return Path(rest.removeprefix("//"))
    if scheme == "s3":
        raise ValueError("S3 comes with a later release; leave the key out for files in the data directory")
    raise ValueError(f"expected file:PATH, got {url!r}")


def check(config: Config, settings: Settings) -> None:
    """Look at what the types cannot say.

    Raises:
        ConfigError: with every problem.
    """
    problems = _forms(config, settings) + _keys(config, settings) + _backends(config, settings)
    problems += _recodex(config, settings) + _files(config, settings)
    if problems:
        raise ConfigError(problems)


def _forms(config: Config, settings: Settings) -> list[Problem]:
    problems: list[Problem] = []
    if bool(config.http.certificate) != bool(config.http.private_key):
        text = "http: certificate and private_key are needed together"
        problems.append(Problem(settings.origin(("http",)), text))
    for path, read in (
        (("http", "listen"), lambda: listen_address(config.http.listen)),
        (("store", "url"), lambda: store_path(config)),
        (("artifacts", "url"), lambda: artifacts_path(config)),
    ):
        try:
            read()
        except ValueError as error:
            problems.append(Problem(settings.origin(path), f"{'.'.join(path)}: {error}"))
    return problems


def _recodex(config: Config, settings: Settings) -> list[Problem]:
    table = config.recodex
    if table is None:
        return []
    found: list[tuple[str, str]] = []
    if bool(table.secret_key) != bool(table.client_keys):
        found.append(
            ("secret_key", "secret_key and client_keys are needed together: without the list anybody could come in")
        )
    if not table.secret_key and not table.insecure:
        found += [
            (door, "beyond this machine the door needs CURVE (secret_key and client_keys), or insecure = true")
            for door, address in (("clients", table.clients), ("workers", table.workers))
            if not is_loopback(listen_address(address.removeprefix("tcp://"))[0])
        ]
    if table.monitor:
        try:
            listen_address(table.monitor)
        except ValueError as error:
            found.append(("monitor", str(error)))
    return [Problem(settings.origin(("recodex", key)), f"recodex.{key}: {text}") for key, text in found]


def _files(config: Config, settings: Settings) -> list[Problem]:
    if config.files is None or config.files.password:
        return []
    try:
        if is_loopback(listen_address(config.http.listen)[0]):
            return []
    except ValueError:  # which is a problem of its own
        return []
    text = "files.password: beyond this machine the file server needs a username and a password"
    return [Problem(settings.origin(("files", "password")), text)]


def _keys(config: Config, settings: Settings) -> list[Problem]:
    names = [key.name for key in config.security.keys]
    return [
        Problem(settings.origin(("security", "keys", str(index))), f"security.keys: the name {name!r} is there twice")
        for index, name in enumerate(names)
        if name in names[:index]
    ]


def _backends(config: Config, settings: Settings) -> list[Problem]:
    problems: list[Problem] = []
    for name, backend in config.backends.longpost.items():
        if backend.poll_first > backend.poll_max:
            text = f"backends.longpost.{name}: poll_first is longer than poll_max"
            problems.append(Problem(settings.origin(("backends", "longpost", name, "poll_first")), text))
    if config.backends.jsonbus and config.jsonbus is None:
        text = "backends.jsonbus: these workers are on the RabbitMQ of the table [jsonbus], which is missing"
        problems.append(Problem(settings.origin(("backends", "jsonbus")), text))
    return problems + _owners(config, settings)


def _owners(config: Config, settings: Settings) -> list[Problem]:
    """Find kinds that two backends have."""
    owners: dict[str, str] = {}
    problems: list[Problem] = []
    for protocol, backends in (("longpost", config.backends.longpost), ("jsonbus", config.backends.jsonbus)):
        for name, backend in backends.items():
            place = f"backends.{protocol}.{name}"
            for kind in backend.kinds or (name,):
                if other := owners.get(kind):
                    text = f"{place}: the kind {kind!r} is also one of {other}; a kind has one backend"
                    problems.append(Problem(settings.origin(("backends", protocol, name, "kinds")), text))
                owners[kind] = place
    return problems
