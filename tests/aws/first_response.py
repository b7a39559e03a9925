"""first_response.py ARTIFACTS: how long functions of the deployment take from their start as a process to their first answer, on
this machine, against the emulator. Reported, and held against nothing: AWS starts machines, too."""

import http.server
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

import boto3

TIMES = 5
REQUEST = {
    "methodArn": "arn:aws:execute-api:us-east-1:000000000000:api/live/POST/v1/keys/k/sign",
    "httpMethod": "POST",
    "path": "/v1/keys/k/sign",
    "headers": {},
    "requestContext": {"identity": {"sourceIp": "127.0.0.1"}},
}
# The function as Terraform names it, its program, and what it is called with.
FUNCTIONS = [
    ("authorizer", "authorizer", REQUEST),
    ("op-key-sign", "operation", REQUEST),
    ("mcp", "mcp", {**REQUEST, "path": "/mcp"}),
    ("publish", "publish", {"Records": []}),
    ("anomaly", "anomaly", {"Records": []}),
]


class Runtime(http.server.BaseHTTPRequestHandler):
    """What AWS is to a function: hands it one event, and hears the answer."""

    protocol_version = "HTTP/1.1"
    event, answered = None, None

    def do_GET(self):
        if Runtime.answered.is_set():
            time.sleep(60)
        body = json.dumps(Runtime.event).encode()
        self.send_response(200)
        for name, value in [
            ("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
            ("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 30_000)),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:f"),
            ("Content-Length", str(len(body))),
        ]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Runtime.answered.set()
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A function that was killed hangs up."""


def first_response(program, environment, event):
    Runtime.event, Runtime.answered = event, threading.Event()
    server = Server(("127.0.0.1", 0), Runtime)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {**environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}"}
    began = time.perf_counter()
    child = subprocess.Popen([program], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not Runtime.answered.wait(30):
            raise TimeoutError(program)
        return (time.perf_counter() - began) * 1000
    finally:
        child.kill()
        child.wait()
        server.shutdown()


def main(artifacts):
    with open(os.environ["AEGIS_DEPLOYMENT"], encoding="utf-8") as file:
        names = json.load(file)["function_names"]["value"]
    functions = boto3.client("lambda")
    with tempfile.TemporaryDirectory() as folder:
        for name, program, event in FUNCTIONS:
            with zipfile.ZipFile(pathlib.Path(artifacts) / f"{program}.zip") as zipped:
                bootstrap = zipped.extract("bootstrap", pathlib.Path(folder) / program)
            os.chmod(bootstrap, 0o700)
            settings = functions.get_function_configuration(FunctionName=names[name])["Environment"]["Variables"]
            environment = {
                **{key: value for key, value in os.environ.items() if key.startswith("AWS_")},
                **settings,
                "AWS_LAMBDA_FUNCTION_NAME": names[name],
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            }
            taken = [first_response(bootstrap, environment, event) for _ in range(TIMES)]
            print(f"{name}: {statistics.median(taken):.1f} ms from exec to first response (median of {TIMES})")


if __name__ == "__main__":
    main(sys.argv[1])
