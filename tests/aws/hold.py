"""hold.py AGENT HOLD: adds what holds an agent to it, in the table, as a response does."""

import json
import os
import sys

import boto3

agent, hold = sys.argv[1:]
with open(os.environ["AEGIS_DEPLOYMENT"], encoding="utf-8") as file:
    table = json.load(file)["state_table"]["value"]
dynamodb = boto3.client("dynamodb")
key = {"pk": {"S": f"i:agent/{agent}"}, "sk": {"S": ":agent"}}
item = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
body = json.loads(item["body"]["S"])
body.setdefault("holds", []).append(json.loads(hold))
revision = item["rev"]["N"]
item |= {"body": {"S": json.dumps(body)}, "rev": {"N": str(int(revision) + 1)}}
condition = {"ConditionExpression": "rev = :rev", "ExpressionAttributeValues": {":rev": {"N": revision}}}
dynamodb.put_item(TableName=table, Item=item, **condition)
