"""The datasets that files declare, as assets: for each, its cohort, its samples, and itself.

What belongs here: file -> assets, runs around `dataset`, their events and checks. What does not:
what a dataset is. All of that is imported when a run starts: it needs numpy and pydicom, and who
has not installed these still has all other assets. A file is read when a run starts, too: so a
broken one breaks its own runs, and says so there.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from tcia_assets import catalog
from tcia_assets.defs.events import Results
from tcia_assets.defs.jobs import Job
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import resource_of
from tcia_assets.errors import TciaError, UsageError
from tcia_assets.progress import report
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse

if TYPE_CHECKING:
    from tcia_assets.datasets.cohort import Cohort
    from tcia_assets.datasets.declaration import Declaration
    from tcia_assets.datasets.versions import Version

_CODE_VERSION = "1"
_UPSTREAM = (catalog.SERIES, catalog.IMAGE_ARCHIVES, catalog.IMAGES, catalog.REFERENCES)
_MOST_SHOWN = 20
_LONGEST_CARD = 50_000

AS_FROZEN, LICENSES, NO_LEAKS, QUALITY, FILES = (
    "as_frozen",
    "licences_as_frozen",
    "no_leaks",
    "samples_good",
    "files_verified",
)
_COHORT_CHECKS = {
    AS_FROZEN: "If it were asked for now, the cohort would be the one that is frozen.",
    LICENSES: "Each Series of the cohort has the licence that it had when the cohort was frozen.",
}
_SAMPLE_CHECKS = {
    NO_LEAKS: "No Patient, Study, frame of reference or pixels of kept samples lie in two parts.",
    QUALITY: "No sample is dropped, and none has a finding that fails the dataset; with the tally.",
}


class CohortConfig(dg.Config):
    """What a run may be told of the cohort."""

    locked: bool = False
    """Take the cohort that is frozen, and do not ask again."""
    update: bool = False
    """Freeze the cohort anew, if it is another one by now."""
    lock: str = ""
    """A lock file that is kept elsewhere: freeze what it holds, and do not ask."""


@dataclass(frozen=True)
class _Source:
    """A file that declares a dataset, and what that is called here."""

    path: Path
    name: str
    names: Names

    def key(self, what: str) -> dg.AssetKey:
        return self.names.key(f"{self.name}_{what}")

    def op(self, what: str) -> str:
        return self.names.of(f"{self.name}_{what}")

    @property
    def about(self) -> str:
        """Its title, or what is wrong with it."""
        try:
            from tcia_assets.datasets.declaration import load_declaration  # noqa: PLC0415 - see above

            return load_declaration(self.path).title
        except TciaError as error:
            return f"{self.path.name} cannot be used: {error}"

    @property
    def declared(self) -> "Declaration":
        """Raises BadDeclaration, or MissingExtra."""
        from tcia_assets.datasets.declaration import load_declaration  # noqa: PLC0415 - see above

        return load_declaration(self.path)


def folder_of(chosen: str | Path | None) -> Path | None:
    """Where files declare datasets: as chosen, or TCIA_DATASETS_DIR, or `datasets`; None: nowhere.

    Raises:
        UsageError: a folder is named that is not there.
    """
    if chosen is not None and not str(chosen):
        return None
    default: str = Settings.model_fields["datasets_dir"].default
    # This alone: what else is set matters, and may be wrong, only when a run starts.
    named = str(chosen or os.environ.get("TCIA_DATASETS_DIR", "").strip() or default)
    folder = Path(named).absolute()
    if folder.is_dir():
        return folder
    if named == default:
        return None
    raise UsageError(f"there is no folder {named!r} of datasets (TCIA_DATASETS_DIR)")


def sources(names: Names, folder: Path | None) -> list[_Source]:
    """The files of a folder, each with a name that Dagster takes and no other has."""
    found: dict[str, _Source] = {}
    paths = sorted(folder.glob("*.yaml")) if folder else []
    # Those that need another name come last, so that they take nobody's.
    for path in sorted(paths, key=lambda path: (_fit(path.stem) != path.stem, path.stem)):
        name = _fit(path.stem)
        while name in found:
            name += "_"
        found[name] = _Source(path, name, names)
    return list(found.values())


def _fit(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", stem)


def assets(chosen: Sequence[_Source]) -> list[dg.AssetsDefinition]:
    """Three assets for each file."""
    made = (_cohort, _samples, _dataset)
    return [make(source) for source in chosen for make in made]


def checks(chosen: Sequence[_Source]) -> list[dg.AssetChecksDefinition]:
    """The check that reads files, which may take long; so it can be run by itself."""
    return [_files_verified(source) for source in chosen]


def dataset_job(names: Names, name: str) -> str:
    return names.of(f"dataset_{name}")


def jobs(chosen: Sequence[_Source]) -> list[Job]:
    """A job for each file, that builds its dataset."""
    return [
        dg.define_asset_job(
            dataset_job(source.names, source.name),
            selection=dg.AssetSelection.assets(
                *(source.key(what) for what in ("cohort", "samples", "dataset"))
            ),
            description=f"Builds the dataset {source.name}: cohort, samples, files.",
            executor_def=dg.in_process_executor,
            tags={"tcia": dataset_job(source.names, source.name)},
        )
        for source in chosen
    ]


# --- The cohort -----------------------------------------------------------------------------------


def _cohort(source: _Source) -> dg.AssetsDefinition:
    key = source.key("cohort")
    about = "Its cohort: the Series that it is made of, frozen, with their licences and hashes."

    @dg.multi_asset(
        name=source.op("cohort"),
        specs=[_spec(source, "cohort", about, {"json"}, [source.names.key(t) for t in _UPSTREAM])],
        check_specs=_check_specs(key, _COHORT_CHECKS),
        required_resource_keys={source.names.resource},
    )
    def cohort(context: dg.AssetExecutionContext, config: CohortConfig) -> Results:
        """Asks for the Series of the dataset, and freezes them."""
        declared = source.declared
        from tcia_assets.datasets import build, cohort_lock  # noqa: PLC0415 - see above
        from tcia_assets.datasets.cohort import CohortDiff  # noqa: PLC0415

        warehouse = resource_of(context, source.names).warehouse
        lock = build.cohort_lock_path(warehouse, declared.name)
        if config.locked or config.lock:
            frozen = cohort_lock.load_cohort(
                declared, warehouse, Path(config.lock) if config.lock else lock
            )
            cohort_lock.write_lock(frozen, lock)
            changes = CohortDiff()
        else:
            frozen, changes = cohort_lock.freeze_cohort(
                declared, warehouse, lock, update=config.update
            )
        yield dg.MaterializeResult(asset_key=key, metadata=_cohort_facts(frozen, lock, changes))
        is_same = not changes or config.update
        told = "" if is_same else "update it to have them, or lock it to ignore them"
        yield dg.AssetCheckResult(
            passed=is_same,
            check_name=AS_FROZEN,
            asset_key=key,
            severity=dg.AssetCheckSeverity.WARN,
            description=told,
            metadata={"changes": dg.MetadataValue.md(_code(str(changes)))},
        )
        yield _licenses(key, frozen, warehouse)

    return cohort


def _cohort_facts(cohort: "Cohort", lock: Path, changes: object) -> dict[str, Any]:
    series = cohort.series
    roles = Counter(zip(series["role"].to_pylist(), series["state"].to_pylist(), strict=True))
    licenses = Counter(series["LicenseName"].to_pylist())
    return {
        "dagster/row_count": series.num_rows,
        "dagster/uri": str(lock),
        **{f"{role}s_{state}": count for (role, state), count in sorted(roles.items())},
        "pairs": cohort.pairs.num_rows,
        "sha256": cohort.sha256,
        "known_series": cohort.snapshot.series,
        "licences": _table(
            [{"licence": str(name), "series": n} for name, n in licenses.most_common()]
        ),
        "changes_since": dg.MetadataValue.md(_code(str(changes))),
    }


def _licenses(key: dg.AssetKey, cohort: "Cohort", warehouse: Warehouse) -> dg.AssetCheckResult:
    rows = warehouse.query(
        "SELECT SeriesInstanceUID, c.LicenseName AS frozen, s.LicenseName AS now "
        "FROM cohort_series AS c JOIN series AS s USING (SeriesInstanceUID) "
        "WHERE c.LicenseName IS DISTINCT FROM s.LicenseName ORDER BY ALL",
        tables={"cohort_series": cohort.series},
    )
    return dg.AssetCheckResult(
        passed=not rows.num_rows,
        check_name=LICENSES,
        asset_key=key,
        metadata={"otherwise": rows.num_rows, "examples": _table(_first(rows))},
    )


# --- The samples ----------------------------------------------------------------------------------


def _samples(source: _Source) -> dg.AssetsDefinition:
    key = source.key("samples")
    about = "Its samples: volumes and labels, each with what was found, who has it and which part."

    @dg.multi_asset(
        name=source.op("samples"),
        specs=[_spec(source, "samples", about, {"parquet", "nifti"}, [source.key("cohort")])],
        check_specs=_check_specs(key, _SAMPLE_CHECKS),
        required_resource_keys={source.names.resource},
    )
    def samples(context: dg.AssetExecutionContext) -> Results:
        """Makes the samples of the frozen cohort that are not made yet."""
        declared = source.declared
        from tcia_assets.datasets import build  # noqa: PLC0415 - see above

        warehouse = resource_of(context, source.names).warehouse
        frozen = _frozen(declared, warehouse)
        made = build.make_samples(declared, frozen, warehouse, report=_told)
        tally = [
            {"code": code, "policy": policy, "samples": count}
            for (code, policy), count in made.tally.items()
        ]
        facts = {
            **_counts(made.samples),
            "dagster/column_schema": _columns(made.samples.schema),
            "made": made.made,
            "made_before": made.reused,
        }
        yield dg.MaterializeResult(asset_key=key, metadata=facts | {"findings": _table(tally)})
        leaks = [str(leak) for leak in made.leaks(declared)]
        yield dg.AssetCheckResult(
            passed=not leaks,
            check_name=NO_LEAKS,
            asset_key=key,
            description="; ".join(leaks[:_MOST_SHOWN]),
            metadata={"leaks": len(leaks)},
        )
        yield _quality(key, made.samples, tally)

    return samples


def _quality(
    key: dg.AssetKey, samples: pa.Table, tally: list[dict[str, Any]]
) -> dg.AssetCheckResult:
    dropped = samples["state"].to_pylist().count("dropped")
    is_failing = any(row["policy"] == "fail" for row in tally)
    severity = dg.AssetCheckSeverity.ERROR if is_failing else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=not (dropped or is_failing),
        check_name=QUALITY,
        asset_key=key,
        severity=severity,
        metadata={"dropped": dropped, "samples": samples.num_rows, "tally": _table(tally)},
    )


# --- The dataset ----------------------------------------------------------------------------------


def _dataset(source: _Source) -> dg.AssetsDefinition:
    key = source.key("dataset")
    about = "A version of it: files in the formats that are declared, with a card and a lock file."

    @dg.multi_asset(
        name=source.op("dataset"),
        specs=[_spec(source, "dataset", about, {"nifti", "parquet"}, [source.key("samples")])],
        required_resource_keys={source.names.resource},
    )
    def dataset(context: dg.AssetExecutionContext) -> Results:
        """Puts the samples of the frozen cohort together, as a version named by what is in it."""
        declared = source.declared
        from tcia_assets.datasets import build  # noqa: PLC0415 - see above

        warehouse = resource_of(context, source.names).warehouse
        frozen = _frozen(declared, warehouse)
        built = build.build(declared, frozen, warehouse, report=_told)
        facts = _version_facts(built.version) | _counts(built.samples)
        yield dg.MaterializeResult(
            asset_key=key, metadata=facts, data_version=dg.DataVersion(built.version.version)
        )

    return dataset


def _version_facts(version: "Version") -> dict[str, Any]:
    facts: dict[str, Any] = {
        "version": version.version,
        "sha256": version.content["sha256"],
        "dagster/uri": str(version.folder),
        "files": len(version.files),
        "file_bytes": version.bytes,
        "made_with": dg.MetadataValue.json(dict(version.content["made_with"])),
    }
    card = (version.folder / "README.md").read_text(encoding="utf-8")
    facts["card"] = dg.MetadataValue.md(card[:_LONGEST_CARD])
    facts["contact_sheet"] = dg.MetadataValue.path(str(version.folder / "contact_sheet.png"))
    return facts


def _files_verified(source: _Source) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=FILES,
        asset=source.key("dataset"),
        description="Each file of the latest version has the SHA-256 of its lock file; no others.",
        required_resource_keys={source.names.resource},
    )
    def files_verified(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        declared = source.declared
        from tcia_assets.datasets import versions  # noqa: PLC0415 - see above

        root = getattr(context.resources, source.names.resource).warehouse.root
        version = versions.find(root, declared.name)
        found = versions.verify(version)
        return dg.AssetCheckResult(
            passed=not found.problems,
            description="; ".join(found.problems[:_MOST_SHOWN]),
            metadata={"version": version.version, "files": found.files, "bytes": found.bytes},
        )

    return files_verified


# --- What they have in common ---------------------------------------------------------------------


def _spec(
    source: _Source, what: str, about: str, kinds: set[str], deps: list[dg.AssetKey]
) -> dg.AssetSpec:
    return dg.AssetSpec(
        source.key(what),
        deps=deps,
        description=f"{source.about}. {about}",
        group_name=source.names.group,
        owners=list(source.names.owners),
        kinds=kinds,
        code_version=_CODE_VERSION,
        metadata={"declaration": dg.MetadataValue.path(str(source.path))},
    )


def _check_specs(key: dg.AssetKey, about: dict[str, str]) -> list[dg.AssetCheckSpec]:
    return [dg.AssetCheckSpec(name, asset=key, description=said) for name, said in about.items()]


def _frozen(declared: "Declaration", warehouse: Warehouse) -> "Cohort":
    from tcia_assets.datasets import build, cohort_lock  # noqa: PLC0415 - see above

    return cohort_lock.load_cohort(
        declared, warehouse, build.cohort_lock_path(warehouse, declared.name)
    )


def _told(done: int, total: int) -> None:
    report(done, total, "samples")


def _counts(samples: pa.Table) -> dict[str, Any]:
    """Samples by state and, of those that are kept, by part."""
    rows = samples.select(["state", "part", "LicenseName"]).to_pylist()
    kept = [row for row in rows if row["state"] == "kept"]
    parts = Counter(row["part"] for row in kept)
    licenses = Counter(str(row["LicenseName"]) for row in kept)
    return {
        "dagster/row_count": len(rows),
        "kept": len(kept),
        "dropped": len(rows) - len(kept),
        "parts": _table([{"part": name, "samples": n} for name, n in sorted(parts.items())]),
        "licences": _table(
            [{"licence": name, "samples": n} for name, n in sorted(licenses.items())]
        ),
    }


def _columns(schema: pa.Schema) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                str(field.type),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def _table(rows: list[dict[str, Any]]) -> dg.MetadataValue:
    if not rows:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def _first(rows: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.slice(0, _MOST_SHOWN).to_pylist()
    return [{name: str(value) for name, value in row.items()} for row in found]


def _code(text: str) -> str:
    """Lines as they are, in Markdown; the first ones where there are many."""
    lines = text.splitlines()
    more = [f"... and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
    return "\n".join(["```", *lines[:_MOST_SHOWN], *more, "```"])
