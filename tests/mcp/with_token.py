"""A proxy between a client and a server, for what neither of them does by itself. All else, it hands on as it came."""

import contextlib
import http.client
import http.server
import threading
import urllib.parse

# What belongs to one connection.
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Proxy:
    """From `start` to `stop`; `base` is where clients reach the server. With a token it is sent in place of theirs, and an
    answer's body is what `alter` makes of it, by its path."""

    def __init__(self, base, token=None, alter=lambda _, answer: answer):
        onto = urllib.parse.urlsplit(base)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with contextlib.closing(http.client.HTTPConnection(onto.netloc, timeout=60)) as onward:
                    self.exchange(onward, body)

            def exchange(self, onward, body):
                onward.putrequest(self.command, onto.path + self.path, skip_host=True, skip_accept_encoding=True)
                left_out = OF_THE_CONNECTION | ({"authorization"} if token else set())
                for name, value in self.headers.items():
                    if name.lower() not in left_out:
                        onward.putheader(name, value)
                if token:
                    onward.putheader("Authorization", f"Bearer {token}")
                onward.putheader("Content-Length", str(len(body)))
                onward.endheaders(body)
                answer = onward.getresponse()
                text = alter(self.path, answer.read())
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in OF_THE_CONNECTION:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = do_OPTIONS = pass_on

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A client that leaves early is none of the proxy's business."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"

    def start(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class WithToken(Proxy):
    """For clients that send no token: it adds an agent's. `url` is where they reach `/mcp`."""

    def __init__(self, base, token):
        super().__init__(base, token)
        self.url = f"{self.base}/mcp"
