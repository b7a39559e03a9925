"""Names what a deployment left behind on the emulator, one thing a line, and fails if there is any.

What AWS itself keeps for a while is not counted: a KMS key waits to be deleted.
"""

import os
import sys

import boto3


def names(service, call, of, name):
    client = boto3.client(service, endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for found in getattr(client, call)().get(of, []):
        yield f"{service}: {found if name is None else found[name]}"


def waiting_keys_aside():
    kms = boto3.client("kms", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for key in kms.list_keys()["Keys"]:
        about = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        if about["KeyState"] != "PendingDeletion" and about["KeyManager"] == "CUSTOMER":
            yield f"kms: {key['KeyId']} is {about['KeyState']}"


def rules():
    """Also of the bus of the stack under test, which is gone by then."""
    events = boto3.client("events", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for bus in ["aegis-test", "default"]:
        for rule in events.list_rules(EventBusName=bus)["Rules"]:
            yield f"events: {rule['Name']} of {bus}"


def aliases():
    """But for those of keys that Aegis had KMS make, which go with their keys."""
    kms = boto3.client("kms", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for alias in kms.list_aliases()["Aliases"]:
        if not alias["AliasName"].startswith(("alias/aegis/", "alias/aws/")):
            yield f"kms: {alias['AliasName']}"


def left():
    for where in [
        ("apigateway", "get_rest_apis", "items", "name"),
        ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        ("dynamodb", "list_tables", "TableNames", None),
        ("iam", "list_roles", "Roles", "RoleName"),
        ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
        ("lambda", "list_functions", "Functions", "FunctionName"),
        ("logs", "describe_log_groups", "logGroups", "logGroupName"),
        ("s3", "list_buckets", "Buckets", "Name"),
        ("scheduler", "list_schedules", "Schedules", "Name"),
        ("sns", "list_subscriptions", "Subscriptions", "SubscriptionArn"),
        ("sns", "list_topics", "Topics", "TopicArn"),
        ("sqs", "list_queues", "QueueUrls", None),
    ]:
        yield from names(*where)
    yield from rules()
    yield from aliases()
    yield from (bus for bus in names("events", "list_event_buses", "EventBuses", "Name") if bus != "events: default")
    yield from waiting_keys_aside()


if __name__ == "__main__":
    found = sorted(left())
    print("\n".join(found))
    sys.exit(1 if found else 0)
