"""A proxy that adds an agent's token to what passes: for clients that send none. All else, it hands on as it came."""

import contextlib
import http.client
import http.server
import threading
import urllib.parse

# What belongs to one connection.
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class WithToken:
    """From `start` to `stop`; `url` is where clients reach `/mcp` of the server at `base`."""

    def __init__(self, base, token):
        onto = urllib.parse.urlsplit(base)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with contextlib.closing(http.client.HTTPConnection(onto.netloc, timeout=60)) as onward:
                    self.exchange(onward, body)

            def exchange(self, onward, body):
                onward.putrequest(self.command, onto.path + self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in OF_THE_CONNECTION | {"authorization"}:
                        onward.putheader(name, value)
                onward.putheader("Authorization", f"Bearer {token}")
                onward.putheader("Content-Length", str(len(body)))
                onward.endheaders(body)
                answer = onward.getresponse()
                text = answer.read()
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
        self.url = f"http://127.0.0.1:{self.server.server_port}/mcp"

    def start(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
