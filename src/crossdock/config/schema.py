"""Every key of the configuration: its type, its default, and one line that says what it does.

The reference page is generated from these definitions, so the line beside a key is the line that users read.
"""

from typing import Annotated, Literal

from msgspec import field

from crossdock.config.evaluating import Evaluation, Files, Recodex
from crossdock.config.messaging import Jsonbus, JsonbusBackend
from crossdock.config.section import Section, about


class Http(Section, frozen=True):
    """The HTTP server: OGC API Processes at /, LONGPOST at /longpost/KIND, /metrics, /healthz, /readyz."""

    listen: Annotated[
        str, about("HOST:PORT to listen on; port 0 takes a free one. Beyond loopback API keys are needed.")
    ] = "127.0.0.1:8080"
    max_body: Annotated[int, about("Largest body of a request.", unit="bytes", ge=1024)] = 32 * 2**20
    certificate: Annotated[str, about("PEM file of a TLS certificate with its chain. Empty: no TLS.")] = ""
    private_key: Annotated[str, about("PEM file of the certificate's private key.")] = ""
    header_timeout: Annotated[float, about("How long a client may take to send the header.", unit="seconds", gt=0)] = 10.0
    header_bytes: Annotated[int, about("Largest header of a request.", unit="bytes", ge=1024)] = 64 * 2**10
    keep_alive: Annotated[int, about("How long an idle connection stays open.", unit="seconds", ge=1)] = 75
    connections: Annotated[int, about("Connections that one address may have open.", ge=1)] = 100
    loopback_connections: Annotated[int, about("The same for this machine, where a proxy may stand.", ge=1)] = 2000
    stop_timeout: Annotated[
        float, about("How long requests may still take when the server stops.", unit="seconds", gt=0)
    ] = 5.0
    max_artifact: Annotated[int, about("Largest artifact that a worker elsewhere may upload.", unit="bytes", ge=1024)] = (
        4 * 2**30
    )
    sync_timeout: Annotated[
        float, about("How long a synchronous execution is waited for before it goes on as a job.", unit="seconds", gt=0)
    ] = 600.0
    base_url: Annotated[
        str, about("The server's address as clients see it, behind a proxy that changes it.", pattern="^(https?://.+)?$")
    ] = ""


class Longpost(Section, frozen=True):
    """The LONGPOST frontend."""

    chunk: Annotated[int, about("Characters of a result's JSON text above which it is sent in parts, as cargo.", ge=16)] = (
        10 * 2**20
    )
    result_ttl: Annotated[float, about("How long a result waits for its client after completion.", unit="seconds", gt=0)] = (
        120.0
    )
    cargo_ttl: Annotated[float, about("How long the parts of a large result wait to be read.", unit="seconds", gt=0)] = 600.0
    grace: Annotated[float, about("How long a start waits for a quick result.", unit="seconds", ge=0, le=10)] = 0.05
    public: Annotated[bool, about("Let anybody start jobs of any kind over LONGPOST without an API key.")] = False
    origins: Annotated[tuple[str, ...], about('Origins of web pages that may call (CORS), "*" for all.')] = ()
    misses_per_minute: Annotated[int, about("Unknown tokens an address may ask for in a minute before 429.", ge=1)] = 10
    breaker: Annotated[
        float, about("Unknown tokens a second, of all addresses together, above which all unknown callers get 429.", gt=0)
    ] = 10.0


class Store(Section, frozen=True):
    """Where jobs are kept."""

    url: Annotated[str, about("sqlite:PATH, or memory: (lost at exit). Empty: crossdock.db in the data directory.")] = ""
    synchronous: Annotated[
        Literal["FULL", "NORMAL"],
        about("FULL: a job that was answered survives a power cut. NORMAL: faster, it survives a killed process only."),
    ] = "FULL"


class Artifacts(Section, frozen=True):
    """Where large payloads and results are kept."""

    url: Annotated[str, about("file:PATH. Empty: the directory artifacts in the data directory.")] = ""


Scope = Literal["submit", "read-own", "read-all", "work", "admin"]


class Key(Section, frozen=True):
    """An API key; `crossdock key NAME` makes one."""

    name: Annotated[str, about("What the key is called in logs.", min_length=1)]
    sha256: Annotated[
        str, about("SHA-256 of the key's text, as 64 hexadecimal digits.", secret=True, pattern="^[0-9a-f]{64}$")
    ]
    scopes: Annotated[tuple[Scope, ...], about("What the key may do.")] = ("submit", "read-own")
    tenant: Annotated[str, about("The tenant its jobs belong to. Empty: the key's name.")] = ""


