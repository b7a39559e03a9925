"""What schemathesis cannot know of Aegis: who asks, and the names of things that exist.

Half of the calls that could be right are given existing things, in a state that allows what is asked: otherwise nearly
every answer would be a 404, and no reply would ever be compared with its schema.
"""

import atexit
import collections
import itertools
import json
import os
import pathlib
import time
import urllib.parse

import elsewhere
import schemathesis
from aegis_client import HUMAN, Aegis, Refused
from schemathesis.core.parameters import ParameterLocation

# Whether this run ends with its human stopped.
LAST = "AEGIS_LAST" in os.environ
AS_AGENT = os.environ["AEGIS_AS"] == "agent"
STICK = pathlib.Path(os.environ["AEGIS_STICK"])
# What an agent is granted on the shared keys.
SCOPE = (
    "key:{sign}:sign,verify key:{mac}:mac,verify-mac "
    "key:{aes}:encrypt,decrypt,re-encrypt,wrap,unwrap,generate-data-key"
)
SHARED = {"sign": "ECDSA-P256", "mac": "HMAC-SHA256", "aes": "AES-256-GCM"}
KEY_FOR = {"sign": "sign", "verify": "sign", "public-key": "sign", "mac": "mac", "verify-mac": "mac"}
USES = {"encrypt", "decrypt", "re-encrypt", "wrap", "unwrap", "generate-data-key", "seal", "open"} | set(KEY_FOR)
# What is said of a request whose form is wrong, whatever it asks.
UNREAD = ("invalid `body`", "invalid `query`", "invalid `scope`", "invalid `context`", "invalid `labels`")
# What is said of a name that no schema can know.
UNKNOWN = (
    *("invalid `backend`", "invalid `object`", "invalid `url`", "invalid `uses`", "invalid `wrapping_key_id`"),
    *("invalid `subject`", "invalid `action`", "invalid `resource`"),
)
# Paths that other methods take for the name of a key or an agent.
NAMES_TOO = ("/v1/agents/usage", "/v1/audit/redrive", "/v1/keys/import", "/v1/keys/import-parameters", "/v1/keys/register")
# Seconds, below the 300 for which a login is fresh.
FRESH = 200

human = Aegis()
human.base = os.environ["AEGIS_URL"]
human.log_in()
numbers = itertools.count(time.time_ns())
turns = collections.defaultdict(itertools.count)
succeeded = set()


def new_key(algorithm="AES-256-GCM", active=True):
    body = {"name": f"key-{next(numbers)}", "algorithm": algorithm, "activate": active}
    return human.call("POST", "/v1/keys", body)


def new_agent(scope=None, **more):
    body = {"label": "of the hooks", "scope": scope or f"key:{shared['sign']}:sign", **more}
    return human.call("POST", "/v1/agents", body)["id"]


def new_webhook():
    """One that nothing happens to, and that takes the place of none: there are at most 32."""
    for webhook in human.call("GET", "/v1/webhooks")["items"][20:]:
        human.call("DELETE", f"/v1/webhooks/{webhook['id']}")
    body = {"url": "https://receiver.invalid/", "events": [{"kind": "responses"}]}
    return human.call("POST", "/v1/webhooks", body)["id"]


def wished():
    """What an agent asked its human for: one to look at and one to answer, of ten that her agents may ask for in a day."""
    if not wishes:
        asking = Aegis()
        asking.base = human.base
        agent = new_agent(purpose="service")
        asking.token = new_token(agent)["token"]
        for number in range(2):
            wish = {"scope": f"key:wish-{number}=1:sign", "reason": "to be looked at"}
            wishes.append({"agent": agent, "access_request": asking.call("POST", "/v1/access-requests", wish)["id"]})
    return wishes[next(turns["wishes"]) % len(wishes)]


def new_token(agent):
    return human.call("POST", f"/v1/agents/{agent}/credentials", {})


class Asked:
    """What an agent asked for, one approval for each way to look at it or answer it, and the logins that answer."""

    def __init__(self):
        self.asked = {}
        self.logins = {}

    def get(self, verb):
        """The approval and its code."""
        if verb not in self.asked:
            agent = Aegis()
            agent.base = human.base
            labels = [",".join(f"label-{number}=1" for number in half) for half in (range(31), range(31, 62))]
            broad = f"key:{shared['sign']},{labels[0]}:sign key:{labels[1]}:sign"
            agent.token = new_token(new_agent(broad, purpose="service"))["token"]
            try:
                agent.call("POST", f"/v1/keys/{shared['sign']}/sign", {"message": ""})
            except Refused as refused:
                problem = json.loads(refused.problem)
                self.asked[verb] = (problem["approval"], problem["approval_code"])
        return self.asked[verb]

    def login(self, verb):
        """Of its own for each answer, until it has answered."""
        if verb not in self.logins:
            exchange = {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": human.id_token(),
                "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
                "scope": "approve",
            }
            self.logins[verb] = human.call("POST", "/v1/oauth/token", form=exchange)["access_token"]
        return self.logins[verb]


