"""The parts of the demonstration: from an empty folder to a mirror that Dagster keeps current.

Start the sandbox, refresh all metadata, fetch the images of one Collection, build a dataset for
training, query the warehouse with SQL, simulate a day, mirror the same Collection from the Imaging
Data Commons, and write the mirror as pages. On the day Series are released, there is an outage, and
one Series is revised, one moved and one withdrawn, while Dagster's daemon runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tcia_assets.datasets.loading import load_dataset
from tcia_assets.defs.instance_records import have_runs_ended, last_skip_reason
from tcia_assets.demo.control import change_sandbox, publish_release
from tcia_assets.demo.stage import COLLECTION, DATASET, Stage
from tcia_assets.errors import RunFailed

_SENSOR = "tcia_new_series"
_HELD_BACK = 2
_MOVES = ("Vestibular-Schwannoma-SEG", "Vestibular-Schwannoma-MC-RC")
_WITHDRAWS = "VICTRE"
_SAMPLES = """
    SELECT part, state, count(DISTINCT patient) AS patients, count(*) AS samples,
           list(DISTINCT reason) FILTER (reason IS NOT NULL) AS reasons
    FROM read_parquet('{file}') LEFT JOIN unnest(reasons) AS r(reason) ON true
    GROUP BY part, state ORDER BY part, state
