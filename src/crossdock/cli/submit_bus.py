"""``crossdock submit --server jsonbus+amqp://…``: a request to a json-bus node, and its answer."""

from collections.abc import Mapping
from typing import Any, Final, cast

import typer

from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.output import print_lines

_SCHEMES: Final = ("jsonbus+amqp://", "jsonbus+amqps://")


def is_bus(server: str) -> bool:
    """Tell whether a server is a json-bus node."""
    return server.startswith(_SCHEMES)


def submit_bus(server: str, kind: str, values: object, *, wait: bool, refused: Mapping[str, bool], json: bool) -> None:
    """Send a request, wait for the answer and print its data.

    Args:
        server: the node's address.
        kind: the subject of the request.
        values: its params.
        wait: has to be set: a node answers once, and nothing can be asked about a request before.
        refused: options that json-bus has no words for, and whether they were given.
        json: print the whole answer.

    Raises:
        CommandError: with the exit code for wrong use, for a broker or node that is not there, or for a request that failed.
    """
    if given := [name for name, is_given in refused.items() if is_given]:
        raise CommandError(f"json-bus has nothing like {', '.join(given)}: leave it out", ExitCode.USAGE)
    if not wait:
        text = "a json-bus node gives its answer and no job to look after: add --wait to wait for it"
        raise CommandError(text, ExitCode.USAGE)
    if values is not None and not isinstance(values, dict):
        raise CommandError("--params has to be a JSON object: params of json-bus have names", ExitCode.USAGE)
    answer = _ask(server, kind, cast("dict[str, Any] | None", values), json=json)
    if json:
        print_lines([answer])
    else:
        import msgspec

        typer.echo(msgspec.json.encode(answer["data"]).decode())


def _ask(server: str, kind: str, params: dict[str, Any] | None, *, json: bool) -> dict[str, object]:
    from crossdock.core.errors import Code, CrossdockError
    from crossdock.protocols.jsonbus.client import JsonbusClient, RequestFailedError

    try:
        with JsonbusClient(server) as client:
            reply = client.request(kind, params)
    except RequestFailedError as error:
        if json:
            print_lines([_answer(error.request_id, "fail", error.message, error.data)])
        raise CommandError(f"{kind} failed: {error.message}", ExitCode.FAILED) from error
    except CrossdockError as error:
        codes = {Code.UNAVAILABLE: ExitCode.UNREACHABLE, Code.INTERNAL: ExitCode.FAILED}
        raise CommandError(error.message, codes.get(error.code, ExitCode.USAGE)) from error
    return _answer(reply.request_id, "success", reply.message, reply.data)


def _answer(request_id: str, status: str, message: str, data: object) -> dict[str, object]:
    return {"requestId": request_id, "status": status, "message": message, "data": data}