class Security(Section, frozen=True):
    """Who may do what."""

    keys: Annotated[tuple[Key, ...], about("API keys. Without any, the server stays on loopback and asks for none.")] = ()
    allow_urls: Annotated[
        tuple[str, ...], about("URL prefixes in private networks that callbacks may go to; public ones need none.")
    ] = ()


class Tenants(Section, frozen=True):
    """Fairness between tenants."""

    weights: Annotated[
        dict[str, Annotated[int, about("Share of the tenant within a priority.", ge=1, le=1000)]],
        about("Share of each tenant within a priority; 1 if not named."),
    ] = field(default_factory=dict[str, int])


class Worker(Section, frozen=True):
    """The worker inside the server, and `crossdock worker`."""

    slots: Annotated[int, about("Jobs that run at once. 0: as many as there are processors.", ge=0)] = 0
    hwgroup: Annotated[str, about("Hardware group, for jobs that require one.")] = ""
    capabilities: Annotated[dict[str, tuple[str, ...]], about('What else jobs may require, as in {gpu = ["a100"]}.')] = (
        field(default_factory=dict[str, tuple[str, ...]])
    )
    memory: Annotated[
        int, about("Memory of a child process, for kinds that say nothing. 0: no limit.", unit="bytes", ge=0)
    ] = 0
    recycle_after: Annotated[int, about("Jobs after which a child process is replaced. 0: never.", ge=0)] = 1000
    recycle_memory: Annotated[
        int, about("Resident memory above which an idle child process is replaced. 0: never.", unit="bytes", ge=0)
    ] = 2**30


class Retention(Section, frozen=True):
    """Deleting finished jobs; how long each is kept is a matter of its kind."""

    interval: Annotated[float, about("Pause between two sweeps.", unit="seconds", gt=0)] = 60.0


class LongpostBackend(Section, frozen=True):
    """A remote LONGPOST endpoint as a worker."""

    url: Annotated[str, about("The endpoint's address.", pattern="^https?://.+")]
    kinds: Annotated[tuple[str, ...], about("Kinds it runs. Empty: the backend's name.")] = ()
    slots: Annotated[int, about("Jobs it is given at once.", ge=1)] = 4
    headers: Annotated[dict[str, str], about("HTTP headers to send along, like Authorization.", secret=True)] = field(
        default_factory=dict[str, str]
    )
    poll_first: Annotated[float, about("First pause between two polls.", unit="seconds", gt=0)] = 0.5
    poll_factor: Annotated[float, about("Each pause is at least the last one times this.", ge=1)] = 1.01
    poll_step: Annotated[float, about("And at least the last one plus this.", unit="seconds", ge=0)] = 0.01
    poll_max: Annotated[float, about("The longest pause.", unit="seconds", gt=0)] = 60.0
    max_result: Annotated[int, about("Largest result that is read, as it comes.", unit="bytes", ge=1024)] = 256 * 2**20


class Backends(Section, frozen=True):
    """Workers that speak other protocols."""

    longpost: Annotated[dict[str, LongpostBackend], about("LONGPOST endpoints, by name.")] = field(
        default_factory=dict[str, LongpostBackend]
    )
    jsonbus: Annotated[dict[str, JsonbusBackend], about("Workers on [jsonbus]'s RabbitMQ, by name.")] = field(
        default_factory=dict[str, JsonbusBackend]
    )


class Log(Section, frozen=True):
    """What the server says on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], about("The least important messages to print.")] = "info"
    format: Annotated[Literal["text", "json"], about("text for people, json for machines: one object a line.")] = "text"


class Config(Section, frozen=True):
    """The whole configuration."""

    data: Annotated[str, about("Directory of everything that has to survive: made if it is not there.")] = "./data"
    http: Http = Http()
    longpost: Longpost = Longpost()
    store: Store = Store()
    artifacts: Artifacts = Artifacts()
    security: Security = Security()
    tenants: Tenants = Tenants()
    worker: Worker = Worker()
    retention: Retention = Retention()
    backends: Backends = Backends()
    recodex: Recodex | None = None
    files: Files | None = None
    evaluation: Evaluation | None = None
    jsonbus: Jsonbus | None = None
    log: Log = Log()


LATER = {
    "cluster": "cluster",
    "backends.cluster": "cluster",
}
"""Tables that later releases bring, and with which protocol."""
