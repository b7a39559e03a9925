"""Signatures by Aegis, judged by the openssl command and by Python's `cryptography`."""

import hashlib
import pathlib
import subprocess
import tempfile
import unittest

from aegis_client import Aegis
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

MESSAGE = b"the quick brown fox \x00\xff"
TAMPERED = b"the quick brown fix \x00\xff"
ECDSA_P256 = "ECDSA-P256"
ED25519 = "Ed25519"

# One server for all of them: starting one derives a key from a passphrase, which is slow on purpose.
server = Aegis()


def setUpModule():
    server.start()
    unittest.addModuleCleanup(server.stop)


class EcdsaP256(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        server.create_key("interop-p256", ECDSA_P256)
        cls.key = "interop-p256"
        cls.der, cls.pem = server.public_key(cls.key)
        cls.signature, cls.key_id, cls.key_version = server.sign(cls.key, MESSAGE)

    def accepted_by_openssl(self, message, signature):
        return openssl_accepts(["dgst", "-sha256", "-verify", "{key}", "-signature", "{signature}", "{message}"],
                               self.pem, message, signature)

    def accepted_by_cryptography(self, message, signature):
        public_key = serialization.load_der_public_key(self.der)
        self.assertIsInstance(public_key, ec.EllipticCurvePublicKey)
        self.assertIsInstance(public_key.curve, ec.SECP256R1)
        return accepts(lambda: public_key.verify(signature, message, ec.ECDSA(hashes.SHA256())))

    def test_openssl_accepts_the_message_and_nothing_else(self):
        self.assertTrue(self.accepted_by_openssl(MESSAGE, self.signature))
        self.assertFalse(self.accepted_by_openssl(TAMPERED, self.signature))

    def test_cryptography_accepts_the_message_and_nothing_else(self):
        self.assertTrue(self.accepted_by_cryptography(MESSAGE, self.signature))
        self.assertFalse(self.accepted_by_cryptography(TAMPERED, self.signature))

    def test_aegis_accepts_the_message_and_nothing_else(self):
        self.assertIs(server.verify(self.key, MESSAGE, self.signature), True)
        self.assertIs(server.verify(self.key, TAMPERED, self.signature), False)

    def test_a_signature_over_a_digest_is_one_over_its_message(self):
        signature, _, _ = server.sign(self.key, hashlib.sha256(MESSAGE).digest(), message_type="digest")
        self.assertTrue(self.accepted_by_openssl(MESSAGE, signature))
        self.assertTrue(self.accepted_by_cryptography(MESSAGE, signature))
        self.assertFalse(self.accepted_by_cryptography(TAMPERED, signature))

    def test_the_signature_is_der_with_both_numbers_in_range(self):
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        r, s = utils.decode_dss_signature(self.signature)
        self.assertTrue(0 < r < order and 0 < s < order)
        self.assertEqual(utils.encode_dss_signature(r, s), self.signature)

    def test_der_and_pem_are_the_same_key(self):
        self.assertEqual(same_key(self.pem), self.der)

    def test_signing_names_the_key_and_its_first_version(self):
        self.assertTrue(self.key_id)
        self.assertEqual(self.key_version, 1)


class Ed25519(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        server.create_key("interop-ed25519", ED25519)
        cls.key = "interop-ed25519"
        cls.der, cls.pem = server.public_key(cls.key)
        cls.signature, _, _ = server.sign(cls.key, MESSAGE)

    def accepted_by_openssl(self, message, signature):
        return openssl_accepts(["pkeyutl", "-verify", "-pubin", "-inkey", "{key}", "-rawin", "-in", "{message}",
                                "-sigfile", "{signature}"], self.pem, message, signature)

    def accepted_by_cryptography(self, message, signature):
        public_key = serialization.load_der_public_key(self.der)
        self.assertIsInstance(public_key, ed25519.Ed25519PublicKey)
        return accepts(lambda: public_key.verify(signature, message))

    def test_openssl_accepts_the_message_and_nothing_else(self):
        self.assertTrue(self.accepted_by_openssl(MESSAGE, self.signature))
        self.assertFalse(self.accepted_by_openssl(TAMPERED, self.signature))

    def test_cryptography_accepts_the_message_and_nothing_else(self):
        self.assertTrue(self.accepted_by_cryptography(MESSAGE, self.signature))
        self.assertFalse(self.accepted_by_cryptography(TAMPERED, self.signature))

    def test_aegis_accepts_the_message_and_nothing_else(self):
        self.assertIs(server.verify(self.key, MESSAGE, self.signature), True)
        self.assertIs(server.verify(self.key, TAMPERED, self.signature), False)

    def test_the_same_message_has_the_same_signature(self):
        # RFC 8032 §5.1.6: the nonce comes from the key and the message.
        self.assertEqual(len(self.signature), 64)
        self.assertEqual(server.sign(self.key, MESSAGE)[0], self.signature)

    def test_der_and_pem_are_the_same_key(self):
        self.assertEqual(same_key(self.pem), self.der)


def openssl_accepts(arguments, pem, message, signature):
    """Whether `openssl` accepts the signature. It finds the key, message and signature as files."""
    with tempfile.TemporaryDirectory(prefix="aegis-openssl-") as folder:
        files = {}
        for name, content in [("key", pem.encode()), ("message", message), ("signature", signature)]:
            files[name] = str(pathlib.Path(folder) / name)
            pathlib.Path(files[name]).write_bytes(content)
        command = ["openssl"] + [argument.format(**files) for argument in arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    said = (done.stdout + done.stderr).lower()
    # It ends with 1 too where it could not read the key: then it has judged nothing.
    if done.returncode == 0 and ("verified ok" in said or "verified successfully" in said):
        return True
    if done.returncode == 1 and "verification failure" in said:
        return False
    raise RuntimeError(f"openssl did not judge ({done.returncode}): {said}")


def accepts(verify):
    try:
        verify()
    except InvalidSignature:
        return False
    return True


def same_key(pem):
    """The DER of a PEM, re-encoded by `cryptography`."""
    return serialization.load_pem_public_key(pem.encode()).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


if __name__ == "__main__":
    unittest.main()
