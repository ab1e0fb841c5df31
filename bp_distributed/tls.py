# SPDX-License-Identifier: BSD-3-Clause
"""Keys of one driving session: scheduler, workers and client know each other by a certificate of our own.

The authority's own key is forgotten as soon as it has signed, so nobody can make a second certificate.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed.security import Security

from bp_distributed import durable
from bp_distributed.errors import StoreError

FOLDER = "tls"
CA_FILE, CERTIFICATE_FILE, KEY_FILE = "ca.pem", "certificate.pem", "key.pem"
LIFE = dt.timedelta(days=30)
BACKDATED = dt.timedelta(hours=24)
"""Clocks of login and compute nodes differ; a certificate from the future is refused with a misleading message."""
WARNING = dt.timedelta(days=3)


def make_keys(root: Path, epoch: int) -> Path:
    """Write the keys of a driving session, 0600 in a 0700 folder, and drop those of earlier ones.

    Parameters
    ----------
    root : Path
        Campaign folder; workers read the keys there.
    epoch : int
        Of the driver's lock.

    Returns
    -------
    Path
        Folder of the three files.
    """
    for earlier in (root / FOLDER).glob("*"):
        shutil.rmtree(earlier, ignore_errors=True)
    folder = durable.make_private_dir(durable.make_private_dir(root / FOLDER) / str(epoch))
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", authority_key.public_key(), "authority", authority_key, authority_key)
    certificate = _certificate("session", key.public_key(), "authority", authority_key, None)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for name, content in (
        (CA_FILE, authority.public_bytes(serialization.Encoding.PEM)),
        (CERTIFICATE_FILE, certificate.public_bytes(serialization.Encoding.PEM)),
        (KEY_FILE, text),
    ):
        durable.write_new(folder / name, content)
    return folder


def drop_keys(root: Path, epoch: int) -> None:
    """Remove the keys of a driving session; a driver that took over has its own."""
    shutil.rmtree(root / FOLDER / str(epoch), ignore_errors=True)
    with suppress(OSError):
        (root / FOLDER).rmdir()


def security(folder: Path) -> Security:
    """Return Dask's security settings for the keys in ``folder``; plain connections are refused.

    Raises
    ------
    StoreError
        If somebody else may read or owns the key.
    """
    key = folder / KEY_FILE
    facts = key.stat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077 or folder.stat().st_mode & 0o077:
        raise StoreError(str(key), "must belong to you alone (mode 0600 in a folder of mode 0700); run 'bpd run' again")
    role: dict[str, Any] = {}
    for name in ("scheduler", "worker", "client"):
        role[f"tls_{name}_key"], role[f"tls_{name}_cert"] = str(key), str(folder / CERTIFICATE_FILE)
    role |= {"tls_ca_file": str(folder / CA_FILE), "require_encryption": True}
    return Security(**role)  # type: ignore[no-untyped-call]


def time_left(folder: Path) -> dt.timedelta:
    """Return how long the certificate is still good."""
    certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE_FILE).read_bytes())
    return certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    authority_key: ec.EllipticCurvePrivateKey | None,
) -> x509.Certificate:
    """Return a certificate; ``authority_key`` is given for the authority itself."""
    now, is_authority = dt.datetime.now(dt.UTC), authority_key is not None
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"bp_distributed {subject}")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"bp_distributed {issuer}")]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
