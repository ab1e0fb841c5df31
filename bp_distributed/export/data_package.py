# SPDX-License-Identifier: BSD-3-Clause
"""A campaign as a data package: what a repository with a DOI takes, and a stranger can check and use.

The folder is a Frictionless Data Package (https://specs.frictionlessdata.io/data-package/): ``datapackage.json``
names every file of data with size and sha256, and every column of the tables with type and unit.  Beside it lie
``CITATION.cff``, a README, the licence, and ``checksums.sha256`` for ``sha256sum -c``.  The potential file belongs to
others and stays out; its name and sha256 are in ``provenance.json``.  Equal data give equal bytes.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bp_distributed import durable
from bp_distributed.errors import StoreError
from bp_distributed.export.metadata import LICENCES, Creator, Metadata
from bp_distributed.export.outlet import write_into
from bp_distributed.export.tables import Description
from bp_distributed.export.whole import PACKAGE_NAME, whole
from bp_distributed.physics.potential import EAMPotential

if TYPE_CHECKING:
    import xarray as xr

CHECKSUMS_NAME = "checksums.sha256"
_UNIX, _CHUNK, _FEW = 3, 1 << 20, 3
SOURCES = (
    ("Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023)", "https://doi.org/10.1103/PhysRevResearch.5.023113"),
    ("Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022)", "https://doi.org/10.1103/PhysRevB.105.014204"),
)
"""Whose quantities these are."""
_MEDIA = {".nc": "application/x-netcdf", ".csv": "text/csv", ".xyz": "chemical/x-xyz"}
"""Type by suffix of what counts as data; ``datapackage.json`` lists these, the checksums all files."""


@dataclass(frozen=True)
class Origin:
    """Where the data come from.

    Attributes
    ----------
    config : dict
        The resolved configuration; paths of this machine are taken out of the package.
    campaign_uuid, plan_sha256 : str
    potential_name, potential_sha256 : str
    structures : dict
        sha256 of the file by label, of samples made elsewhere.
    versions : dict
        Of the programs, when the campaign was planned.
    """

    config: dict[str, Any]
    campaign_uuid: str
    plan_sha256: str
    potential_name: str
    potential_sha256: str
    structures: Mapping[str, str]
    versions: Mapping[str, str]

    @property
    def public_config(self) -> dict[str, Any]:
        """The configuration with names in place of paths, which say more of a machine than of the data."""
        potential = self.config["potential"]
        if potential != "default":
            potential = {"name": self.potential_name, "sha256": self.potential_sha256}
        samples = [
            {**block, "structures": [Path(name).name for name in block["structures"]]}
            if "structures" in block
            else block
            for block in self.config["samples"]
        ]
        return {**self.config, "potential": potential, "samples": samples}


def write_package(
    dataset: xr.Dataset,
    potential: EAMPotential,
    origin: Origin,
    metadata: Metadata,
    target: Path,
    advance: Callable[[], object] = lambda: None,
) -> Path:
    """Write a data package, and return it.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :mod:`bp_distributed.gather`; all of it goes in.
    potential : EAMPotential
        For the dataset's elements, in its order.
    origin : Origin
    metadata : Metadata
    target : Path
        A folder, or a file ``*.zip``; appears whole or not at all.  An earlier export there is replaced.
    advance : callable
        Called after each sample that has a structure, for a bar.

    Raises
    ------
    StoreError
        If ``target`` is something else.
    """
    if target.suffix != ".zip":
        with whole(target) as folder:
            _fill(folder, dataset, potential, origin, metadata, advance)
        return target
    if target.exists():
        raise StoreError(str(target), "is there already; remove it, or choose another place with --out")
    durable.make_private_dir(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        folder = Path(name) / _slug(metadata.title)
        folder.mkdir()
        _fill(folder, dataset, potential, origin, metadata, advance)
        packed = Path(name) / "packed.zip"
        _pack(folder, packed, metadata)
        packed.replace(target)
    return target


def _fill(
    folder: Path,
    dataset: xr.Dataset,
    potential: EAMPotential,
    origin: Origin,
    metadata: Metadata,
    advance: Callable[[], object],
) -> None:
    from bp_distributed.gather import write_dataset  # noqa: PLC0415 - xarray takes half a second

    meanings = write_into(folder, dataset, potential, range(dataset.sizes["sample"]), ("xyz", "csv"), advance)
    write_dataset(dataset.assign_attrs(_attributes(origin, metadata)), folder / "dataset.nc")
    texts = {
        "campaign.yaml": yaml.safe_dump(origin.public_config, sort_keys=False, allow_unicode=True),
        "provenance.json": _json(_provenance(origin)),
        "LICENSE.md": _licence(metadata, origin),
        "CITATION.cff": yaml.safe_dump(_citation(metadata), sort_keys=False, allow_unicode=True),
        "README.md": _readme(dataset, origin, metadata),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / PACKAGE_NAME).write_text(_json(_descriptor(folder, metadata, meanings)), encoding="utf-8")
    lines = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
    (folder / CHECKSUMS_NAME).write_text("".join(lines), encoding="utf-8")


def _pack(folder: Path, target: Path, metadata: Metadata) -> None:
    """Write a zip file whose bytes depend on names and contents alone."""
    year, month, day = (int(part) for part in metadata.date.split("-"))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            entry = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", (year, month, day, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            entry.create_system = _UNIX
            with path.open("rb") as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed, _CHUNK)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    return durable.digest_of(path)[1]


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._") or "data"


# ---- what the files say -----------------------------------------------------------------------------------------------


def _attributes(origin: Origin, metadata: Metadata) -> dict[str, str]:
    """Return the netCDF file's global attributes that a package settles (ACDD 1.3)."""
    return {
        "title": metadata.title,
        "license": f"{LICENCES[metadata.licence][0]}, {LICENCES[metadata.licence][1]}",
        "creator_name": "; ".join(creator.name for creator in metadata.creators),
        "product_version": metadata.version,
        "bp_config": json.dumps(origin.public_config, sort_keys=True),
    }


