"""The public server of the protocol, with workers like the kinds of the tests. Run as a program: PORT."""

import sys
import time

from quick_server import PreventDefaultResponse, create_server, is_worker_alive

stopped: list[object] = []


def slow(payload):
    ends = time.monotonic() + payload
    while time.monotonic() < ends:
        if not is_worker_alive():
            stopped.append(payload)
            return None
        time.sleep(0.01)
    return payload


def fail(payload):
    raise PreventDefaultResponse(*payload)


def boom(_):
    raise ValueError("secret of the implementation")


WORKERS = {
    "echo": lambda payload: payload,
    "slow": slow,
    "big": lambda payload: payload[0] * payload[1],
    "fail": fail,
    "boom": boom,
    "stopped": lambda _: len(stopped),
}


def main(port: int) -> None:
    server = create_server(("127.0.0.1", port), soft_worker_death=True)
    server.no_command_loop = True
    server.suppress_noise = True
    server.max_chunk_size = 100
    for name, worker in WORKERS.items():
        server.json_worker(f"/longpost/{name}")(worker)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
