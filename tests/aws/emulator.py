"""MiniStack, for as long as whoever started it lives: it ends with its standard input."""

import contextvars
import json
import os
import re
import signal
import threading

from ministack.app import main
from ministack.services import apigateway_v1 as gateway


def end_with_standard_input():
    os.read(0, 1)
    # Asked, not killed: it ends the functions that it runs, too.
    os.kill(os.getpid(), signal.SIGTERM)


def tell_what_the_authorizer_said():
    """Fills `$context.authorizer.…` into the body of a 403, as AWS does; MiniStack 1.5.33 leaves it as it stands."""
    answer, refuse, invoke = gateway._gateway_error_response, gateway._deny_error, gateway._invoke_authorizer_lambda
    said = contextvars.ContextVar("said", default=None)

    async def invoke_and_keep(*arguments):
        result = await invoke(*arguments)
        policy = (result or {}).get("body")
        policy = json.loads(policy) if isinstance(policy, (str, bytes)) else policy
        said.set(gateway._stringify_context(policy.get("context")) if isinstance(policy, dict) else None)
        return result

    def refuse_and_keep(explicit):
        error = refuse(explicit)
        error.said = said.get() or {}
        return error

    def answer_with_it(error, request):
        status, headers, body = answer(error, request)
        for name, value in getattr(error, "said", {}).items():
            body = re.sub(rb"\$context\.authorizer\." + name.encode() + rb"\b", lambda _: value.encode(), body)
        return status, headers, body

    gateway._invoke_authorizer_lambda = invoke_and_keep
    gateway._deny_error = refuse_and_keep
    gateway._gateway_error_response = answer_with_it


def tell_where_requests_come_from():
    """`sourceIp` is the address that the gateway hears from, as on AWS; MiniStack 1.5.33 takes it from `X-Forwarded-For`, which anybody
    can send. The header itself arrives as it was sent."""
    build, invoke = gateway._build_lambda_event_v1, gateway._invoke_authorizer_lambda

    def from_here(event):
        event["requestContext"]["identity"]["sourceIp"] = "127.0.0.1"
        return event

    def build_from_here(*arguments, **named):
        return from_here(build(*arguments, **named))

    async def invoke_from_here(authorizer, event, *arguments):
        return await invoke(authorizer, from_here(event), *arguments)

    gateway._build_lambda_event_v1 = build_from_here
    gateway._invoke_authorizer_lambda = invoke_from_here


def refuse_an_empty_identity_source():
    """AWS takes an authorizer without one, and none that is empty, which MiniStack 1.5.33 takes; Terraform's provider leaves none out."""
    create = gateway._create_authorizer

    def create_unless_empty(api_id, data):
        if data.get("identitySource") == "":
            return gateway._v1_error("BadRequestException", "Invalid identity source", 400)
        return create(api_id, data)

    gateway._create_authorizer = create_unless_empty


tell_what_the_authorizer_said()
refuse_an_empty_identity_source()
tell_where_requests_come_from()
threading.Thread(target=end_with_standard_input, daemon=True).start()
main()