def _provenance(origin: Origin) -> dict[str, Any]:
    return {
        "campaign_uuid": origin.campaign_uuid,
        "plan_sha256": origin.plan_sha256,
        "potential": {"name": origin.potential_name, "sha256": origin.potential_sha256, "included": False},
        "structures_sha256": dict(origin.structures),
        "versions": dict(origin.versions),
    }


def _descriptor(folder: Path, metadata: Metadata, tables: Mapping[str, Description]) -> dict[str, Any]:
    """Return ``datapackage.json``."""
    data = [path for path in _files(folder) if path.suffix in _MEDIA]
    title, address = LICENCES[metadata.licence]
    described = {
        "profile": "data-package",
        "name": _slug(metadata.title),
        "title": metadata.title,
        "description": metadata.description,
        "version": metadata.version,
        "created": f"{metadata.date}T00:00:00Z",
        "keywords": list(metadata.keywords),
        "licenses": [{"name": metadata.licence, "title": title, "path": address}],
        "contributors": [_contributor(creator) for creator in metadata.creators],
        "sources": [{"title": title, "path": address} for title, address in SOURCES],
        "resources": [_resource(path, path.relative_to(folder).as_posix(), tables) for path in data],
    }
    return {key: value for key, value in described.items() if value}


def _contributor(creator: Creator) -> dict[str, str]:
    found = {
        "title": creator.name,
        "role": "author",
        "organization": creator.affiliation,
        "path": creator.orcid and f"https://orcid.org/{creator.orcid}",
    }
    return {key: value for key, value in found.items() if value}


def _resource(path: Path, name: str, tables: Mapping[str, Description]) -> dict[str, Any]:
    size, sha256 = durable.digest_of(path)
    resource: dict[str, Any] = {
        "name": _slug(name.replace("/", "-")),
        "path": name,
        "format": path.suffix[1:],
        "mediatype": _MEDIA[path.suffix],
        "bytes": size,
        "hash": f"sha256:{sha256}",
    }
    if path.suffix != ".csv":
        return resource
    fields = [
        {"name": column, "type": about["type"], "unit": about["units"], "description": about["description"]}
        for column, about in tables[path.stem].items()
    ]
    table = {"profile": "tabular-data-resource", "encoding": "utf-8"}
    return resource | table | {"schema": {"fields": fields, "missingValues": [""]}}


