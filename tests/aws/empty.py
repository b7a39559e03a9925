"""empty.py keep|hold|empty: what each scenario finds a deployment as.

`keep` writes down what the tables of a new deployment hold, and `empty` brings them back to it. `hold` comes in between: from
then on nothing happens by itself. What the stream and the schedules bring of one scenario would come late, and in the way of
the next. So the deployment is good for nothing afterwards but scenarios, none of which waits for what comes by itself.
"""

import json
import os
import pathlib
import pickle
import sys
import time

import boto3

with open(os.environ["AEGIS_DEPLOYMENT"], encoding="utf-8") as file:
    outputs = json.load(file)
tables = [outputs[name]["value"] for name in ("state_table", "journal_table")]
functions = outputs["function_names"]["value"]
kept = pathlib.Path(os.environ["AEGIS_DEPLOYMENT"]).with_name("kept")
dynamodb, functions_client = boto3.client("dynamodb"), boto3.client("lambda")

# Tells how far the stream has come, which is then held: it would soon be taken for one that died.
HEARTBEAT = "i:feed\n:detection-heartbeat"
# What functions remember by its version, which means something else in the next scenario.
REMEMBERED = ("i:policy", "i:rules")


def held_by(table):
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    items = (item for page in pages for item in page["Items"])
    return {item["pk"]["S"] + "\n" + item["sk"]["S"]: item for item in items}


def keep():
    found = {table: held_by(table) for table in tables}
    for items in found.values():
        items.pop(HEARTBEAT, None)
    kept.write_bytes(pickle.dumps(found))


def hold():
    """The schedules first, then the stream; and what is on its way arrives."""
    scheduler, queues = boto3.client("scheduler"), boto3.client("sqs")
    for name in ("scheduled", "webhooks"):
        schedule = scheduler.get_schedule(Name=functions[name])
        told = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
        scheduler.update_schedule(**{key: schedule[key] for key in told}, State="DISABLED")
    for mapping in functions_client.list_event_source_mappings(FunctionName=functions["publish"])["EventSourceMappings"]:
        functions_client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    waiting = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    for name in ("anomaly", "respond", "webhooks"):
        url = queues.get_queue_url(QueueName=functions[name])["QueueUrl"]
        for _ in range(600):
            found = queues.get_queue_attributes(QueueUrl=url, AttributeNames=waiting)["Attributes"]
            if not any(int(found[name]) for name in waiting):
                break
            time.sleep(0.2)
        else:
            sys.exit(f"{url} is not emptied: {found}")


def bring_back(table, wanted):
    """Whether anything changed that functions remember."""
    found = held_by(table)
    gone = [{"DeleteRequest": {"Key": {name: found[key][name] for name in ("pk", "sk")}}} for key in found.keys() - wanted]
    changed = [key for key in wanted if found.get(key) != wanted[key]]
    back = [{"PutRequest": {"Item": wanted[key]}} for key in changed]
    requests = gone + back
    for start in range(0, len(requests), 25):
        batch = {table: requests[start : start + 25]}
        while batch:
            batch = dynamodb.batch_write_item(RequestItems=batch)["UnprocessedItems"]
    return any(key.startswith(REMEMBERED) for key in [*(found.keys() - wanted), *changed])


def forget():
    for name in functions.values():
        timeout = functions_client.get_function_configuration(FunctionName=name)["Timeout"]
        functions_client.update_function_configuration(FunctionName=name, Timeout=timeout)


def empty():
    wanted = pickle.loads(kept.read_bytes())
    if any([bring_back(table, wanted[table]) for table in tables]):
        forget()


{"keep": keep, "hold": hold, "empty": empty}[sys.argv[1]]()
