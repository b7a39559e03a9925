"""One call of KMS as the account's own: its operation as the SDK names it, and its parameters as JSON, bytes in base64. Prints
the answer likewise, or the code of what KMS refused."""

import base64
import json
import sys

import boto3
from botocore.exceptions import ClientError

BYTES = {"Plaintext", "CiphertextBlob", "Message", "Signature", "PublicKey"}

operation, parameters = sys.argv[1], json.loads(sys.argv[2])
read = {name: base64.b64decode(value) if name in BYTES else value for name, value in parameters.items()}
try:
    answer = getattr(boto3.client("kms", region_name="us-east-1"), operation)(**read)
except ClientError as error:
    print(json.dumps({"refused": error.response["Error"]["Code"]}))
    sys.exit()
answer.pop("ResponseMetadata")
told = {name: base64.b64encode(value).decode() if name in BYTES else value for name, value in answer.items()}
print(json.dumps(told, default=str))
