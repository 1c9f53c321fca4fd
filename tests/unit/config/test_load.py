"""Loading the configuration: what wins, and the text of every error."""

from pathlib import Path

import pytest

from crossdock.config import Config, ConfigError, load


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "c.toml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return Path(name)

    return write


def problems(file: Path | None = None, options=(), environ=None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, options, environ or {})
    return str(caught.value).splitlines()


def test_without_a_file_everything_has_its_default(write):
    assert load(environ={}) == Config()


def test_the_file_in_the_directory_is_found(write):
    write("[http]\nlisten = '127.0.0.1:9'", "crossdock.toml")
    assert load(environ={}).http.listen == "127.0.0.1:9"


def test_the_environment_may_name_the_file(write):
    file = write("data = 'there'")
    assert load(environ={"CROSSDOCK_CONFIG": str(file)}).data == "there"


def test_options_win_over_the_environment_which_wins_over_the_file(write):
    file = write("data = 'file'\n[http]\nlisten = '127.0.0.1:1'\nmax_body = 2000\n[log]\nlevel = 'debug'")
    environ = {"CROSSDOCK_HTTP__LISTEN": "127.0.0.1:2", "CROSSDOCK_LOG__LEVEL": "error"}
    config = load(file, ["http.listen=127.0.0.1:3"], environ)
    assert (config.data, config.http.listen, config.http.max_body) == ("file", "127.0.0.1:3", 2000)
    assert config.log.level == "error"


@pytest.mark.parametrize(
    ("option", "read", "expected"),
    [
        ("http.max_body=9 MiB", lambda c: c.http.max_body, 9 * 2**20),
        ("http.max_body=5000", lambda c: c.http.max_body, 5000),
        ("retention.interval=10 min", lambda c: c.retention.interval, 600.0),
        ("retention.interval=0.5", lambda c: c.retention.interval, 0.5),
        ("longpost.public=true", lambda c: c.longpost.public, True),
        (
            "longpost.origins=https://a.example, https://b.example",
            lambda c: c.longpost.origins,
            ("https://a.example", "https://b.example"),
        ),
        ('longpost.origins=["*"]', lambda c: c.longpost.origins, ("*",)),
        ("tenants.weights.alice=3", lambda c: c.tenants.weights, {"alice": 3}),
        ("data=a directory", lambda c: c.data, "a directory"),
        ("data=2024", lambda c: c.data, "2024"),
        ("backends.longpost.f.url=http://h/f", lambda c: c.backends.longpost["f"].url, "http://h/f"),
    ],
)
def test_a_text_is_read_as_its_key_wants_it(write, option, read, expected):
    assert read(load(None, [option], {})) == expected


def test_other_variables_of_the_environment_are_not_ours(write):
    """Kubernetes sets such for every service of the name, and the client has its own two."""
    environ = {"CROSSDOCK_PORT_8080_TCP": "tcp://1.2.3.4", "CROSSDOCK_SERVICE_HOST": "x", "CROSSDOCK_SERVER": "http://x"}
    assert load(environ=environ) == Config()


