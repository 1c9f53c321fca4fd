"""A small ReCodEx installation in threads: what a broker, a file server and a monitor say is up to the test."""

import email
import email.policy
import json
import queue
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import zmq
from websockets.sync.server import serve

PATIENCE = 20


class Broker(threading.Thread):
    """A ROUTER that answers each message with what ``replies`` has next; a tuple goes to whoever asked before."""

    def __init__(self):
        super().__init__(daemon=True)
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.replies = queue.Queue()
        self.heard = queue.Queue()
        self._ending = threading.Event()

    def run(self):
        before = b""
        while not self._ending.is_set():
            if not self.socket.poll(20):
                continue
            peer, *frames = self.socket.recv_multipart()
            self.heard.put(frames)
            for reply in self.replies.get(timeout=PATIENCE):
                self.socket.send_multipart([before if isinstance(reply, tuple) else peer, *reply])
            before = peer

    def close(self):
        self._ending.set()
        self.join(PATIENCE)
        self.socket.close()
        self.context.term()


class Files:
    """The older file server, as far as a client sees it. ``results`` are bodies by path, ``credentials`` what is wanted."""

    def __init__(self):
        self.posted = {}
        self.results = {}
        self.encoding = ""
        self.credentials = None
        self.asked = 0
        files = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                if self.command == "GET" and files.encoding:
                    self.send_header("content-encoding", files.encoding)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if files.credentials not in (None, self.headers.get("authorization")):
                    return self.answer(401, b"")
                head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
                form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
                job = self.path.removeprefix("/submissions/")
                files.posted[job] = {
                    part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                    for part in form.iter_parts()
                }
                paths = {"archive_path": f"/submission_archives/{job}.zip", "result_path": f"/results/{job}.zip"}
                return self.answer(200, json.dumps(paths).encode())

            def do_GET(self):
                files.asked += 1
                body = files.results.get(self.path)
                self.answer(404 if body is None else 200, body or b"")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(PATIENCE)


class Monitor:
    """Plays one of ``scripts`` on each connection: texts to send, or None to be silent until the client goes."""

    def __init__(self):
        self.scripts = queue.Queue()
        self.asked = queue.Queue()
        self.server = serve(self._play, "127.0.0.1", 0, close_timeout=0.5)
        self.port = self.server.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def _play(self, connection):
        self.asked.put(connection.recv(timeout=PATIENCE))
        for text in self.scripts.get(timeout=PATIENCE):
            if text is None:
                for _ in connection:
                    pass
                return
            connection.send(text)

    def close(self):
        self.server.shutdown()
        self.thread.join(PATIENCE)


class Installation:
    """All three."""

    def __init__(self):
        with ExitStack() as stack:
            self.broker = Broker()
            stack.callback(self.broker.close)
            self.broker.start()
            self.files = Files()
            stack.callback(self.files.close)
            self.monitor = Monitor()
            stack.callback(self.monitor.close)
            self._stack = stack.pop_all()

    @property
    def url(self):
        return (
            f"recodex+tcp://127.0.0.1:{self.broker.port}?files=http://127.0.0.1:{self.files.port}"
            f"&monitor=ws://127.0.0.1:{self.monitor.port}"
        )

    def close(self):
        self._stack.close()
