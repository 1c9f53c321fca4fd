"""The tables about json-bus: the node, the other nodes that it asks, and workers behind a jobs queue."""

from typing import Annotated, Literal

from msgspec import field

from crossdock.config.section import Section, about

_AMQP = r"^amqps?://.+"
_NAME = r"^[A-Za-z0-9._:-]{1,200}$"


class JsonbusNode(Section, frozen=True):
    """Another node, which kinds may need data of."""

    request_key: Annotated[str, about("Routing key of its requests. Empty: its name with _request behind.")] = ""
    subject: Annotated[str, about("Subject of what it is asked. Empty: its name.")] = ""
    lists: Annotated[bool, about("Make objects with the names 0, 1, 2 … of its data the lists that PHP made them of.")] = (
        False
    )


class Jsonbus(Section, frozen=True):
    """A json-bus node on RabbitMQ. The table opens the door, even if it is empty."""

    url: Annotated[str, about("The RabbitMQ broker; amqps:// for TLS.", pattern=_AMQP, secret=True)] = (
        "amqp://guest:guest@127.0.0.1:5672/"
    )
    ca: Annotated[str, about("PEM file of who may sign the broker's certificate. Empty: the system's.")] = ""
    node: Annotated[str, about("This node's name, from which its queues have theirs.", pattern=_NAME)] = "crossdock"
    request_key: Annotated[str, about("Routing key that clients send requests under.", min_length=1, max_length=255)] = (
        "requests"
    )
    keep: Annotated[float, about("How long an answer is kept for those who ask again.", unit="seconds", gt=0)] = 86400.0
    inline: Annotated[int, about("Largest result that a notification carries itself.", unit="bytes", ge=0)] = 2**20
    lists: Annotated[
        tuple[str, ...], about("Subjects whose objects with the names 0, 1, 2 … become the lists that PHP made them of.")
    ] = ()
    prefetch: Annotated[int, about("Requests that may be on their way to the disk at once.", ge=1, le=65535)] = 200
    delivery_limit: Annotated[int, about("Deliveries after which a message that always fails is a dead letter.", ge=1)] = 10
    wait: Annotated[
        float, about("How long another node may take to answer; it is asked once more after that.", unit="seconds", gt=0)
    ] = 3600.0
    nodes: Annotated[
        dict[str, JsonbusNode], about("Other nodes, each a kind of job here. Those that kinds need are known without this.")
    ] = field(default_factory=dict[str, JsonbusNode])


class JsonbusBackend(Section, frozen=True):
    """Workers behind a jobs queue of json-bus."""

    kinds: Annotated[tuple[str, ...], about("Kinds they run. Empty: the backend's name.")] = ()
    jobs_key: Annotated[str, about("Routing key of jobs. Empty: the backend's name with _jobs behind.", max_length=255)] = ""
    results_key: Annotated[
        str, about("Routing key of results. Empty: the backend's name with _results behind.", max_length=255)
    ] = ""
    workers: Annotated[
        Literal["foreign", "own"],
        about("foreign: any, by the queue that the PHP library declares. own: `crossdock worker`, by a quorum queue."),
    ] = "foreign"
    message: Annotated[Literal["job", "task"], about("What they are sent.")] = "job"
    slots: Annotated[int, about("Jobs that they are given at once.", ge=1)] = 4
    lease: Annotated[float, about("How long a result may take before the job is sent again.", unit="seconds", gt=0)] = 600.0
    attempts: Annotated[int, about("How often a job is sent in all.", ge=1)] = 3
    lists: Annotated[bool, about("Make objects with the names 0, 1, 2 … of results the lists that PHP made them of.")] = (
        False
    )
