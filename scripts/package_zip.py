"""Packs FOLDER/NAME/bootstrap into FOLDER/NAME.zip, the same bytes for the same file: usage package_zip.py FOLDER NAME..."""

import re
import sys
import zipfile
from pathlib import Path

GLIBC_MINOR = 34  # of provided.al2023

folder = Path(sys.argv[1])
for name in sorted(sys.argv[2:]):
    binary = (folder / name / "bootstrap").read_bytes()
    needed = max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)\b", binary)), default=0)
    if needed > GLIBC_MINOR:
        sys.exit(f"package: {name} needs glibc 2.{needed}, provided.al2023 has 2.{GLIBC_MINOR}; build on an older system or with cargo-zigbuild")
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, whatever this machine is: the mode below counts
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as package:
        package.writestr(entry, binary, compresslevel=6)
