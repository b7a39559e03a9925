"""The functions called without the gateway, by somebody who may: what no authorizer signed for this very request releases
nothing and is on record."""

import base64
import contextlib
import json
import os
import time
import unittest
import urllib.error
import urllib.request

import boto3
from botocore.exceptions import ClientError

with open(os.environ["AEGIS_DEPLOYMENT"], encoding="utf-8") as file:
    OUTPUTS = {name: output["value"] for name, output in json.load(file).items()}
URL = os.environ["AEGIS_URL"]
PARTITIONS = os.path.join(os.path.dirname(__file__), "../../../infra/partitions.json")
FUNCTIONS = boto3.client("lambda")
NAME = OUTPUTS["role_names"]["scheduled"].removesuffix("-scheduled")


def ask(method, path, token, body=None):
    """What the API answers."""
    request = urllib.request.Request(URL + path, method=method, data=json.dumps(body).encode() if body else None)
    request.add_header("authorization", f"Bearer {token}")
    request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def call(function, event):
    answer = FUNCTIONS.invoke(FunctionName=OUTPUTS["function_names"][function], Payload=json.dumps(event).encode())
    return answer.get("FunctionError"), json.loads(answer["Payload"].read())


def request(path, token, crossing=None):
    """As the gateway would hand it to a function."""
    message = base64.b64encode(b"invoice 7").decode()
    context = {"identity": {"sourceIp": "127.0.0.1"}}
    if crossing is not None:
        context["authorizer"] = {"crossing": crossing}
    return {
        "resource": "/v1/keys/{key}/sign",
        "path": path,
        "httpMethod": "POST",
        "multiValueHeaders": {"authorization": [f"Bearer {token}"], "content-type": ["application/json"]},
        "multiValueQueryStringParameters": None,
        "requestContext": context,
        "body": json.dumps({"message": message}),
        "isBase64Encoded": False,
    }


def part(text):
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@contextlib.contextmanager
def somebody():
    """A session of somebody with no rights, and what gives her those of a function's role."""
    iam, name = boto3.client("iam"), f"somebody-{time.time_ns():x}"

    def become(function):
        needs = {"RoleName": OUTPUTS["role_names"][function], "PolicyName": "needs"}
        policy = json.dumps(iam.get_role_policy(**needs)["PolicyDocument"])
        iam.put_user_policy(UserName=name, PolicyName="needs", PolicyDocument=policy)

    iam.create_user(UserName=name)
    try:
        key = iam.create_access_key(UserName=name)["AccessKey"]
        secret = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        yield boto3.Session(**secret), become
    finally:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
            iam.delete_user_policy(UserName=name, PolicyName=policy)
        iam.delete_user(UserName=name)


