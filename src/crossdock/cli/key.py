"""``crossdock key``: make an API key."""

from typing import Annotated

import typer

from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.options import JsonOption


def key(
    name: Annotated[str, typer.Argument(help="What the key is called in logs.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="submit, read-own, read-all, work or admin; repeatable.")
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant its jobs belong to; by default the name.")] = "",
    json: JsonOption = False,
) -> None:
    """Make an API key and print what belongs into the configuration. The key itself is shown this once."""
    from typing import get_args

    from crossdock.config.schema import Scope
    from crossdock.http.auth import new_key

    scopes = scope or ["submit", "read-own"]
    if unknown := [each for each in scopes if each not in get_args(Scope)]:
        raise CommandError(f"unknown scope {unknown[0]!r}; there are {', '.join(get_args(Scope))}", ExitCode.USAGE)
    secret, digest = new_key()
    if json:
        _print_json(name, tenant or name, scopes, secret, digest)
        return
    typer.echo("# crossdock.toml", err=True)
    typer.echo(_table(name, tenant or name, scopes, digest))
    typer.echo(f"\nThe key, shown only now: {secret}\nClients: export CROSSDOCK_API_KEY={secret}", err=True)


def _print_json(name: str, tenant: str, scopes: list[str], secret: str, digest: str) -> None:
    import msgspec

    shown = {"name": name, "tenant": tenant, "scopes": scopes, "key": secret, "sha256": digest}
    typer.echo(msgspec.json.encode(shown).decode())


def _table(name: str, tenant: str, scopes: list[str], digest: str) -> str:
    from json import dumps

    lines = ["[[security.keys]]", f"name = {dumps(name)}", f'sha256 = "{digest}"']
    lines += [f"scopes = {dumps(scopes)}", f"tenant = {dumps(tenant)}"]
    return "\n".join(lines)