asked = Asked()
wishes = []


class Session:
    """A human's session, while her login is fresh; or an agent's token, while the agent may do anything."""

    def __init__(self):
        self.since = time.monotonic()
        self.agent = Aegis()
        self.agent.base = human.base

    def get(self, case, context):
        if time.monotonic() - self.since > FRESH:
            human.log_in()
            self.since = time.monotonic()
        if AS_AGENT:
            return self.agent_token()
        verb = case.path.rsplit("/", 1)[-1]
        answers = "{approval}" in case.operation.path and verb in ("approve", "deny")
        return asked.login(verb) if answers and case.operation.label not in succeeded else human.token

    def agent_token(self):
        try:
            # Leaving its scope has stopped it, perhaps.
            self.agent.call("GET", "/v1/whoami")
        except Refused:
            self.agent.token = new_token(new_agent(SCOPE.format(**shared), purpose="service", delegate=True, audit=True))["token"]
        return self.agent.token

    def set(self, case, token, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}


schemathesis.auth(refresh_interval=None)(Session)

shared = {kind: new_key(algorithm)["id"] for kind, algorithm in SHARED.items()}
# What every other call stands on. Replies name it, and schemathesis learns names from replies.
protected = {HUMAN, *shared.values(), *(human.call("GET", f"/v1/keys/{key}")["aliases"][0] for key in shared.values())}
record = human.call("GET", "/v1/audit")["items"][0]["id"]
ciphertext = human.call("POST", f"/v1/keys/{shared['aes']}/encrypt", {"plaintext": ""})["ciphertext"]
wrapped_key = human.call("POST", f"/v1/keys/{shared['aes']}/wrap", {"key_material": ""})["wrapped_key"]


def sealed():
    """An envelope: only agents seal, and any that may unwrap opens it."""
    sealing = Aegis()
    sealing.base = human.base
    sealing.token = new_token(new_agent(SCOPE.format(**shared), purpose="service"))["token"]
    return sealing.call("POST", f"/v1/agent-ai/keys/{shared['aes']}/seal", {"plaintext": ""})["sealed"]


envelope = sealed()


def new_recommendation():
    """What is said of an agent that left its scope, and was frozen for it."""
    rogue = Aegis()
    rogue.base = human.base
    rogue.token = new_token(new_agent(purpose="service"))["token"]
    try:
        rogue.call("GET", f"/v1/keys/{shared['aes']}")
    except Refused:
        return human.call("GET", "/v1/recommendations")["items"][0]["id"]


recommendation = new_recommendation()
# Of ten logins that the local issuer allows in a minute, to all runs together.
id_tokens = [human.id_token() for _ in range(0 if AS_AGENT or LAST else 3)]


def proposed():
    """The version of rules that somebody else proposed: they protect less than those in force."""
    other = Aegis()
    other.base = human.base
    other.log_in(os.environ["AEGIS_SECOND"])
    rules = other.call("GET", "/v1/response-rules")
    toml = rules["toml"].replace("per_hour = 5", "per_hour = 4")
    return other.call("PUT", "/v1/response-rules", {"toml": toml, "expected_version": rules["version"]})["version"]


proposal = 0 if AS_AGENT or LAST else proposed()


@schemathesis.hook
def before_call(context, case, kwargs):
    verb = case.path.rsplit("/", 1)[-1]
    harmless = case.method == "GET" or verb in USES or verb == "reinstate" or LAST
    for name, value in (case.path_parameters or {}).items():
        if not harmless and urllib.parse.unquote(str(value)) in protected:
            case.path_parameters = {**case.path_parameters, name: "nobody"}
    usual = case.meta is not None and case.method == case.operation.method.upper()
    if not usual or case.meta.is_negative_at(ParameterLocation.PATH) or next(turns[case.operation.label]) % 2:
        return
    known = existing(case.method, case.path, verb)
    if known:
        case.path_parameters = {**case.path_parameters, **known}
    if isinstance(case.body, dict) and not case.meta.is_negative_at(ParameterLocation.BODY):
        case.body = filled(case, verb)


