"""bus.py refuse|accept: takes from the role of `publish` what lets it tell the bus, or gives it back."""

import json
import os
import pathlib
import sys

import boto3

with open(os.environ["AEGIS_DEPLOYMENT"], encoding="utf-8") as file:
    outputs = json.load(file)
iam = boto3.client("iam")
needs = {"RoleName": outputs["role_names"]["value"]["publish"], "PolicyName": "needs"}
# As Terraform made it.
kept = pathlib.Path(os.environ["AEGIS_DEPLOYMENT"]).with_name("publish-needs.json")
if sys.argv[1] == "refuse":
    policy = iam.get_role_policy(**needs)["PolicyDocument"]
    kept.write_text(json.dumps(policy), encoding="utf-8")
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Sid"] != "Bus"]
    iam.put_role_policy(**needs, PolicyDocument=json.dumps(policy))
else:
    iam.put_role_policy(**needs, PolicyDocument=kept.read_text(encoding="utf-8"))
