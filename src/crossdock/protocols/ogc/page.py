"""The landing page for people: what can be run, and what ran last. It loads nothing from anywhere."""

from collections.abc import Sequence
from html import escape
from typing import Final
from urllib.parse import quote

from crossdock.core.kinds import Kind
from crossdock.protocols.ogc.messages import StatusInfo

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #ccc;vertical-align:top}code{font-size:13px}"
)


def landing(title: str, kinds: Sequence[Kind], jobs: Sequence[StatusInfo]) -> str:
    """Return the page."""
    processes = [(_link(f"processes/{quote(kind.name)}", kind.name), escape(_about(kind))) for kind in kinds]
    recent = [
        (
            _link(f"jobs/{job.job_id}", job.job_id),
            escape(job.process_id),
            f"{job.status} {job.progress} %",
            escape(job.created or ""),
            escape(job.message[:200]),
        )
        for job in jobs
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<h2>Processes</h2>{_table(('id', 'what it does'), processes)}"
        f"<h2>Newest jobs</h2>{_table(('id', 'process', 'status', 'created', 'message'), recent)}"
        '<p><a href="api">OpenAPI</a> · <a href="conformance">conformance</a> · <a href="metrics">metrics</a></p>'
        "</body></html>"
    )


def _about(kind: Kind) -> str:
    return " ".join(part for part in (kind.title, kind.description) if part)


def _link(href: str, text: str) -> str:
    return f'<a href="{escape(href)}"><code>{escape(text)}</code></a>'


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
