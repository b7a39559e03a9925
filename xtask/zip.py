"""zip.py PROGRAM ZIP: a Lambda function's zip. The same program makes the same zip, so that Terraform sees a change where
there is one."""

import shutil
import subprocess
import sys
import tempfile
import zipfile


def stripped(program):
    """Without names, where there is a tool for it: less to load."""
    if shutil.which("strip") is None:
        with open(program, "rb") as file:
            return file.read()
    with tempfile.NamedTemporaryFile() as made:
        subprocess.run(["strip", "-o", made.name, program], check=True)
        return made.read()


def main(program, path):
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    entry.external_attr = 0o100755 << 16
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(entry, stripped(program), compresslevel=9)


if __name__ == "__main__":
    main(*sys.argv[1:])
