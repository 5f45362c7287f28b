"""Each file that declares a dataset as three assets: its cohort, its samples and the dataset.

`tcia_assets.datasets` does the work. It is imported when a run starts, because it needs numpy and
pydicom: without these optional dependencies all other assets still load.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs import dataset_metadata as metadata
from tcia_assets.defs.checks import check_result, check_specs
from tcia_assets.defs.dataset_files import DatasetFile
from tcia_assets.defs.events import Results
from tcia_assets.defs.jobs import Job, asset_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import resource_of
from tcia_assets.progress import report
from tcia_assets.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

    from tcia_assets.datasets.cohort import Cohort
    from tcia_assets.datasets.declaration import Declaration

_CODE_VERSION = "1"
_UPSTREAM = (catalog.SERIES, catalog.IMAGE_ARCHIVES, catalog.IMAGES, catalog.REFERENCES)
_MOST_SHOWN = 20

AS_FROZEN, LICENSES, NO_LEAKS, QUALITY, FILES = (
    "as_frozen",
    "licences_as_frozen",
    "no_leaks",
    "samples_good",
    "files_verified",
)
_COHORT_CHECKS = {
    AS_FROZEN: "The cohort query still returns the Series of the frozen cohort.",
    LICENSES: "Each Series of the cohort has the licence that it had when the cohort was frozen.",
}
_SAMPLE_CHECKS = {
    NO_LEAKS: "No Patient, Study, frame of reference or pixels of kept samples are in two splits.",
    QUALITY: "No sample is dropped, and no finding fails the dataset. Lists all findings.",
}
_LICENSES_CHANGED = """
    SELECT SeriesInstanceUID, c.LicenseName AS frozen, s.LicenseName AS now
    FROM cohort_series AS c JOIN series AS s USING (SeriesInstanceUID)
    WHERE c.LicenseName IS DISTINCT FROM s.LicenseName ORDER BY ALL
