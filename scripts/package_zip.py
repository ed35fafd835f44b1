"""Packs FOLDER/NAME/bootstrap into FOLDER/NAME.zip, the same bytes for the same file: usage package_zip.py FOLDER NAME..."""

import sys
import zipfile
from pathlib import Path

folder = Path(sys.argv[1])
for name in sorted(sys.argv[2:]):
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, whatever this machine is: the mode below counts
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as package:
        package.writestr(entry, (folder / name / "bootstrap").read_bytes(), compresslevel=6)
