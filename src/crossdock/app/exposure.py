"""Whether it is safe to listen where the configuration says."""

from collections.abc import Iterable

from crossdock.config import Config, listen_address
from crossdock.core.kinds import Kind
from crossdock.http.loopback import is_loopback
from crossdock.http.server import check_exposure, exposure_hint


def check_listening(config: Config, kinds: Iterable[Kind]) -> str | None:
    """Return what people should be told about who can reach the server, None if there is nothing to say.

    Raises:
        CrossdockError: ``invalid`` if strangers could run jobs.
    """
    host, _ = listen_address(config.http.listen)
    keys = bool(config.security.keys)
    check_exposure(host, keys=keys, public=config.longpost.public or any(kind.public for kind in kinds))
    if not keys and is_loopback(host):
        return "no API keys: only programs on this machine can reach it"
    return exposure_hint(host, tls=bool(config.http.certificate))
