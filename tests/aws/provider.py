"""provider.py KEY: makes the key of an identity provider in a file, unless it is there, and prints its public half as a JWK set, for
a provider that somebody else serves."""

import base64
import hashlib
import json
import pathlib
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

path = pathlib.Path(sys.argv[1])
if not path.exists():
    der = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*der))
numbers = serialization.load_der_private_key(path.read_bytes(), None).public_key().public_numbers()
text = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
key = {"crv": "P-256", "kty": "EC", "x": text(numbers.x.to_bytes(32)), "y": text(numbers.y.to_bytes(32))}
# RFC 7638.
kid = text(hashlib.sha256(json.dumps(key, sort_keys=True, separators=(",", ":")).encode()).digest())
print(json.dumps({"keys": [{**key, "kid": kid, "alg": "ES256", "use": "sig"}]}))
