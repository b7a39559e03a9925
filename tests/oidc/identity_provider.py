"""The `oidc-provider` of npm as a child process, and a human with a browser. Standard library only."""

import html.parser
import http.cookiejar
import json
import os
import pathlib
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# Seconds.
CALL_TIMEOUT = 30
STOP_TIMEOUT = 30
# Login, consent and two pages of the code; more means that a form was not understood.
MOST_PAGES = 8


class IdentityProvider:
    """Listens on a free loopback port from `start` to `stop`."""

    def __init__(self):
        self.child = None
        self.issuer = None

    def start(self):
        script = pathlib.Path(__file__).with_name("provider.mjs")
        command = [os.environ["AEGIS_NODE"], str(script), os.environ["AEGIS_NODE_FOLDER"]]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, text=True)
        self.issuer = self._answer()["issuer"]

    def stop(self):
        """It ends once nobody speaks to it any more."""
        if self.child is None:
            return
        self.child.stdin.close()
        try:
            self.child.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()
        self.child = None

    def rotate(self, algorithm, named, codes=120, untold=False, back=None):
        """Other keys from now on; the present ones are withdrawn. `named`: whether the keys tell their algorithm.
        `codes`: how many seconds a device code lives. `untold`: whether it tells the time of a login only to who asks for
        its age. `back`: where it may lead a browser after a login."""
        command = {"rotate": algorithm, "alg": named, "codes": codes, "untold": untold}
        self.child.stdin.write(json.dumps(command | ({"back": back} if back else {})) + "\n")
        self.child.stdin.flush()
        return self._answer()

    def log_in(self, human, client="aegis", scope="openid groups email", **more):
        """The device flow (RFC 8628) to its end: the token endpoint's answer."""
        browser = Browser()
        asked = browser.json(f"{self.issuer}/device/auth", {"client_id": client, "scope": scope} | more)
        poll = {"grant_type": DEVICE_GRANT, "device_code": asked["device_code"], "client_id": client}
        status, pending = browser.try_json(f"{self.issuer}/token", poll)
        if (status, pending["error"]) != (400, "authorization_pending"):
            raise RuntimeError(f"answered before the human did: {status} {pending}")
        browser.approve(asked["verification_uri_complete"], {"login": human, "password": "any"})
        return browser.json(f"{self.issuer}/token", poll)

    def _answer(self):
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"the identity provider ended with {self.child.wait(STOP_TIMEOUT)}")
        return json.loads(line)


class Browser:
    """Follows redirects, keeps cookies, and fills in the forms it is shown."""

    def __init__(self):
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def deny(self, address, fields):
        """Says no where the page asks whether it is the human's own device."""
        page, address = self._open(address)
        form = Form(page)
        filled = form.hidden | {"abort": "yes"}
        page, _ = self._open(urllib.parse.urljoin(address, form.action), filled)
        if "Sign-in Success" in page:
            raise RuntimeError(f"the login was not denied: {page}")

    def approve(self, address, fields):
        page, address = self._open(address)
        for _ in range(MOST_PAGES):
            form = Form(page)
            if form.action is None:
                if "Sign-in Success" not in page:
                    raise RuntimeError(f"the login ended on another page: {page}")
                return
            filled = form.hidden | {name: fields[name] for name in form.asked}
            page, address = self._open(urllib.parse.urljoin(address, form.action), filled)
        raise RuntimeError(f"the login has no end: {page}")

    def json(self, address, form):
        status, answer = self.try_json(address, form)
        if status != 200:
            raise RuntimeError(f"{address}: {status} {answer}")
        return answer

    def try_json(self, address, form):
        try:
            return 200, json.loads(self._open(address, form)[0])
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def _open(self, address, form=None):
        data = None if form is None else urllib.parse.urlencode(form).encode()
        with self.opener.open(address, data, timeout=CALL_TIMEOUT) as response:
            return response.read().decode(), response.url


class Form(html.parser.HTMLParser):
    """The first form of a page: where it goes, what it brings along, what it asks for."""

    def __init__(self, page):
        super().__init__()
        self.action, self.hidden, self.asked, self.open = None, {}, [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form" and self.action is None:
            self.action, self.open = attributes["action"], True
        elif tag == "input" and self.open and attributes.get("type") == "hidden":
            self.hidden[attributes["name"]] = attributes.get("value", "")
        elif tag == "input" and self.open:
            self.asked.append(attributes["name"])

    def handle_endtag(self, tag):
        if tag == "form":
            self.open = False


def wait_until(what, condition, seconds):
    """Asks again and again, for as long as the fact may take by what is promised."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.5)