class Roles(unittest.TestCase):
    """What a function's role does not need, it is refused: tried with each role, for all that somebody could want of it."""

    def a_key(self, *tags):
        """A key of somebody's at KMS, for as long as the test takes."""
        kms = boto3.client("kms")
        key = kms.create_key(Tags=tags)["KeyMetadata"]["Arn"]
        self.addCleanup(kms.schedule_key_deletion, KeyId=key, PendingWindowInDays=7)
        return key

    def test_each_role_is_refused_what_it_does_not_need(self):
        functions = set(OUTPUTS["role_names"])
        operations = {name for name in functions if name.startswith("op-")} | {"public"}
        with somebody() as (session, become):
            tables, kms, lambdas = session.client("dynamodb"), session.client("kms"), session.client("lambda")
            events, alerts = session.client("events"), session.client("sns")
            journal, state, permits = (OUTPUTS[f"{name}_table"] for name in ["journal", "state", "permit_keys"])
            root, token = OUTPUTS["root_key_arn"], OUTPUTS["token_key_arn"]
            managed, mark = OUTPUTS["managed_key_arn"], {"TagKey": "aegis:made-by", "TagValue": NAME}
            strange, made = self.a_key(), self.a_key(mark)
            makers = {"op-key-create", "op-key-rotate", "scheduled"}
            theirs = {"TagKey": "aegis:made-by", "TagValue": "another"}
            place = {"Key": {"pk": {"S": "i:nothing"}, "sk": {"S": "nothing"}}}
            item = {"Item": place["Key"]}
            with open(PARTITIONS, encoding="utf-8") as file:
                partitions = json.load(file)
            journal_is_read_by = partitions["reads_journal"]
            readers = set(journal_is_read_by["by_itself"]) | {
                name
                for name in operations
                if any(name.startswith(f"op-{prefix.replace('.', '-')}") for prefix in journal_is_read_by["prefixes"])
                or any(name.endswith(suffix.replace(".", "-")) for suffix in journal_is_read_by["suffixes"])
                or any(name == f"op-{operation.replace('.', '-')}" for operation in journal_is_read_by["operations"])
            }
            # What somebody could want, and who may.
            wanted = {
                "delete a record": (lambda: tables.delete_item(TableName=journal, **place), set()),
                "change a record": (lambda: tables.update_item(TableName=journal, **place), set()),
                "scan the records": (lambda: tables.scan(TableName=journal), set()),
                "delete an item": (lambda: tables.delete_item(TableName=state, **place), set()),
                "scan the items": (lambda: tables.scan(TableName=state), set()),
                "delete a table": (lambda: tables.delete_table(TableName=journal), set()),
                "search the records": (
                    lambda: tables.query(
                        TableName=journal,
                        IndexName="gsi1",
                        KeyConditionExpression="g1p = :p",
                        ExpressionAttributeValues={":p": {"S": ":nothing"}},
                    ),
                    readers | {"publish"},
                ),
                "read an item": (lambda: tables.get_item(TableName=state, **place), functions - {"publish"}),
                "look for items": (
                    lambda: tables.query(
                        TableName=state,
                        IndexName="gsi1",
                        KeyConditionExpression="g1p = :p",
                        ExpressionAttributeValues={":p": {"S": ":nothing"}},
                    ),
                    functions - {"publish"} - set(partitions["looks_for_nothing"]),
                ),
                "search another index of the records": (
                    lambda: tables.query(
                        TableName=journal,
                        IndexName="gsi2",
                        KeyConditionExpression="g2p = :p",
                        ExpressionAttributeValues={":p": {"S": ":nothing"}},
                    ),
                    readers,
                ),
                "find a record": (
                    lambda: tables.get_item(TableName=journal, **place),
                    readers | set(partitions["finds_records"]),
                ),
                "write a record": (lambda: tables.put_item(TableName=journal, **item), functions - {"publish"}),
                "write an item": (lambda: tables.put_item(TableName=state, **item), functions - {"mcp", "publish"}),
                "count": (lambda: tables.update_item(TableName=state, **place), operations | {"authorizer"}),
                "publish a permit's key": (lambda: tables.put_item(TableName=permits, **item), {"authorizer"}),
                "open the root": (
                    lambda: kms.decrypt(CiphertextBlob=b"nothing", KeyId=root),
                    operations | {"respond", "scheduled", "webhooks"},
                ),
                "seal a root": (lambda: kms.encrypt(Plaintext=b"nothing", KeyId=root), {"setup"}),
                "sign a token": (
                    lambda: kms.sign(Message=b"nothing", KeyId=token, SigningAlgorithm="ECDSA_SHA_256"),
                    {"op-agent-issue", "op-credential-issue", "public"},
                ),
                "end a key": (lambda: kms.schedule_key_deletion(KeyId=root), set()),
                "make a key": (lambda: kms.create_key(Tags=[mark]), makers),
                "make a key that says not whose it is": (lambda: kms.create_key(), set()),
                "make a key of another deployment's": (lambda: kms.create_key(Tags=[theirs]), set()),
                "make a key with other tags": (
                    lambda: kms.create_key(Tags=[mark, {"TagKey": "team", "TagValue": "x"}]),
                    set(),
                ),
                # A key's own policy refuses the roles themselves besides, of `root` and `token`.
                "tag a key": (lambda: kms.tag_resource(KeyId=managed, Tags=[mark]), makers),
                "tag a key as another's": (lambda: kms.tag_resource(KeyId=managed, Tags=[theirs]), set()),
                "use a key of nobody's": (lambda: kms.encrypt(KeyId=strange, Plaintext=b"x"), set()),
                "end a key of nobody's": (lambda: kms.schedule_key_deletion(KeyId=strange), set()),
                "end a key that was made": (lambda: kms.schedule_key_deletion(KeyId=made), {"scheduled"}),
                "end a key that was registered": (lambda: kms.schedule_key_deletion(KeyId=managed), {"scheduled"}),
                "encrypt with a key that was made": (
                    lambda: kms.encrypt(KeyId=made, Plaintext=b"x"),
                    {f"op-key-{name}" for name in ["encrypt", "generate-data-key", "re-encrypt", "wrap"]},
                ),
                "decrypt with a key that was made": (
                    lambda: kms.decrypt(KeyId=made, CiphertextBlob=b"nothing"),
                    {f"op-key-{name}" for name in ["decrypt", "re-encrypt", "unwrap"]},
                ),
                "change the policy of a key that was made": (
                    lambda: kms.put_key_policy(KeyId=made, Policy="{}"),
                    set(),
                ),
                "tell the bus": (
                    lambda: events.put_events(Entries=[{"Source": "x", "DetailType": "x", "Detail": "{}",
                                                        "EventBusName": OUTPUTS["bus_name"]}]),
                    {"publish"},
                ),
                "alert": (lambda: alerts.publish(TopicArn=OUTPUTS["alerts_topic_arn"], Message="x"), {"respond"}),
                "call another function": (
                    lambda: lambdas.invoke(FunctionName=OUTPUTS["function_names"]["op-key-sign"], Payload=b"{}"),
                    {"mcp"},
                ),
                "call what no message asks for": (
                    lambda: lambdas.invoke(FunctionName=OUTPUTS["function_names"]["op-key-destroy"], Payload=b"{}"),
                    set(),
                ),
            }
            tried = 0
            for function in sorted(functions):
                become(function)
                for what, (want, may) in wanted.items():
                    if function in may:
                        continue
                    with self.subTest(f"{function}: {what}"), self.assertRaises(ClientError) as refused:
                        want()
                    code = refused.exception.response["Error"]["Code"]
                    # SNS has a word of its own.
                    self.assertRegex(code, "^(AccessDenied|AuthorizationError)", f"{function}: {what}")
                    tried += 1
        print(f"{tried} times a role was refused what it does not need")