ERRORS = {
    "dat = 'x'": "c.toml:1: dat: unknown key, did you mean data?",
    "\n[http]\nlistn = 'x'": "c.toml:3: http.listn: unknown key, did you mean http.listen?",
    "[log]\nzzzz = 1": "c.toml:2: log.zzzz: unknown key, known here: level, format",
    "http = 3": "c.toml:1: http: expected a table, got 3",
    "[http]\nmax_body = 'much'": (
        "c.toml:2: http.max_body: expected a number of bytes or a text like \"32 MiB\", got 'much'"
        " (Largest body of a request)"
    ),
    "[http]\nmax_body = 1": "c.toml:2: http.max_body: expected integer >= 1024, got 1 (Largest body of a request)",
    "[http]\nkeep_alive = '3 weeks'": (
        "c.toml:2: http.keep_alive: expected a number of seconds or a text like \"10 min\", got '3 weeks'"
        " (How long an idle connection stays open)"
    ),
    "[longpost]\npublic = 1": (
        "c.toml:2: longpost.public: expected true or false, got 1"
        " (Let anybody start jobs of any kind over LONGPOST without an API key)"
    ),
    "[log]\nlevel = 'warn'": (
        "c.toml:2: log.level: expected one of debug, info, warning, error, got 'warn', did you mean warning?"
        " (The least important messages to print)"
    ),
    "[tenants]\nweights = { a = 0 }": (
        "c.toml:2: tenants.weights.a: expected integer >= 1, got 0 (Share of the tenant within a priority)"
    ),
    "[tenants]\nweights = 4": "c.toml:2: tenants.weights: expected a table, got 4",
    "security.keys = 4": "c.toml:1: security.keys: expected a list of tables ([[security.keys]]), got 4",
    "[[security.keys]]\nname = 'a'": (
        "c.toml:1: security.keys.0: the key sha256 is missing: SHA-256 of the key's text, as 64 hexadecimal digits"
    ),
    "[[security.keys]]\nname = 'a'\nsha256 = 'the-key-itself'": (
        "c.toml:3: security.keys.0.sha256: expected text matching regex '^[0-9a-f]{64}$', got something else"
        " (SHA-256 of the key's text, as 64 hexadecimal digits)"
    ),
    "[backends]\nlongpost = 1": "c.toml:2: backends.longpost: expected a table, got 1",
    "[backends.longpost.f]\nslots = 2": "c.toml:1: backends.longpost.f: the key url is missing: The endpoint's address",
    "[backends.longpost.f]\nurl = 'http://h'\npoll_first = 90": (
        "c.toml:3: backends.longpost.f: poll_first is longer than poll_max"
    ),
    "[recodex]\nworkers = 'tcp://0.0.0.0:9657'": "c.toml:2: recodex.workers: beyond this machine the door needs CURVE "
    "(secret_key and client_keys), or insecure = true",
    "[recodex]\nsecret_key = 'k'": "c.toml:2: recodex.secret_key: secret_key and client_keys are needed together: "
    "without the list anybody could come in",
    "http.listen = '0.0.0.0:80'\n[files]": "c.toml:2: files.password: beyond this machine the file server needs a "
    "username and a password",
    "[recodex]\nmonitor = 'here'": "c.toml:2: recodex.monitor: expected HOST:PORT, got 'here'",
    "[recodex.notifier]": "c.toml:1: recodex.notifier: the key url is missing: Base address of the calls, "
    "as https://host/api/v1/broker-reports",
    "[cluster]": "c.toml:1: cluster: [cluster] comes with the cluster release; this one does not have it yet",
    "[backends.cluster.b]": (
        "c.toml:1: backends.cluster: [backends.cluster] comes with the cluster release; this one does not have it yet"
    ),
    "[jsonbus]\nurl = 'http://h'": "c.toml:2: jsonbus.url: expected text matching regex '^amqps?://.+', got something else"
    " (The RabbitMQ broker; amqps:// for TLS)",
    "[backends.jsonbus.b]": (
        "c.toml:1: backends.jsonbus: these workers are on the RabbitMQ of the table [jsonbus], which is missing"
    ),
    "[jsonbus]\n[backends.longpost.a]\nurl = 'http://h'\n[backends.jsonbus.b]\nkinds = ['a']": (
        "c.toml:5: backends.jsonbus.b: the kind 'a' is also one of backends.longpost.a; a kind has one backend"
    ),
    "[http]\nlisten = '8080'": "c.toml:2: http.listen: expected HOST:PORT, got '8080'",
    "[http]\nlisten = '127.0.0.1:70000'": "c.toml:2: http.listen: expected HOST:PORT, got '127.0.0.1:70000'",
    "[http]\ncertificate = 'x'": "c.toml:1: http: certificate and private_key are needed together",
    "[store]\nurl = 'postgresql://h/d'": (
        "c.toml:2: store.url: PostgreSQL comes with a later release; leave the key out for SQLite in the data directory"
    ),
    "[store]\nurl = 'mysql://h/d'": "c.toml:2: store.url: expected sqlite:PATH or memory:, got 'mysql://h/d'",
    "[artifacts]\nurl = 's3://b'": (
        "c.toml:2: artifacts.url: S3 comes with a later release; leave the key out for files in the data directory"
    ),
    "[artifacts]\nurl = 'ftp://b'": "c.toml:2: artifacts.url: expected file:PATH, got 'ftp://b'",
    "[backends.longpost.a]\nurl = 'http://h'\n[backends.longpost.b]\nurl = 'http://h'\nkinds = ['a']": (
        "c.toml:5: backends.longpost.b: the kind 'a' is also one of backends.longpost.a; a kind has one backend"
    ),
}


@pytest.mark.parametrize(("text", "expected"), ERRORS.items(), ids=lambda value: value.replace("\n", " ")[:30])
def test_each_error_says_where_it_is_and_what_would_be_right(write, text, expected):
    assert problems(write(text)) == [expected]


def test_two_keys_of_one_name_are_refused(write):
    key = f"[[security.keys]]\nname = 'a'\nsha256 = '{'0' * 64}'\n"
    assert problems(write(key * 2)) == ["c.toml:4: security.keys: the name 'a' is there twice"]


def test_all_problems_are_told_at_once(write):
    found = problems(write("dat = 1\n[http]\nlistn = 2"), ["http.max_body=x"], {"CROSSDOCK_LOG__FORMAT": "xml"})
    assert [line.split(":")[0] for line in found] == [
        "c.toml",
        "c.toml",
        "--set",
        "environment variable CROSSDOCK_LOG__FORMAT",
    ]


def test_a_missing_file_is_one_clear_line(write):
    assert problems(Path("none.toml")) == ["none.toml: cannot be read: No such file or directory"]


def test_broken_toml_says_where_it_breaks(write):
    (line,) = problems(write("[http\n"))
    assert line.startswith("c.toml: is not valid TOML: ")
    assert "line 1" in line


def test_an_option_without_a_value_is_refused(write):
    assert problems(options=["http.listen"]) == ["--set: expected SECTION.KEY=VALUE, got 'http.listen'"]


def test_a_table_in_the_environment_has_to_be_toml(write):
    (line,) = problems(environ={"CROSSDOCK_SECURITY__KEYS": "hello"})
    assert line == (
        "environment variable CROSSDOCK_SECURITY__KEYS: security.keys:"
        " expected a list of tables ([[security.keys]]), got 'hello'"
    )
