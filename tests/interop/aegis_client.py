"""An Aegis server as a child process, and its REST API. Standard library only; every route and field is named here."""

import base64
import contextlib
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request

HUMAN = "alice@org"
PASSPHRASE = "correct horse battery staple"
# Rules with which an agent whose scope names some sixty keys or labels must ask, whatever the key.
CAUTIOUS = "[budget]\nper_hour = 5\n\n[thresholds]\nstandard = { step_up = 0.08, deny = 2.0 }\n"
LISTENING = re.compile(r"^aegis listening on (http://127\.0\.0\.1:\d+)\s*$")
ENROLMENT = re.compile(r"^enrolment code: (\S+)\s*$")
# Seconds. A debug build derives its wrapping key from the passphrase first.
START_TIMEOUT = 60
CALL_TIMEOUT = 30
STOP_TIMEOUT = 30


class Refused(Exception):
    """An answer other than 2xx, with its problem+json body."""

    def __init__(self, status, problem):
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem


# A deployment that is there already, where the tests shall speak to one; and the session of a human who may do everything.
DEPLOYED = os.environ.get("AEGIS_URL")


class Aegis:
    """A fresh server with one enrolled human, from `start` to `stop`; or the deployment that is there. `settings` is TOML."""

    def __init__(self, settings=None):
        self.settings = settings
        self.child = None
        self.folder = None
        self.base = None
        self.token = None

    def start(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="aegis-interop-"))
        if DEPLOYED:
            self.base, self.token = DEPLOYED, os.environ["AEGIS_TEST_SESSION"]
            return
        try:
            code = self._spawn()
            self.call("POST", "/local/enroll", {"code": code, "human": HUMAN, "passphrase": PASSPHRASE})
            self.log_in()
        except BaseException:
            self.stop()
            raise

    def start_without_login(self):
        """Starts a server on which nobody is enrolled. The answer is the enrolment code."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="aegis-interop-"))
        try:
            return self._spawn()
        except BaseException:
            self.stop()
            raise

    def restart(self, *arguments, meanwhile=lambda: None):
        """Stops the child, and starts another one on the same data."""
        self._end_child()
        meanwhile()
        self.base = None
        return self._spawn(*arguments)

    def restart_with_rules(self, toml):
        """Starts the server again with other response rules, written into its store: one human alone may not loosen them."""
        document = {"version": 1, "toml": toml, "created_at": "2026-01-01T00:00:00Z", "created_by": HUMAN}

        def write():
            store = sqlite3.connect(self.folder / "data" / "store.sqlite")
            with contextlib.closing(store), store:
                insert = "INSERT INTO state (partition, sort, revision, body) VALUES ('rules', '000001', 1, ?)"
                store.execute(insert, [json.dumps(document)])
                version = "json_set(body, '$.rules_version', 1)"
                store.execute(f"UPDATE state SET revision = revision + 1, body = {version} WHERE partition = 'deployment'")

        self.restart(meanwhile=write)

    def start_cautious(self):
        """Starts a server on which agents of `issue_asking_agent` must ask."""
        self.start()
        self.restart_with_rules(CAUTIOUS)
        self.log_in()

    def enrol_second(self, human):
        """Starts the server again, and lets somebody else enrol, with every role and the same passphrase."""
        code = self.restart("--enrol-admin")
        self.call("POST", "/local/enroll", {"code": code, "human": human, "passphrase": PASSPHRASE})

    def stop(self):
        """Ends the child by its id, and waits for it. The answer is its exit code."""
        code = self._end_child()
        shutil.rmtree(self.folder, ignore_errors=True)
        return code

    def _end_child(self):
        code = None
        if self.child is not None:
            if self.child.poll() is None:
                self.child.send_signal(signal.SIGTERM)
            try:
                code = self.child.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.child.kill()
                code = self.child.wait()
        return code

    # Logins.

    def id_token(self, human=HUMAN):
        """As the local issuer makes it. It can be exchanged once."""
        return self.call("POST", "/local/token", {"human": human, "passphrase": PASSPHRASE})["id_token"]

    def log_in(self, human=HUMAN):
        self.token = None
        exchange = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": self.id_token(human),
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        }
        self.token = self.call("POST", "/v1/oauth/token", form=exchange)["access_token"]

    def log_in_to_approve(self):
        """A client that may give one answer to one approval."""
        answering = Aegis()
        answering.base = self.base
        exchange = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": self.id_token(),
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "scope": "approve",
        }
        answering.token = self.call("POST", "/v1/oauth/token", form=exchange)["access_token"]
        return answering

    # Agents.

    def issue_asking_agent(self, key):
        """With the rules `CAUTIOUS`, one that must ask before it signs with the key: its id and a token."""
        labels = [",".join(f"label-{number}=1" for number in half) for half in (range(31), range(31, 62))]
        issued = {"label": "payments", "scope": f"key:{key},{labels[0]}:sign key:{labels[1]}:sign"}
        agent = self.call("POST", "/v1/agents", issued)["id"]
        return agent, self.call("POST", f"/v1/agents/{agent}/credentials", {})["token"]

    # Keys.

    def create_key(self, name, algorithm):
        try:
            return self.call("POST", "/v1/keys", {"name": name, "algorithm": algorithm, "activate": True})
        except Refused as refused:
            # On a deployment an earlier test made it.
            if not DEPLOYED or refused.status != 409:
                raise
            return self.call("GET", key_path(name))

    def public_key(self, key):
        """DER (SubjectPublicKeyInfo) and PEM."""
        answer = self.call("GET", f"{key_path(key)}/public-key")
        return unbase64(answer["public_key"]), answer["pem"]

    def sign(self, key, message, message_type="raw"):
        """The signature, with the id and version of the key that made it."""
        body = {"message": base64_text(message), "message_type": message_type}
        answer = self.call("POST", f"{key_path(key)}/sign", body)
        return unbase64(answer["signature"]), answer["key_id"], answer["key_version"]

    def verify(self, key, message, signature):
        body = {"message": base64_text(message), "signature": base64_text(signature)}
        return self.call("POST", f"{key_path(key)}/verify", body)["valid"]

    # Transport.

    def call(self, method, path, body=None, form=None):
        """The JSON answer. Raises `Refused`."""
        headers, data = {"Accept": "application/json"}, None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            data = urllib.parse.urlencode(form).encode()
        elif body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.base + path, data=data, headers=headers, method=method)
        try:
            # No proxy from the environment: the server is on this machine.
            with DIRECT.open(request, timeout=CALL_TIMEOUT) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None

    # Starting.

    def _spawn(self, *arguments):
        """Starts the child; the answer is its enrolment code, if it has one."""
        passphrase_file = self.folder / "passphrase"
        passphrase_file.touch(mode=0o600)
        passphrase_file.write_text(PASSPHRASE + "\n")
        command = [os.environ["AEGIS_BIN"], "serve", "--data", str(self.folder / "data"), "--listen", "127.0.0.1:0"]
        command += ["--passphrase-file", str(passphrase_file), *arguments]
        if self.settings:
            (self.folder / "aegis.toml").write_text(self.settings)
            command += ["--config", str(self.folder / "aegis.toml")]
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        lines = queue.Queue()
        threading.Thread(target=_pump, args=(self.child.stdout, lines), daemon=True).start()
        code, seen = None, []
        # The address comes last.
        while self.base is None:
            try:
                line = lines.get(timeout=START_TIMEOUT)
            except queue.Empty:
                raise RuntimeError(f"aegis did not start within {START_TIMEOUT} s; it said {seen}") from None
            if line is None:
                raise RuntimeError(f"aegis ended with {self.child.wait(STOP_TIMEOUT)}; it said {seen}")
            seen.append(line)
            if found := LISTENING.match(line):
                self.base = found[1]
            elif found := ENROLMENT.match(line):
                code = found[1]
        return code



DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _pump(stream, lines):
    """Reads on for as long as the child lives, so that it never blocks on a full pipe; then `None`."""
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def key_path(key):
    return f"/v1/keys/{urllib.parse.quote(key, safe='')}"


def base64_text(data):
    return base64.b64encode(data).decode()


def unbase64(text):
    return base64.b64decode(text, validate=True)
