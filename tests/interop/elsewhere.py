"""Keys as other programs make and wrap them."""

import os

from aegis_client import base64_text, unbase64
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


def pkcs8(private, encoding=serialization.Encoding.DER):
    return private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def wrapped(aegis, key_bytes):
    """What an import needs of key bytes: wrapped by `cryptography` for a fresh wrapping key."""
    parameters = aegis.call("POST", "/v1/keys/import-parameters", {})
    wrapping_key = serialization.load_der_public_key(unbase64(parameters["wrapping_key"]))
    aes = os.urandom(32)
    bytes_of_both = wrapping_key.encrypt(aes, OAEP) + keywrap.aes_key_wrap_with_padding(aes, key_bytes)
    return {"wrapping_key_id": parameters["wrapping_key_id"], "wrapped_key": base64_text(bytes_of_both)}


def p256():
    return ec.generate_private_key(ec.SECP256R1())


def put(path, private):
    """A key's file, as `openssl genpkey` writes it."""
    path.touch(mode=0o600)
    path.write_bytes(pkcs8(private, serialization.Encoding.PEM))
