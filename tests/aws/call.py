"""One call of AWS as the account's own: its service and operation as the SDK names them, and its parameters as JSON, of KMS
with bytes in base64. Prints the answer likewise, or the code of what was refused."""

import base64
import json
import sys

import boto3
from botocore.exceptions import ClientError

BYTES = {"Plaintext", "CiphertextBlob", "Message", "Signature", "PublicKey"}

service, operation, parameters = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
is_bytes = BYTES if service == "kms" else set()
read = {name: base64.b64decode(value) if name in is_bytes else value for name, value in parameters.items()}
try:
    answer = getattr(boto3.client(service), operation)(**read)
except ClientError as error:
    print(json.dumps({"refused": error.response["Error"]["Code"]}))
    sys.exit()
answer.pop("ResponseMetadata")
told = {name: base64.b64encode(value).decode() if name in is_bytes else value for name, value in answer.items()}
print(json.dumps(told, default=str))