class Direct(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.human = os.environ["AEGIS_TEST_SESSION"]
        mark = f"{time.time_ns():x}"
        cls.keys = [f"direct-{mark}", f"other-{mark}"]
        for key in cls.keys:
            status, made = ask("POST", "/v1/keys", cls.human, {"name": key, "algorithm": "Ed25519", "activate": True})
            assert status == 201, made
        scope = " ".join(f"key:{key}:sign,verify" for key in cls.keys)
        agent = {"label": "direct", "scope": scope, "purpose": "service"}
        status, made = ask("POST", "/v1/agents", cls.human, agent)
        assert status == 201, made
        cls.agent = made["id"]
        cls.tokens = []
        for _ in range(2):
            status, issued = ask("POST", f"/v1/agents/{cls.agent}/credentials", cls.human, {"ttl": 600})
            assert status == 201, issued
            cls.tokens.append(issued["token"])
        cls.path = f"/v1/keys/{cls.keys[0]}/sign"

    def permit(self, path=None, token=None):
        """What the authorizer signs; called by itself, as the gateway calls it."""
        event = request(path or self.path, token or self.tokens[0])
        event.update(type="REQUEST", methodArn="arn:aws:execute-api:us-east-1:000000000000:api/live/POST/v1", body=None)
        error, answer = call("authorizer", event)
        self.assertIsNone(error, answer)
        self.assertEqual(answer["policyDocument"]["Statement"][0]["Effect"], "Allow")
        return answer["context"]["crossing"]

    def sign(self, crossing, path=None, token=None):
        error, answer = call("op-key-sign", request(path or self.path, token or self.tokens[0], crossing))
        self.assertIsNone(error, answer)
        return answer["statusCode"], json.loads(answer["body"])

    def refused(self, answer, reason):
        status, body = answer
        self.assertEqual((status, body.get("reason")), (403, reason), body)
        self.assertNotIn("signature", body)
        status, record = ask("GET", f"/v1/audit/{body['record']}", self.human)
        self.assertEqual(status, 200, record)
        self.assertEqual((record["outcome"], record["reason"]), ("denied", reason))
        self.assertEqual(record["agents"], [self.agent])

    def test_a_permit_is_good_once(self):
        permit = self.permit()
        status, body = self.sign(permit)
        self.assertEqual(status, 200, body)
        self.assertIn("signature", body)
        self.refused(self.sign(permit), "permit_replayed")

    def test_what_no_authorizer_signed_for_this_request(self):
        permit = self.permit()
        head, claims, signature = permit.split(".")
        read = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        longer = part(json.dumps({**read, "exp": read["exp"] + 3600}).encode())
        unknown = part(json.dumps({"typ": "aegis-permit+jwt", "alg": "EdDSA", "kid": "nobody"}).encode())
        unsigned = part(json.dumps({"typ": "aegis-permit+jwt", "alg": "none", "kid": json.loads(
            base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]}).encode())
        table = {
            "nothing": "",
            "no permit": "rec_1",
            "a token in its place": self.tokens[0],
            "altered": f"{head}.{longer}.{signature}",
            "of a key that no authorizer published": f"{unknown}.{claims}.{signature}",
            "of no algorithm": f"{unsigned}.{claims}.",
        }
        for what, crossing in table.items():
            with self.subTest(what):
                self.refused(self.sign(crossing), "permit_invalid")
        with self.subTest("for another key"):
            self.refused(self.sign(permit, path=f"/v1/keys/{self.keys[1]}/sign"), "permit_invalid")
        with self.subTest("for another credential"):
            self.refused(self.sign(permit, token=self.tokens[1]), "permit_invalid")
        with self.subTest("for another operation"):
            verifying = self.permit(path=f"/v1/keys/{self.keys[0]}/verify")
            self.refused(self.sign(verifying), "permit_invalid")
        # None of it used the permit up.
        self.assertEqual(self.sign(permit)[0], 200)

    def test_an_expired_permit(self):
        permit = self.permit()
        claims = permit.split(".")[1]
        until = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        while time.time() <= until + 1:
            time.sleep(1)
        self.refused(self.sign(permit), "permit_invalid")

    def forwarded(self, **other):
        """As the function that reads messages hands on what one asks for."""
        body = json.dumps({"message": base64.b64encode(b"invoice 7").decode()}).encode()
        request = {
            "id": f"req_{time.time_ns():032x}",
            "method": "POST",
            "path": "/v1/keys/{key}/sign",
            "parameters": {"key": self.keys[0]},
            "token": self.tokens[0],
            "plane": "mcp",
            "source": "127.0.0.1",
            "user_agent": None,
            "claims": None,
            "content_type": "application/json",
            "query": "",
            "body": part(body),
            "idempotency_key": None,
            "malformed": None,
        }
        return {"forwarded": {**request, **other}}

    def test_what_is_forwarded_is_decided_on_by_the_token_that_comes_with_it(self):
        error, answer = call("op-key-sign", self.forwarded())
        self.assertIsNone(error, answer)
        self.assertIn("signature", json.loads(answer["done"]["body"]))
        for what, token, reason in [
            ("of nobody", "no.such.token", "invalid_token"),
            ("without one", None, "missing_token"),
            ("of a human", self.human, "agent_credential_required"),
        ]:
            with self.subTest(what):
                error, answer = call("op-key-sign", self.forwarded(token=token))
                self.assertIsNone(error, answer)
                self.assertEqual(answer["turned_away"]["reason"], reason)
        # Nobody forwards these.
        for other in [
            {"plane": "rest"},
            {"path": "/v1/keys/{key}/verify"},
            {"path": "/mcp"},
            {"crossing": self.permit()},
            {"body": "?"},
        ]:
            with self.subTest(other):
                error, answer = call("op-key-sign", self.forwarded(**other))
                self.assertTrue(error, answer)

    def test_what_reads_messages_may_ask_operations_and_do_nothing_else(self):
        with somebody() as (session, become):
            become("mcp")
            functions = session.client("lambda")

            def invoke(function, event):
                name, payload = OUTPUTS["function_names"][function], json.dumps(event).encode()
                return json.loads(functions.invoke(FunctionName=name, Payload=payload)["Payload"].read())

            with self.subTest("a permit of its own making"):
                permit = self.permit()
                head, claims, _ = permit.split(".")
                answer = invoke("op-key-sign", request(self.path, self.tokens[0], f"{head}.{claims}.{part(bytes(64))}"))
                self.refused((answer["statusCode"], json.loads(answer["body"])), "permit_invalid")
            with self.subTest("an operation that no message asks for"):
                with self.assertRaises(ClientError) as refused:
                    invoke("op-key-destroy", self.forwarded())
                self.assertIn("AccessDenied", refused.exception.response["Error"]["Code"])
    def test_without_a_gateway_the_function_decides_itself(self):
        self.assertEqual(self.sign(None)[0], 200)
        status, body = self.sign(None, path="/v1/keys/no-such-key/sign", token=self.human)
        self.assertEqual((status, body["code"]), (404, "not-found"))
        status, body = self.sign(None, token="x.y.z")
        self.assertEqual((status, body["code"]), (401, "unauthenticated"))

    def test_a_function_serves_its_own_operation_alone(self):
        for path in [f"/v1/keys/{self.keys[0]}/verify", "/v1/keys/x", "/v1/nothing"]:
            status, body = self.sign(self.permit(), path=path)
            self.assertIn((status, body["code"]), [(404, "no-such-route"), (405, "method-not-allowed")], path)


if __name__ == "__main__":
    unittest.main()
