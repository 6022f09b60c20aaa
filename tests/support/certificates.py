"""Certificates beyond those of deploy/make_certificates.sh: of any span of time, signed by its CA or by another."""

import pathlib
import subprocess
import tempfile
import time

MAKE = pathlib.Path(__file__).resolve().parents[2] / "deploy/make_certificates.sh"
DAY_S = 24 * 3600
CONFIG = """
[ca]
default_ca = any
[any]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = name
x509_extensions = extensions
unique_subject = no
[name]
commonName = supplied
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = %s
"""


def make(folder):
    """A CA and certificates of service, bridge, operator and reader."""
    subprocess.run([MAKE, folder], check=True, stdout=subprocess.DEVNULL)


def sign(certs, key, common_name, begin_day, end_day, out, alternative_name="DNS:localhost,IP:127.0.0.1"):
    """Writes to `out` a certificate for `key`, by the CA in the folder `certs`, valid between these days from today."""
    span = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + day * DAY_S)) for day in (begin_day, end_day)]
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        (work / "index.txt").touch()
        (work / "config").write_text(CONFIG % alternative_name)
        for command in (["req", "-new", "-key", key, "-subj", f"/CN={common_name}", "-out", "request"],
                        ["ca", "-batch", "-notext", "-config", "config", "-in", "request", "-out", out, "-cert",
                         certs / "ca.crt", "-keyfile", certs / "ca.key", "-startdate", span[0], "-enddate", span[1]]):
            subprocess.run(["openssl", *command], check=True, capture_output=True, cwd=work)
    return out
