"""The policies that an operator is told: every queue that grows is in one of them, and no queue in two."""

import json
import re
import shlex

from crossdock.protocols.jsonbus.backend import backend_parts
from crossdock.protocols.jsonbus.frontend import node_parts
from crossdock.protocols.jsonbus.node_runner import ask_parts
from crossdock.protocols.jsonbus.options import AskOptions, BackendOptions, NodeOptions
from crossdock.protocols.jsonbus.policies import policies
from crossdock.protocols.jsonbus.topology import Queue

NODE = NodeOptions(node="images", request_key="php.requests")
FOREIGN = BackendOptions(name="scan", jobs_key="scan_jobs", results_key="scan_results")
OWN = BackendOptions(name="fast", jobs_key="fast_jobs", results_key="fast_results", foreign=False)


def told():
    """Return the pattern and the rules of each policy, by its name."""
    lines = [shlex.split(line) for line in policies(NODE, (FOREIGN, OWN), vhost="work") if not line.startswith("#")]
    assert all(words[:6] == ["rabbitmqctl", "set_policy", "-p", "work", "--apply-to", "queues"] for words in lines)
    return {words[6]: (re.compile(words[7]), json.loads(words[8])) for words in lines}


def test_every_queue_that_we_declare_is_in_one_policy():
    parts = [*node_parts(NODE), *ask_parts(AskOptions(node="images")), *backend_parts(FOREIGN), *backend_parts(OWN)]
    queues = {part.name for part in parts if isinstance(part, Queue)}
    assert len(queues) == 10
    for queue in queues:
        names = [name for name, (pattern, _) in told().items() if pattern.fullmatch(queue)]
        assert names == ["images-dead" if queue.endswith(".dead") else "images-own"]


def test_what_peers_in_php_declare_and_nobody_reads_stays_empty():
    pattern, rules = told()["images-php-copies"]
    assert rules["message-ttl"] == 0
    assert all(pattern.fullmatch(queue) for queue in ("php.requests", "images_notify", "scan_results"))
    # Workers of ours declare no queue for what they publish, and a dot stands for itself.
    assert not any(pattern.fullmatch(queue) for queue in ("fast_results", "scan_jobs", "php_requests", "web-1_notify"))
