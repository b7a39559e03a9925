"""zip.py PROGRAM ZIP: a Lambda function's zip. The same program makes the same zip, so that Terraform sees a change where
there is one."""

import sys
import zipfile


def main(program, path):
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    entry.external_attr = 0o100755 << 16
    with open(program, "rb") as file, zipfile.ZipFile(path, "w") as made:
        made.writestr(entry, file.read(), compresslevel=9)


if __name__ == "__main__":
    main(*sys.argv[1:])