def _licence(metadata: Metadata, origin: Origin) -> str:
    title, address = LICENCES[metadata.licence]
    return (
        f"{metadata.title}\n\nThese data are licensed under {title} ({metadata.licence}): <{address}>\n\n"
        f"The interatomic potential {origin.potential_name} is not part of them; its authors decide on its use.\n"
    )


def _citation(metadata: Metadata) -> dict[str, Any]:
    """Return ``CITATION.cff``."""
    return {
        "cff-version": "1.2.0",
        "message": "If you use these data, please cite them.",
        "type": "dataset",
        "title": metadata.title,
        "authors": [_author(creator) for creator in metadata.creators],
        "version": metadata.version,
        "date-released": metadata.date,
        "license": metadata.licence,
        "keywords": list(metadata.keywords),
    }


def _author(creator: Creator) -> dict[str, str]:
    family, comma, given = creator.name.partition(",")
    named = {"family-names": family.strip(), "given-names": given.strip()} if comma else {"name": creator.name}
    if creator.affiliation:
        named["affiliation"] = creator.affiliation
    if creator.orcid:
        named["orcid"] = f"https://orcid.org/{creator.orcid}"
    return named


def _readme(dataset: xr.Dataset, origin: Origin, metadata: Metadata) -> str:
    accepted = dataset["accepted"].to_numpy()
    sizes = sorted(set(dataset["n_atoms"].to_numpy().tolist()))
    elements = "-".join(str(element) for element in dataset["element"].to_numpy())
    about = f"{metadata.description.strip()}\n\n" if metadata.description.strip() else ""
    return _README.format(
        title=metadata.title, about=about, samples=len(accepted), elements=elements,
        atoms=" or ".join(map(str, sizes)) if len(sizes) <= _FEW else f"{sizes[0]} to {sizes[-1]}",
        accepted=int((accepted == 1).sum()), rejected=int((accepted == 0).sum()),
        unfinished=int((accepted == -1).sum()), potential=origin.potential_name, sha256=origin.potential_sha256,
        program=f"bp_distributed {origin.versions.get('bp_distributed', '')}".strip(),
        lammps=f"LAMMPS {origin.versions.get('lammps', '')}".strip(), licence=metadata.licence,
    )  # fmt: skip


_README = """\
# {title}

{about}{samples} samples of {elements} glass of {atoms} atoms: {accepted} accepted, {rejected} rejected for a stated reason (such
as no boson peak in the sense of the papers), {unfinished} without a vibrational spectrum.

| file | what it holds |
|---|---|
| `dataset.nc` | everything, as netCDF 4 with units and meanings; atoms lie one sample after another (CF ragged arrays) |
| `tables/samples.csv` | one row per sample |
| `tables/atoms.csv` | one row per atom |
| `structures/*.xyz` | one inherent structure each, extended XYZ with the atoms' quantities as columns; OVITO and ASE open it |
| `columns.json` | type, unit and meaning of every column |
| `campaign.yaml` | the configuration the data were computed with |
| `provenance.json` | identity of campaign and plan, checksums of potential and given structures, versions of programs |
| `datapackage.json` | the data for machines (Frictionless Data Package): files with sizes and checksums, columns with units |
| `CITATION.cff`, `LICENSE.md` | how to cite, and what is allowed |
| `checksums.sha256` | `sha256sum -c checksums.sha256` proves that nothing was altered |

Units are those of LAMMPS's "metal" style: angstrom, eV, ps. Frequencies are angular, in rad/ps, which the papers named in
`datapackage.json` print as THz; 1e-6 ps3 of a boson-peak intensity is their µTHz⁻³. An empty field of a table, `nan` in a
structure and NaN in the netCDF file all mean: not known.

Computed by {program} and {lammps} with the potential `{potential}`, which belongs to its authors and is not included
(sha256 `{sha256}`). The program computes the data again from `campaign.yaml`, that file and the structures that were given.

Licence: {licence}.
"""
