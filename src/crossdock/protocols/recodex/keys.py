"""The CURVE keys of whoever connects, from the certificates that ``zmq.auth.create_certificates`` makes."""

from collections.abc import Callable

import zmq
from zmq import auth

from crossdock.core.errors import Code, CrossdockError


def curve_options(server: str, own: str) -> dict[int, bytes]:
    """Return the options of an encrypted socket; none if no server is named.

    Args:
        server: the path of the server's certificate, of which only the public key is used.
        own: the path of our own with its secret key.

    Raises:
        CrossdockError: ``invalid`` if a key cannot be read.
    """
    if not server:
        return {}
    load: Callable[[str], tuple[bytes, bytes | None]] = getattr(auth, "load_certificate")  # noqa: B009 - its types are not known
    try:
        theirs, _ = load(server)
        public, secret = load(own)
    except (OSError, ValueError) as error:
        raise CrossdockError(Code.INVALID, f"a CURVE key cannot be read: {error}") from None
    if secret is None:
        raise CrossdockError(Code.INVALID, f"{own} has no secret key")
    return {zmq.CURVE_SERVERKEY: theirs, zmq.CURVE_PUBLICKEY: public, zmq.CURVE_SECRETKEY: secret}
