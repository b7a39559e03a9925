"""What came to the queue that subscribes to the alerts of the deployment under test, as a JSON list."""

import json
import os

import boto3

with open(os.environ["AEGIS_DEPLOYMENT"], encoding="utf-8") as file:
    outputs = json.load(file)
sqs = boto3.client("sqs")
url = outputs["alerts_queue_url"]["value"]
found = {}
while True:
    batch = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1).get("Messages", [])
    new = [message for message in batch if message["MessageId"] not in found]
    for message in new:
        found[message["MessageId"]] = json.loads(json.loads(message["Body"])["Message"])
    if not new:
        break
print(json.dumps(list(found.values())))