"""


class CohortConfig(dg.Config):
    """Configuration of the cohort in a run."""

    locked: bool = False
    """Use the frozen cohort without running its query."""
    update: bool = False
    """Freeze the cohort again if its query now returns something else."""
    lock: str = ""
    """Path of a lock file: freeze the cohort that it holds, without running the query."""


class SamplesConfig(dg.Config):
    """Configuration of the samples in a run."""

    workers: int = 0
    """Processes that make samples; 0 for one for each core. Each holds one sample in memory."""


def assets(files: Sequence[DatasetFile]) -> list[dg.AssetsDefinition]:
    """Return three assets for each file."""
    return [make(file) for file in files for make in (_cohort, _samples, _dataset)]


def checks(files: Sequence[DatasetFile]) -> list[dg.AssetChecksDefinition]:
    """Return the check that reads all files of a version; it takes long, so it runs by itself."""
    return [_files_verified(file) for file in files]


def dataset_job(names: Names, name: str) -> str:
    """Return the name of the job that builds a dataset."""
    return names.of(f"dataset_{name}")


def jobs(files: Sequence[DatasetFile]) -> list[Job]:
    """Return, for each file, the job that builds its dataset."""
    return [
        asset_job(
            dataset_job(file.names, file.name),
            [file.key(part) for part in ("cohort", "samples", "dataset")],
            f"Builds the dataset {file.name}: cohort, samples, files.",
        )
        for file in files
    ]


# --- The cohort -----------------------------------------------------------------------------------


def _cohort(file: DatasetFile) -> dg.AssetsDefinition:
    key = file.key("cohort")
    about = "Its cohort: the Series that it is made of, frozen, with their licences and hashes."
    upstream = [file.names.key(table) for table in _UPSTREAM]

    @_asset(file, "cohort", about, {"json"}, upstream, _COHORT_CHECKS)
    def cohort(context: dg.AssetExecutionContext, config: CohortConfig) -> Results:
        """Query the Series of the dataset, and freeze them."""
        declaration, warehouse = file.load(), resource_of(context, file.names).warehouse
        frozen, lock, changes = _freeze(declaration, warehouse, config)
        yield dg.MaterializeResult(
            asset_key=key, metadata=metadata.cohort_facts(frozen, lock, changes)
        )
        yield _check_as_frozen(key, changes, is_updated=config.update)
        yield _check_licenses(key, frozen, warehouse)

    return cohort


def _freeze(
    declaration: "Declaration", warehouse: Warehouse, config: CohortConfig
) -> tuple["Cohort", Path, object]:
    """Return the frozen cohort, the path of its lock file, and what its query changes in it."""
    from tcia_assets.datasets import cohort_lock  # noqa: PLC0415 - see above
    from tcia_assets.datasets.cohort_diff import CohortDiff  # noqa: PLC0415

    path = cohort_lock.cohort_lock_path(warehouse, declaration.name)
    if config.locked or config.lock:
        given = Path(config.lock) if config.lock else path
        frozen = cohort_lock.load_cohort(declaration, warehouse, given)
        cohort_lock.write_lock(frozen, path)
        return frozen, path, CohortDiff()
    frozen, changes = cohort_lock.freeze_cohort(declaration, warehouse, path, update=config.update)
    return frozen, path, changes


def _check_as_frozen(key: dg.AssetKey, changes: object, *, is_updated: bool) -> dg.AssetCheckResult:
    is_same = not changes or is_updated
    advice = "" if is_same else "--update accepts the changes, --locked ignores them"
    shown = metadata.code_block(str(changes))
    return check_result(key, AS_FROZEN, passed=is_same, description=advice, changes=shown)


def _check_licenses(
    key: dg.AssetKey, cohort: "Cohort", warehouse: Warehouse
) -> dg.AssetCheckResult:
    rows = warehouse.query(_LICENSES_CHANGED, tables={"cohort_series": cohort.series})
    examples = metadata.table(metadata.as_texts(rows.slice(0, _MOST_SHOWN)))
    facts = {"otherwise": rows.num_rows, "examples": examples}
    return check_result(key, LICENSES, passed=not rows.num_rows, is_error=True, **facts)


# --- The samples ----------------------------------------------------------------------------------


def _samples(file: DatasetFile) -> dg.AssetsDefinition:
    key = file.key("samples")
    about = "Its samples: volumes and labels, each with its findings, its Patient and its split."

    @_asset(file, "samples", about, {"parquet", "nifti"}, [file.key("cohort")], _SAMPLE_CHECKS)
    def samples(context: dg.AssetExecutionContext, config: SamplesConfig) -> Results:
        """Make the samples of the frozen cohort that do not exist yet."""
        declaration, warehouse = file.load(), resource_of(context, file.names).warehouse
        from tcia_assets.datasets import build  # noqa: PLC0415 - see above

        frozen = _load_frozen(declaration, warehouse)
        workers = config.workers or None
        made = build.make_samples(
            declaration, frozen, warehouse, report=_report_samples, workers=workers
        )
        findings = [
            {"code": code, "policy": policy, "samples": count}
            for (code, policy), count in made.tally.items()
        ]
        facts = {
            **metadata.sample_counts(made.samples),
            "dagster/column_schema": metadata.column_schema(made.samples.schema),
            "made": made.made,
            "made_before": made.reused,
            "findings": metadata.table(findings),
        }
        yield dg.MaterializeResult(asset_key=key, metadata=facts)
        yield _check_leaks(key, [str(leak) for leak in made.leaks(declaration)])
        yield _check_quality(key, made.samples, findings)

    return samples


def _check_leaks(key: dg.AssetKey, leaks: list[str]) -> dg.AssetCheckResult:
    text = "; ".join(leaks[:_MOST_SHOWN])
    return check_result(
        key, NO_LEAKS, passed=not leaks, is_error=True, description=text, leaks=len(leaks)
    )


def _check_quality(
    key: dg.AssetKey, samples: "pa.Table", findings: list[dict[str, Any]]
) -> dg.AssetCheckResult:
    dropped = samples["state"].to_pylist().count("dropped")
    is_failing = any(row["policy"] == "fail" for row in findings)
    is_good = not (dropped or is_failing)
    facts = {"dropped": dropped, "samples": samples.num_rows, "tally": metadata.table(findings)}
    return check_result(key, QUALITY, passed=is_good, is_error=is_failing, **facts)


# --- The dataset ----------------------------------------------------------------------------------


def _dataset(file: DatasetFile) -> dg.AssetsDefinition:
    key = file.key("dataset")
    about = "A version of it: files in the declared formats, with a card and a lock file."

    @_asset(file, "dataset", about, {"nifti", "parquet"}, [file.key("samples")], {})
    def dataset(context: dg.AssetExecutionContext) -> Results:
        """Write the samples of the frozen cohort as a version, named by its content."""
        declaration, warehouse = file.load(), resource_of(context, file.names).warehouse
        from tcia_assets.datasets import build  # noqa: PLC0415 - see above

        frozen = _load_frozen(declaration, warehouse)
        built = build.build(declaration, frozen, warehouse, report=_report_samples)
        facts = metadata.version_facts(built.version, built.samples)
        yield dg.MaterializeResult(
            asset_key=key, metadata=facts, data_version=dg.DataVersion(built.version.version)
        )

    return dataset


def _files_verified(file: DatasetFile) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=FILES,
        asset=file.key("dataset"),
        description="Each file of the latest version has the SHA-256 of its lock file; no others.",
        required_resource_keys={file.names.resource},
        **file.names.step_options("datasets"),
    )
    def files_verified(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        declaration = file.load()
        from tcia_assets.datasets import versions  # noqa: PLC0415 - see above

        root = getattr(context.resources, file.names.resource).warehouse.root
        version = versions.find(root, declaration.name)
        verified = versions.verify(version)
        return dg.AssetCheckResult(
            passed=not verified.problems,
            description="; ".join(verified.problems[:_MOST_SHOWN]),
            metadata={"version": version.version, "files": verified.files, "bytes": verified.bytes},
        )

    return files_verified


# --- Shared by the three --------------------------------------------------------------------------


def _asset(
    file: DatasetFile,
    part: str,
    about: str,
    kinds: set[str],
    deps: list[dg.AssetKey],
    checks: dict[str, str],
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Return the decorator of the step that makes one of a file's assets, with these checks."""
    spec = dg.AssetSpec(
        file.key(part),
        deps=deps,
        description=f"{file.title}. {about}",
        group_name=file.names.group_of("datasets"),
        owners=list(file.names.owners),
        kinds=kinds,
        code_version=_CODE_VERSION,
        metadata={"declaration": dg.MetadataValue.path(str(file.path))},
    )
    return dg.multi_asset(
        name=file.op(part),
        specs=[spec],
        check_specs=check_specs(spec.key, checks),
        required_resource_keys={file.names.resource},
        **file.names.step_options("datasets"),
    )


def _load_frozen(declaration: "Declaration", warehouse: Warehouse) -> "Cohort":
    from tcia_assets.datasets import cohort_lock  # noqa: PLC0415 - see above

    path = cohort_lock.cohort_lock_path(warehouse, declaration.name)
    return cohort_lock.load_cohort(declaration, warehouse, path)


def _report_samples(done: int, total: int) -> None:
    report(done, total, "samples")
