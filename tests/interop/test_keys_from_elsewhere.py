"""Keys that other programs made: imported by value as `cryptography` wraps them, registered as OpenSSL wrote them."""

import os
import pathlib
import subprocess
import tempfile
import unittest

from aegis_client import Aegis, base64_text, key_path, unbase64
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from elsewhere import pkcs8, wrapped

MESSAGE = b"pay 10 EUR"


class KeysFromElsewhere(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stick = pathlib.Path(tempfile.mkdtemp(prefix="aegis-stick-"))
        (cls.stick / ".aegis-keys").touch()
        cls.aegis = Aegis(settings=f'[backends.stick]\nkind = "folder"\npath = "{cls.stick}"\n')
        cls.aegis.start()

    @classmethod
    def tearDownClass(cls):
        cls.aegis.stop()
        for file in cls.stick.iterdir():
            file.unlink()
        cls.stick.rmdir()

    def bring(self, name, algorithm, key_bytes):
        body = {"name": name, "algorithm": algorithm, "activate": True, **wrapped(self.aegis, key_bytes)}
        return self.aegis.call("POST", "/v1/keys/import", body)

    def test_imported_private_keys_are_the_ones_cryptography_has(self):
        rsa_key, ed = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
        p384 = ec.generate_private_key(ec.SECP384R1())
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        for name, algorithm, private, arguments in [
            ("an-rsa-key", "RSA-2048-PSS-SHA256", rsa_key, (pss, hashes.SHA256())),
            ("an-ec-key", "ECDSA-P384", p384, (ec.ECDSA(hashes.SHA384()),)),
            ("an-ed-key", "Ed25519", ed, ()),
        ]:
            with self.subTest(algorithm):
                self.bring(name, algorithm, pkcs8(private))
                signature, _, _ = self.aegis.sign(name, MESSAGE)
                private.public_key().verify(signature, MESSAGE, *arguments)
                self.assertTrue(self.aegis.verify(name, MESSAGE, private.sign(MESSAGE, *arguments)))

    def test_an_imported_mac_key_makes_the_codes_it_always_made(self):
        key = os.urandom(32)
        self.bring("a-mac-key", "HMAC-SHA256", key)
        answer = self.aegis.call("POST", f"{key_path('a-mac-key')}/mac", {"message": base64_text(MESSAGE)})
        own = hmac.HMAC(key, hashes.SHA256())
        own.update(MESSAGE)
        own.verify(unbase64(answer["mac"]))

    def test_a_registered_file_serves_openssl_and_aegis_alike(self):
        self.genpkey("payments.pem", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        self.register("payments", "payments.pem", "ECDSA-P256")
        signature, _, _ = self.aegis.sign("payments", MESSAGE)
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            (scratch / "message").write_bytes(MESSAGE)
            (scratch / "by-aegis").write_bytes(signature)
            private = self.stick / "payments.pem"
            openssl("pkey", "-in", private, "-pubout", "-out", scratch / "public.pem")
            openssl("dgst", "-sha256", "-verify", scratch / "public.pem", "-signature", scratch / "by-aegis", scratch / "message")
            openssl("dgst", "-sha256", "-sign", private, "-out", scratch / "by-openssl", scratch / "message")
            self.assertTrue(self.aegis.verify("payments", MESSAGE, (scratch / "by-openssl").read_bytes()))

    def test_oaep_with_a_registered_file_is_openssls(self):
        self.genpkey("archive.pem", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        self.register("archive", "archive.pem", "RSA-2048-OAEP-SHA256")
        body = {"plaintext": base64_text(MESSAGE)}
        ciphertext = self.aegis.call("POST", f"{key_path('archive')}/encrypt", body)["ciphertext"]
        oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256"]
        private = ["-inkey", self.stick / "archive.pem"]
        opened = openssl("pkeyutl", "-decrypt", *private, *oaep, stdin=unbase64(ciphertext))
        self.assertEqual(opened, MESSAGE)
        sealed = openssl("pkeyutl", "-encrypt", *private, *oaep, stdin=MESSAGE)
        answer = self.aegis.call("POST", f"{key_path('archive')}/decrypt", {"ciphertext": base64_text(sealed)})
        self.assertEqual(unbase64(answer["plaintext"]), MESSAGE)

    def test_what_aegis_makes_in_the_folder_openssl_reads(self):
        body = {"name": "made-there", "algorithm": "Ed25519", "backend": "stick", "activate": True}
        self.aegis.call("POST", "/v1/keys", body)
        (made,) = self.stick.glob("aegis-*.pem")
        der, _ = self.aegis.public_key("made-there")
        self.assertEqual(openssl("pkey", "-in", made, "-pubout", "-outform", "DER"), der)

    def genpkey(self, name, *arguments):
        openssl("genpkey", *arguments, "-out", self.stick / name)
        (self.stick / name).chmod(0o600)

    def register(self, name, file, algorithm):
        body = {"name": name, "algorithm": algorithm, "backend": "stick", "object": file, "activate": True}
        return self.aegis.call("POST", "/v1/keys/register", body)


def openssl(*arguments, stdin=b""):
    run = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


if __name__ == "__main__":
    unittest.main()