def existing(method, path, verb):
    """Path parameters that name things which exist."""
    if "{key}" in path:
        return {"key": key_for(method, verb)}
    if "{access_request}" in path and not AS_AGENT:
        return wished()
    if "{actor}" in path:
        # An agent is told nothing of its own human's.
        return {"actor": os.environ["AEGIS_SECOND"] if AS_AGENT else new_agent()}
    if "{agent}" in path:
        return {"agent": new_agent()}
    if "{approval}" in path:
        return {"approval": asked.get(verb)[0]}
    if "{credential}" in path:
        return {"credential": new_token(new_agent())["id"]}
    if "{recommendation}" in path:
        # Whose agent nobody has freed yet.
        return {"recommendation": new_recommendation() if verb == "undo" else recommendation}
    if "{webhook}" in path:
        return {"webhook": new_webhook()}
    if "{alias}" in path and method == "DELETE":
        return {"alias": new_key()["aliases"][0]}
    if "{human}" in path and (verb in ("reinstate", "report") or LAST):
        return {"human": HUMAN}
    if "{version}" in path:
        return {"version": proposal}
    return {"record": record} if "{record}" in path else {}


def key_for(method, verb):
    if verb in USES:
        return shared[KEY_FOR.get(verb, "aes")]
    if AS_AGENT:
        return shared["sign"]
    key = new_key(active=verb not in ("activate", "destroy", "cancel-destroy"))["id"]
    if verb == "cancel-destroy":
        human.call("POST", f"/v1/keys/{key}/destroy", {})
    return key


def filled(case, verb):
    """The body, with what no schema can say of it: that it was made by an earlier call."""
    body = case.body
    if verb in ("decrypt", "re-encrypt"):
        body = {**body, "ciphertext": ciphertext, "context": {}}
    elif verb == "open":
        body = {**body, "sealed": envelope, "context": {}}
    elif verb == "approve":
        body = {"code": asked.get(verb)[1]}
    elif verb == "unwrap":
        body = {**body, "wrapped_key": wrapped_key, "context": {}}
    elif verb == "import":
        body = {**body, "name": f"key-{next(numbers)}", "algorithm": "ECDSA-P256"}
        body = {**body, **elsewhere.wrapped(human, elsewhere.pkcs8(elsewhere.p256()))}
    elif verb == "register":
        file = STICK / f"{next(numbers)}.pem"
        elsewhere.put(file, elsewhere.p256())
        body = {**body, "name": f"key-{next(numbers)}", "algorithm": "ECDSA-P256"}
        body = {**body, "backend": "stick", "object": file.name}
    elif verb == "keys":
        body = {name: value for name, value in body.items() if name != "backend"}
    elif case.path.startswith("/v1/response-rules"):
        rules = human.call("GET", "/v1/response-rules")
        known = {"toml": rules["toml"], "version": rules["version"], "expected_version": rules["version"]}
        body = {name: known.get(name, value) for name, value in body.items()}
    elif "{alias}" in case.path:
        body = {**body, "key": shared["sign"]}
    elif case.path.startswith("/v1/agents"):
        body = {name: value for name, value in body.items() if name != "access_request"}
        if "scope" in body:
            body = {**body, "scope": f"key:{shared['sign']}:sign"}
    elif verb == "webhooks":
        new_webhook()
        body = {**body, "url": "https://receiver.invalid/"}
    elif case.path.startswith("/access/v1/"):
        body = {**body, **evaluation(case)}
    elif verb == "redrive":
        body = {"since": "2026-01-01T00:00:00Z"} if case.path.startswith("/v1/audit/") else {}
    elif verb == "token" and id_tokens:
        body = {**body, "subject_token": id_tokens.pop()}
    return body


def evaluation(case):
    """Of what the agent that asks may do with a shared key."""
    asking = Aegis()
    asking.base, asking.token = human.base, (case.headers or {}).get("Authorization", "").removeprefix("Bearer ")
    try:
        agents = asking.call("GET", "/v1/whoami")["agents"]
    except Refused:
        agents = []
    return {
        "subject": {"type": "agent", "id": agents[0] if agents else HUMAN},
        "action": {"name": "sign"},
        "resource": {"type": "key", "id": shared["sign"]},
    }


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Schemas say what can be read; whether it means something there and then, no schema can."""
    if failure.code in ("ST204", "ST205") and case.path in NAMES_TOO:
        return False
    if failure.code != "ST202":
        return True
    try:
        problem = response.json()
    except ValueError:
        return True
    # To JSON Schema 14.0 is an integer; to Aegis it is none.
    understood = ("no such key", "floating point")
    if problem.get("title") in UNKNOWN:
        return False
    unread = problem.get("code") == "invalid-request" and problem.get("title") in UNREAD
    return unread and not any(words in problem.get("detail", "") for words in understood)


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code < 300:
        succeeded.add(case.operation.label)


@atexit.register
def tell_what_succeeded():
    pathlib.Path(os.environ["AEGIS_SUCCEEDED"]).write_text(json.dumps(sorted(succeeded)))
