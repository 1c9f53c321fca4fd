"""The tables about ReCodEx: its doors, the files they speak of, and the evaluation of submitted programs."""

from typing import Annotated, Literal

from msgspec import field

from crossdock.config.section import Section, about

_TCP = r"^tcp://(\[[0-9A-Fa-f:]+\]|[^:/\s]+):[0-9]+$"


class Notifier(Section, frozen=True):
    """Where the web application hears how jobs ended."""

    url: Annotated[str, about("Base address of the calls, as https://host/api/v1/broker-reports.", pattern="^https?://.+")]
    username: Annotated[str, about("Name for Basic authentication. Empty: none.")] = ""
    password: Annotated[str, about("Password for Basic authentication.", secret=True)] = ""


class Recodex(Section, frozen=True):
    """The ReCodEx broker. The table opens its doors, even if it is empty."""

    clients: Annotated[str, about("Where clients submit. Port 0 takes a free one.", pattern=_TCP)] = "tcp://127.0.0.1:9658"
    workers: Annotated[str, about("Where ReCodEx workers attach, ours and others.", pattern=_TCP)] = "tcp://127.0.0.1:9657"
    monitor: Annotated[str, about("HOST:PORT of the WebSocket that shows progress to browsers. Empty: none.")] = (
        "127.0.0.1:4567"
    )
    feed: Annotated[str, about("Address of another monitor that is fed over ZeroMQ. Empty: none.", pattern=f"^$|{_TCP}")] = (
        ""
    )
    notifier: Notifier | None = None
    no_worker: Annotated[
        Literal["reject", "queue"], about("What becomes of a job for which no capable worker is attached.")
    ] = "reject"
    unroutable_timeout: Annotated[
        float, about("How long an accepted job waits while no capable worker is attached.", unit="seconds", gt=0)
    ] = 600.0
    max_failures: Annotated[int, about("Attempts of an evaluation before it has failed.", ge=1)] = 3
    ping_interval: Annotated[float, about("Pause between two pings of a worker.", unit="seconds", gt=0)] = 1.0
    max_liveness: Annotated[int, about("Silent ping intervals after which a worker is gone.", ge=1)] = 4
    secret_key: Annotated[str, about("File of the CURVE secret key of both ZeroMQ doors. Empty: no encryption.")] = ""
    client_keys: Annotated[str, about("Directory of the CURVE public keys that may come in; needed with secret_key.")] = ""
    insecure: Annotated[bool, about("Open the ZeroMQ doors beyond this machine without CURVE.")] = False


class Files(Section, frozen=True):
    """The file server that ReCodEx workers get submissions from and put results to, on the HTTP port."""

    username: Annotated[str, about("Name for Basic authentication. Empty: none is asked for.")] = ""
    password: Annotated[str, about("Password for Basic authentication.", secret=True)] = ""
    max_size: Annotated[int, about("Largest file.", unit="bytes", ge=1024)] = 256 * 2**20
    keep: Annotated[float, about("How long submissions and results stay.", unit="seconds", gt=0)] = 7 * 86400.0
    keep_exercises: Annotated[float, about("How long an exercise file stays after its last use.", unit="seconds", gt=0)] = (
        365 * 86400.0
    )
    layout: Annotated[
        Literal["root", "directory"],
        about("Where the files are in archives made of forms; workers before 2020 want the directory."),
    ] = "root"


class FileManager(Section, frozen=True):
    """Credentials for a file server."""

    url: Annotated[str, about("Beginning of the addresses they are for.", pattern="^https?://.+")]
    username: Annotated[str, about("Name for Basic authentication.")] = ""
    password: Annotated[str, about("Password for Basic authentication.", secret=True)] = ""


class Evaluation(Section, frozen=True):
    """The evaluation of submitted programs. In a server the table makes it one of its kinds, even if it is empty."""

    directory: Annotated[str, about("Where submissions are unpacked and run. Empty: evaluation in the data directory.")] = ""
    min_tier: Annotated[
        int, about("The weakest sandbox that will do: 1 is the strongest, 4 for trusted jobs.", ge=1, le=4)
    ] = 2
    slots: Annotated[int, about("Programs that run at once. 0: one for each two processors.", ge=0)] = 0
    time: Annotated[float, about("Largest CPU time of a task.", unit="seconds", gt=0)] = 60.0
    wall_time: Annotated[float, about("Largest duration of a task.", unit="seconds", gt=0)] = 180.0
    extra_time: Annotated[float, about("How long a task may exceed its time before it is killed.", unit="seconds", ge=0)] = (
        1.0
    )
    memory: Annotated[int, about("Largest memory of a task.", unit="bytes", ge=2**20)] = 2**30
    stack: Annotated[int, about("Largest stack of a process. 0: no limit of its own.", unit="bytes", ge=0)] = 0
    processes: Annotated[int, about("Largest number of processes. 0: no limit of its own.", ge=0)] = 64
    disk: Annotated[int, about("Bytes that a task may leave.", unit="bytes", ge=2**20)] = 2**30
    disk_files: Annotated[int, about("Files that a task may leave.", ge=16)] = 20_000
    max_output: Annotated[int, about("Bytes of a task's output that go into the results.", unit="bytes", ge=0)] = 2**16
    max_carboncopy: Annotated[int, about("Bytes of a task's output that are copied to a file.", unit="bytes", ge=0)] = 2**20
    max_archive: Annotated[int, about("Largest submission, unpacked.", unit="bytes", ge=1024)] = 64 * 2**20
    no_locks: Annotated[bool, about("Forbid file locks, which could carry a message between two programs.")] = False
    network: Annotated[bool, about("Let tasks of type initiation (compiling) reach the network of this machine.")] = False
    cleanup: Annotated[bool, about("Delete a job's directory at its end.")] = True
    cache: Annotated[int, about("Size that the cache of exercise files is kept below.", unit="bytes", ge=0)] = 2**30
    file_managers: Annotated[
        tuple[FileManager, ...], about("Credentials for file servers. Those of our own are known.")
    ] = ()
    environment: Annotated[dict[str, str], about("Environment variables of every program.")] = field(
        default_factory=dict[str, str]
    )
