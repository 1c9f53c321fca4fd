"""Where the packages of the extra are not installed, every way to RabbitMQ says which one to install."""

import subprocess
import sys

import pytest

CLIENT = """
from crossdock.protocols.jsonbus.client import JsonbusClient
JsonbusClient("jsonbus+amqp://127.0.0.1:1/").request("any")
"""
WORKER = """
from crossdock.app import run_worker
from crossdock.config import load
from crossdock.core.requests import Capabilities
run_worker(load(None, []), "app.py:app", "jsonbus+amqp://127.0.0.1:1/", None, Capabilities(), 1, print)
"""
SUBMIT = """
sys.argv = ["crossdock", "submit", "any", "--wait", "--server", "jsonbus+amqp://127.0.0.1:1/"]
from crossdock.cli import main
main()
"""


@pytest.mark.parametrize("program", [CLIENT, WORKER, SUBMIT], ids=["client", "worker", "submit"])
def test_what_to_install_is_said(program: str):
    missing = "import sys\nsys.modules['aiormq'] = None\n"
    done = subprocess.run([sys.executable, "-c", missing + program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "needs more packages (aiormq): pip install 'crossdock[jsonbus]'" in done.stderr