"""
_QUERIES = {
    "What is there?": """
        SELECT Collection, count(DISTINCT PatientID) AS patients, count(*) AS series,
               sum(ImageCount)::BIGINT AS images,
               string_agg(DISTINCT Modality, ' ' ORDER BY Modality) AS modalities
        FROM current_series GROUP BY Collection ORDER BY Collection
    """,
    "Which patients are in two Collections?": """
        SELECT PatientID, list(Collection ORDER BY Collection) AS collections
        FROM patients GROUP BY PatientID HAVING count(*) > 1 ORDER BY PatientID LIMIT 5
    """,
    "Which CT Series on disk have contours or a segmentation in their Study?": """
        SELECT ct.PatientID, ct.ImageCount, other.Modality AS target, a.verified_by
        FROM current_series ct
        JOIN current_series other USING (StudyInstanceUID)
        JOIN image_archives a ON a.SeriesInstanceUID = ct.SeriesInstanceUID
        WHERE ct.Modality = 'CT' AND other.Modality IN ('SEG', 'RTSTRUCT')
          AND a.status = 'complete'
        ORDER BY ALL LIMIT 5
    """,
}


class Story:
    """The demonstration in one folder.

    Args:
        folder: Its data folder; what an earlier demonstration left there is removed.
        write_line: Prints a line; the commands print by themselves.
    """

    def __init__(self, folder: Path, write_line: Callable[[str], None]) -> None:
        self._stage, self._write_line = Stage(folder.absolute()), write_line

    def tell(self) -> None:
        """Run all parts.

        Raises:
            UsageError: The folder holds something else.
            TciaError: A part failed; the folder has the logs.
        """
        stage = self._stage
        stage.clear()
        with stage.sandbox() as url:
            self._heading("1. A local sandbox with TCIA's API", f"It listens at {url}.")
            held = change_sandbox(url, "hold", collection=COLLECTION, count=_HELD_BACK)
            self._heading("2. All its metadata, as Dagster assets", "$ tcia-assets refresh --all")
            stage.run(url, "refresh", "--all")
            self._heading(
                f"3. The images of {COLLECTION}, verified", f"$ tcia-assets fetch {COLLECTION}"
            )
            stage.run(url, "fetch", COLLECTION)
            self._build_dataset(url)
            self._query(url)
            self._watch_a_day(url, held)
            self._mirror_from_idc(url)
            self._heading("8. Pages to look at", "$ tcia-assets catalogue")
            stage.run(url, "catalogue")

    def _build_dataset(self, url: str) -> None:
        """Plan and build the declared dataset from the Series on disk, and show how to use it."""
        self._heading("4. A dataset for training", f"$ tcia-assets dataset plan {DATASET}")
        self._stage.run(url, "dataset", "plan", DATASET)
        self._write_line(f"\n   $ tcia-assets dataset build {DATASET}")
        self._stage.run(url, "dataset", "build", DATASET)
        place = self._stage.folder / "datasets" / DATASET
        self._write_line("\n   Its samples; those whose contours are not released are dropped:")
        samples_file = place / "latest" / "samples.parquet"
        self._stage.run(url, "query", _SAMPLES.format(file=samples_file))
        samples = load_dataset(place, "train")
        sample = samples[0]
        shape = f"{sample.voxels.dtype} {sample.voxels.shape}, z y x"
        for line in (
            "In Python:  from tcia_assets import load_dataset",
            f'            samples = load_dataset("{place}", "train")',
            f"            samples[0].voxels   {shape}",
            f"            samples[0].labels   of {', '.join(samples.labels.values())}",
            f"To look at: {place}/latest/contact_sheet.png, and README.md beside it",
        ):
            self._write_line(f"   {line}")

    def _query(self, url: str) -> None:
        self._heading("5. Queries", "$ tcia-assets query ...")
        for question, sql in _QUERIES.items():
            self._write_line(f"\n   {question}")
            self._stage.run(url, "query", sql)

    # --- A day at the source ----------------------------------------------------------------------

    def _watch_a_day(self, url: str, held: list[str]) -> None:
        self._heading("6. A day at the source, while Dagster's sensor runs", "$ dagster-daemon run")
        began = datetime.now(UTC)
        with self._stage.daemon(url):
            self._release_in_the_morning(url, held)
            self._fail_at_noon(url)
            self._change_in_the_afternoon(url)
        self._write_line("\n   What happened, from the change history:")
        self._stage.run(url, "changes", "--since", f"{began:%Y-%m-%dT%H:%M:%S}")
        self._stage.run(url, "status")

    def _release_in_the_morning(self, url: str, held: list[str]) -> None:
        self._event("In the morning", f"{len(held)} Series of {COLLECTION} are released")
        change_sandbox(url, "release", uids=held)
        self._stage.wait(
            "the sensor's run", lambda: set(held) <= set(self._stage.fetched()), seconds=180
        )
        self._result("the sensor noticed it: they are in the warehouse, and their images on disk")

    def _fail_at_noon(self, url: str) -> None:
        self._event("At noon", "the source is failing, and answers with status 503")
        change_sandbox(url, "faults", kind="status", times=0)
        self._stage.wait(
            "the sensor's skip message",
            lambda: "the source failed" in self._skip_reason(),
            seconds=60,
        )
        self._result(f"the sensor skips its tick: {self._skip_reason().partition(': ')[0]}")
        change_sandbox(url, "faults/clear")

    def _change_in_the_afternoon(self, url: str) -> None:
        stage = self._stage
        self._event(
            "In the afternoon",
            "one Series is revised, one moved and one withdrawn, without a new release date",
        )
        [revised] = change_sandbox(url, "revise", uids=stage.fetched(limit=1))
        [moved] = change_sandbox(url, "move", collection=_MOVES[0], count=1, to=_MOVES[1])
        [withdrawn] = change_sandbox(url, "withdraw", collection=_WITHDRAWS, count=1)
        stage.wait("the sensor's runs", self._is_quiet, seconds=60)
        self._result(
            "only complete listings show it; the schedule tcia_compare requests each once a day.\n"
            "      A Series is withdrawn once three listings lack it and a request for it finds\n"
            "      nothing; until then a note of the check none_missing names it, as it should.\n"
            "      To have three days in a minute, refresh three times now:"
        )
        for _ in range(3):
            self._write_line("   $ tcia-assets refresh --all")
            stage.run(url, "refresh", "--all", quiet=True)
        stage.wait("the new images", lambda: stage.has_event("refetched", revised), seconds=120)
        stage.wait("the end of the day", self._is_quiet, seconds=60)
        for uid, event in ((moved, "moved"), (withdrawn, "withdrawn")):
            if not stage.has_event(event, uid):
                raise RunFailed([f"the history of {uid} has no event {event!r}"])
        self._result("the sensor fetched the revised images again")

    def _is_quiet(self) -> bool:
        return have_runs_ended(self._stage.dagster_home)

    def _skip_reason(self) -> str:
        return last_skip_reason(self._stage.dagster_home, _SENSOR)

    # --- The other source -------------------------------------------------------------------------

    def _mirror_from_idc(self, url: str) -> None:
        """Mirror the Collection from the buckets of the IDC, and prove that it is the same."""
        stage, release = self._stage, publish_release(url)
        run_idc = partial(stage.run, url, TCIA_SOURCE="idc", TCIA_DATA_DIR=str(stage.idc_folder))
        command = "$ TCIA_SOURCE=idc tcia-assets"
        self._heading(
            f"7. {COLLECTION} from the Imaging Data Commons", f"{command} refresh {COLLECTION}"
        )
        self._write_line(f"   Its release {release} has what the sandbox has now.")
        run_idc("refresh", COLLECTION)
        self._write_line(f"   {command} fetch {COLLECTION}")
        run_idc("fetch", COLLECTION)
        self._write_line(
            "\n   Is it the same? NBIA's hashes and those of the buckets, without an image byte:"
        )
        verify = ("verify", COLLECTION, "--against", "nbia", "--against", "idc")
        self._write_line(f"   $ tcia-assets {' '.join(verify)}")
        stage.run(url, *verify)
        counts = stage.compare_mirrors()
        both, equal = counts["both"], counts["equal"]
        self._write_line(f"   Objects on disk in both mirrors: {both}, with equal MD5: {equal}.")
        if set(counts.values()) != {both}:
            raise RunFailed([f"the mirrors of {COLLECTION} differ: {counts}"])

    # --- What is printed --------------------------------------------------------------------------

    def _heading(self, title: str, how: str) -> None:
        self._write_line(f"\n\033[1m{title}\033[0m\n   {how}")

    def _event(self, hour: str, what: str) -> None:
        self._write_line(f"\n   \033[1m{hour}\033[0m: {what}.")

    def _result(self, what: str) -> None:
        self._write_line(f"   -> {what}")


def run_demo(folder: Path, write_line: Callable[[str], None]) -> None:
    """Run the demonstration in a folder, and say how long it took.

    Args:
        folder: As of `Story`.
        write_line: As of `Story`.

    Raises:
        UsageError: The folder holds something else than an earlier demonstration.
        TciaError: A part failed.
    """
    started = time.monotonic()
    Story(folder, write_line).tell()
    write_line(f"\nDone in {time.monotonic() - started:.0f} s.")
