"""quick_server from PyPI with the same kind, as a process of its own: ``python -m bench.quick_app PORT``."""

import sys

from quick_server import create_server


def main() -> None:
    """Serve until killed."""
    server = create_server(("127.0.0.1", int(sys.argv[1])))
    server.no_command_loop = True
    server.suppress_noise = True
    server.report_slow_requests = False
    server.json_worker("/longpost/empty")(lambda payload: payload)
    server.serve_forever()


if __name__ == "__main__":
    main()
