"""Every signing algorithm, both ways: what Aegis signs the openssl command and `cryptography` accept, and what they sign with
a key that was imported Aegis accepts. The openssl of Debian 12 has no ML-DSA; there `cryptography` judges alone."""

import pathlib
import subprocess
import tempfile
import unittest

from aegis_client import Aegis
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from elsewhere import pkcs8, wrapped

MESSAGE = b"the quick brown fox \x00\xff"
TAMPERED = b"the quick brown fix \x00\xff"

PSS = (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
PKCS1 = (padding.PKCS1v15(), hashes.SHA256())
# As options of `openssl dgst`.
PSS_OPTIONS = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32", "-sigopt", "rsa_mgf1_md:sha256"]

# Algorithm, how `cryptography` makes such a key, what it signs and verifies with, and how `openssl dgst` does.
TABLE = [
    ("ECDSA-P256", lambda: ec.generate_private_key(ec.SECP256R1()), (ec.ECDSA(hashes.SHA256()),), ["-sha256"]),
    ("ECDSA-P384", lambda: ec.generate_private_key(ec.SECP384R1()), (ec.ECDSA(hashes.SHA384()),), ["-sha384"]),
    ("ECDSA-P521", lambda: ec.generate_private_key(ec.SECP521R1()), (ec.ECDSA(hashes.SHA512()),), ["-sha512"]),
    ("ECDSA-secp256k1", lambda: ec.generate_private_key(ec.SECP256K1()), (ec.ECDSA(hashes.SHA256()),), ["-sha256"]),
    ("Ed25519", ed25519.Ed25519PrivateKey.generate, (), None),
    ("ML-DSA-44", mldsa.MLDSA44PrivateKey.generate, (), None),
    ("ML-DSA-65", mldsa.MLDSA65PrivateKey.generate, (), None),
    ("ML-DSA-87", mldsa.MLDSA87PrivateKey.generate, (), None),
    *(
        (f"RSA-{bits}-{name}-SHA256", lambda bits=bits: rsa.generate_private_key(65537, bits), how, ["-sha256", *options])
        for bits in (2048, 3072, 4096)
        for name, how, options in [("PSS", PSS, PSS_OPTIONS), ("PKCS1", PKCS1, [])]
    ),
]


class EveryAlgorithm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.aegis = Aegis()
        cls.aegis.start()
        cls.addClassCleanup(cls.aegis.stop)

    def test_the_table_has_every_signing_algorithm(self):
        document = self.aegis.call("GET", "/v1/openapi.json")
        every = {option["const"] for option in document["components"]["schemas"]["Algorithm"]["oneOf"]}
        signing = {name for name in every if not any(part in name for part in ("GCM", "HMAC", "OAEP"))}
        self.assertEqual(signing, {algorithm for algorithm, *_ in TABLE})

    def test_what_aegis_signs_others_accept(self):
        for algorithm, _, how, options in TABLE:
            with self.subTest(algorithm):
                name = f"made-{algorithm.lower()}"
                self.aegis.create_key(name, algorithm)
                signature, _, _ = self.aegis.sign(name, MESSAGE)
                der, pem = self.aegis.public_key(name)
                public = serialization.load_der_public_key(der)
                public.verify(signature, MESSAGE, *how)
                with self.assertRaises(InvalidSignature):
                    public.verify(signature, TAMPERED, *how)
                if options is not None:
                    self.assertTrue(openssl_verifies(options, pem, signature, MESSAGE))
                    self.assertFalse(openssl_verifies(options, pem, signature, TAMPERED))

    def test_what_others_sign_with_a_key_that_was_imported_aegis_accepts(self):
        for algorithm, make, how, options in TABLE:
            with self.subTest(algorithm):
                name, private = f"brought-{algorithm.lower()}", make()
                body = {"name": name, "algorithm": algorithm, "activate": True, **wrapped(self.aegis, pkcs8(private))}
                self.aegis.call("POST", "/v1/keys/import", body)
                signatures = [private.sign(MESSAGE, *how)]
                if options is not None:
                    signatures.append(openssl_signs(options, private, MESSAGE))
                for signature in signatures:
                    self.assertIs(self.aegis.verify(name, MESSAGE, signature), True)
                    self.assertIs(self.aegis.verify(name, TAMPERED, signature), False)
                private.public_key().verify(self.aegis.sign(name, MESSAGE)[0], MESSAGE, *how)


def openssl_verifies(options, pem, signature, message):
    with files(key=pem.encode(), signature=signature, message=message) as at:
        command = ["openssl", "dgst", *options, "-verify", at["key"], "-signature", at["signature"], at["message"]]
        done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout + done.stderr
    # It ends with 1 too where it could not read the key: then it has judged nothing.
    assert (done.returncode == 0 and "Verified OK" in said) or "Verification failure" in said, said
    return done.returncode == 0


def openssl_signs(options, private, message):
    with files(key=pkcs8(private, serialization.Encoding.PEM), message=message) as at:
        command = ["openssl", "dgst", *options, "-sign", at["key"], at["message"]]
        return subprocess.run(command, capture_output=True, check=True).stdout


class files:
    """Bytes as files, for as long as they are needed."""

    def __init__(self, **contents):
        self.contents = contents

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="aegis-openssl-")
        at = {name: pathlib.Path(self.folder.name) / name for name in self.contents}
        for name, path in at.items():
            path.write_bytes(self.contents[name])
        return at

    def __exit__(self, *_):
        self.folder.cleanup()


if __name__ == "__main__":
    unittest.main()
