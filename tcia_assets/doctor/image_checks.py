"""One small Series, fetched into a temporary folder by each route, and proven there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tcia_assets.doctor.step_result import StepResult, differs, ok
from tcia_assets.doctor.steps import REPORT, NotChecked, Once, Step
from tcia_assets.doctor.subject import Subject
from tcia_assets.errors import TciaError
from tcia_assets.images.acceptance.rules import Expectation, Proof, accept
from tcia_assets.images.series_task import proof_hash
from tcia_assets.sources import FetchedFile, Target
from tcia_assets.units import are, counted, format_bytes

_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class _Fetched:
    uid: str
    file: FetchedFile
    proof: Proof


def image_steps(subject: Subject) -> list[Step]:
    """Return the steps about images, in the order in which they are to be taken."""
    zips = {
        route: Once[_Fetched](f"a zip by {route}", partial(_fetch, subject, route))
        for route in subject.source.zip_routes
    }
    verified = Once[_Fetched]("a zip that is proven", lambda: _first(list(zips.values())))
    return [
        *(Step(f"zip by {route}", _zip_look(subject, route, once)) for route, once in zips.items()),
        Step("hashes", lambda: _hashes(subject, verified)),
        Step("single objects", lambda: _single_objects(subject, verified)),
    ]


def _fetch(subject: Subject, route: str) -> _Fetched:
    """Fetch the smallest Series and prove it.

    Raises:
        BadArchive: The zip is refused.
    """
    series = subject.smallest_series()
    size, uid = series["FileSize"], series["SeriesInstanceUID"]
    if size is not None and size > _MOST_BYTES:
        raise NotChecked(f"not checked: the smallest Series looked at has {format_bytes(size)}")
    path = subject.folder / f"{route}.zip"
    try:
        file = subject.source.fetch_zip(route, uid, Target(path, 2 * _MOST_BYTES))
        return _Fetched(uid, file, accept(path, Expectation(uid, series["ImageCount"], size)))
    finally:
        path.unlink(missing_ok=True)


def _first(zips: list[Once[_Fetched]]) -> _Fetched:
    """Return the first zip that was accepted."""
    error: TciaError = NotChecked("not checked: that needs a zip that is proven")
    for each in zips:
        try:
            return each.get()
        except TciaError as refusal:
            error = refusal
    raise error


def _zip_look(subject: Subject, route: str, fetched: Once[_Fetched]) -> Callable[[], StepResult]:
    def look() -> StepResult:
        found = fetched.get()
        proof, file = found.proof, found.file
        objects = counted(proof.image_count, "object")
        seen = f"{objects}, {format_bytes(file.size_bytes)} in {file.seconds:.1f} s"
        seen = f"{seen}, proven by {proof.verified_by} (Series {found.uid})"
        if proof.verified_by != "md5" and route in subject.source.md5_routes:
            advice = f"such a zip needs the hash of its Series, or another route; {REPORT}"
            return differs(
                f"zip by {route}", f"no MD5 list, though it should end with one; {seen}", advice
            )
        return ok(f"zip by {route}", seen)

    return look


def _hashes(subject: Subject, verified: Once[_Fetched]) -> StepResult:
    proof = verified.need().proof
    lists = "zips list MD5s" if proof.verified_by == "md5" else "zips list no MD5s"
    if not subject.source.hash_levels:
        return ok("hashes", f"{lists}; the source offers no others")
    offered = subject.source.md5_hash(SeriesInstanceUID=verified.need().uid)
    levels = ", ".join(subject.source.hash_levels)
    if offered != proof_hash(proof):
        problem = f"{lists}; the hash of the Series is {offered}, of its zip {proof_hash(proof)}"
        return differs("hashes", problem, f"`tcia-assets verify --audit` would say so; {REPORT}")
    return ok("hashes", f"{lists}; the hash of the Series is equal; offered by {levels}")


def _single_objects(subject: Subject, verified: Once[_Fetched]) -> StepResult:
    fetched = verified.need()
    members = {member.sop_instance_uid: member for member in fetched.proof.members}
    uids = subject.source.object_uids(fetched.uid)
    if uids is None:
        return ok("single objects", "not offered: a zip that lacks objects cannot be completed")
    if uids != members.keys():
        listed = counted(len(uids), "object")
        in_zip = f"{are(len(uids))} not the {len(members)} in the zip"
        problem = f"the source lists {listed}, which {in_zip}"
        return differs("single objects", problem, f"incomplete zips cannot be completed; {REPORT}")
    path = subject.folder / "object.dcm"
    chosen = min(members)
    try:
        subject.source.fetch_object(fetched.uid, chosen, Target(path, _MOST_BYTES))
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    finally:
        path.unlink(missing_ok=True)
    if md5 != members[chosen].md5:
        problem = "an object that is fetched alone has other bytes than in the zip"
        return differs("single objects", problem, f"zips cannot be completed with it; {REPORT}")
    return ok("single objects", f"{len(uids)} listed, and one fetched, as in the zip")
