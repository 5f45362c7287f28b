"""The rule: what a zip must be to be accepted as a Series. Reads one file, changes nothing.

What belongs here: the comparison of a zip with what the archive told of its Series. What does not:
the format of a zip (`directory.py`) and of DICOM (`tcia_assets.dicom`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance import md5_list
from tcia_assets.images.acceptance.directory import Entry, MalformedZip, Zip, open_zip
from tcia_assets.images.acceptance.inflate import Buffer, inflate
from tcia_assets.images.headers import dicom

LICENSE = "LICENSE"
NON_IMAGE_MEMBERS = frozenset({LICENSE, md5_list.FILE_NAME})
# No Series has as many objects; where the archive told a count, that is the limit.
MAX_MEMBERS = 100_000
# A zip with a few images too many may be read as far as its directory, to say how many they are.
_FEW = 1_000
_LONGEST_TEXT = 32 << 20
# Where the archive told no size: what may be inflated whatever the ratio, and the ratio beyond.
_HARMLESS_BYTES = 1 << 30
_HONEST_RATIO = 100
# Below this, threads cost more than they give.
_WORTH_THREADS = 4 << 20
_BEGUN_A_THREAD = 16
# Nearly always long enough for both UIDs, and cheap to copy.
_SHORT_HEAD = 64 << 10


@dataclass(frozen=True)
class Expectation:
    """What the archive's metadata says of a Series; None where it says nothing."""

    series_instance_uid: str
    image_count: int | None
    image_bytes: int | None
    sop_instance_uids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A good image in a zip; `md5` is of its bytes, 32 small hex digits."""

    name: str
    sop_instance_uid: str
    size_bytes: int
    md5: str


@dataclass(frozen=True)
class Proof:
    """What an accepted zip holds, in its order, and the strongest thing that proves it."""

    image_count: int
    image_bytes: int
    verified_by: str
    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """The good images of a zip in its order, and in words all that keeps it from being accepted.

    `missing` are the expected SOPInstanceUIDs without a good image, where the archive told them.
    """

    members: tuple[Member, ...]
    problems: tuple[str, ...]
    missing: frozenset[str] = frozenset()


def accept(path: Path, expected: Expectation, *, workers: int = 2) -> Proof:
    """Proves the zip at `path` whole and of that Series; raises BadArchive with the first reason.

    Each member is inflated once, on so many threads; memory does not depend on the zip.
    """
    with _examination(path, expected, workers) as examination:
        with closing(examination.problems()) as problems:
            problem = next(problems, None)
        if problem is not None:
            raise _bad(expected, problem)
        return examination.proof()


def inspect(path: Path, expected: Expectation, *, workers: int = 2) -> Inspection:
    """What is good in the zip at `path`, and all that is not.

    Raises BadArchive where the zip as a whole is broken, hostile or claims more than the Series
    has: then nothing in it should be used.
    """
    with _examination(path, expected, workers) as examination:
        problems = tuple(examination.problems())
        return Inspection(tuple(examination.members), problems, examination.missing())


@contextmanager
def _examination(path: Path, expected: Expectation, workers: int) -> Iterator[_Examination]:
    try:
        with open_zip(path, _most_members(expected)) as served:
            yield _Examination(served, expected, workers)
    except MalformedZip as error:
        raise _bad(expected, str(error)) from error


def _bad(expected: Expectation, problem: str) -> BadArchive:
    return BadArchive(problem, table="image_archives", key=expected.series_instance_uid)


def _most_members(expected: Expectation) -> int:
    if expected.image_count is None:
        return MAX_MEMBERS
    return expected.image_count + len(NON_IMAGE_MEMBERS) + _FEW


class _Examination:
    """One zip beside what is expected of it; problems are found in the order of their cost."""

    def __init__(self, served: Zip, expected: Expectation, workers: int) -> None:
        self._served, self._expected, self._workers = served, expected, workers
        self._texts = {e.name: e for e in served.entries if e.name in NON_IMAGE_MEMBERS}
        self._images = [e for e in served.entries if e.name not in NON_IMAGE_MEMBERS]
        self._total = sum(e.size_bytes for e in self._images)
        self._hashes: dict[str, str] = {}
        self.members: list[Member] = []
        self._demand_bounds()

    def problems(self) -> Generator[str]:
        """All that is wrong, as it is found; `members` are complete when it ends."""
        lacks = list(self._of_wholeness())
        yield from lacks
        yield from self._of_texts()
        yield from self._of_objects()
        if (lacks or self.missing()) and md5_list.FILE_NAME not in self._texts:
            yield from self._of_the_last()
        if missing := self.missing():
            of = len(self._expected.sop_instance_uids or ())
            yield f"{len(missing)} of {of} images are missing, such as {min(missing)}"

    def proof(self) -> Proof:
        return Proof(len(self._images), self._total, self._verified_by(), tuple(self.members))

    def missing(self) -> frozenset[str]:
        """The expected SOPInstanceUIDs of which no good image was found."""
        wanted = self._expected.sop_instance_uids or frozenset()
        return wanted - {member.sop_instance_uid for member in self.members}

    def _verified_by(self) -> str:
        if self._hashes and all(self._hashes.values()):
            return "md5"
        return "count" if self._expected.image_bytes is None else "count+size"

    # --- Before anything is inflated ------------------------------------------------------------

    def _demand_bounds(self) -> None:
        """Raises MalformedZip where it claims more than the Series has, or than can be honest."""
        count, told = self._expected.image_count, self._expected.image_bytes
        if count is not None and len(self._images) > count:
            raise MalformedZip(f"{len(self._images)} images where the archive counts {count}")
        if told is not None and self._total > told:
            raise MalformedZip(f"{self._total} bytes where the archive has {told}")
        most = max(_HARMLESS_BYTES, _HONEST_RATIO * self._served.size_bytes)
        if told is None and self._total > most:
            raise MalformedZip(f"{self._total} bytes claimed by a zip of {self._served.size_bytes}")
        limits = {LICENSE: _LONGEST_TEXT, md5_list.FILE_NAME: md5_list.max_bytes(len(self._images))}
        for name, entry in self._texts.items():
            if entry.size_bytes > limits[name]:
                raise MalformedZip(f"{name} is too large to be a text: {entry.size_bytes} bytes")

    def _of_wholeness(self) -> Iterator[str]:
        count, told = self._expected.image_count, self._expected.image_bytes
        if not self._images:
            yield "the zip holds no image"
        if count is not None and len(self._images) != count:
            yield f"{len(self._images)} images where the archive counts {count}"
        if told is not None and self._total != told:
            yield f"{self._total} bytes where the archive has {told}"
        known = md5_list.FILE_NAME in self._texts or self._expected.sop_instance_uids is not None
        if not known and count is None:
            yield "nothing proves it whole: no MD5 list and no count"

    # --- What is no image -----------------------------------------------------------------------

    def _of_texts(self) -> Iterator[str]:
        """The zip is kept whole, so what is no image must be right as well."""
        for name, entry in self._texts.items():
            try:
                most = entry.size_bytes
                inflated = inflate(self._served.compressed(entry), entry, most_head=most)
                if name == md5_list.FILE_NAME:
                    self._hashes = md5_list.parse(b"".join(inflated.head))
                    yield from self._of_names()
            except MalformedZip as error:
                yield f"{name}: {error}"
            except ValueError as error:
                yield str(error)

    def _of_names(self) -> Iterator[str]:
        differ = {entry.name for entry in self._images} ^ self._hashes.keys()
        if differ:
            names = f"{len(differ)} names, such as {min(differ)!r}"
            yield f"images and {md5_list.FILE_NAME} differ in {names}"

    # --- The images -----------------------------------------------------------------------------

    def _of_objects(self) -> Iterator[str]:
        first_of: dict[str, str] = {}
        for found in self._checked():
            if isinstance(found, str):
                yield found
                continue
            first = first_of.setdefault(found.sop_instance_uid, found.name)
            wanted = self._expected.sop_instance_uids
            if first != found.name:
                yield f"{first!r} and {found.name!r} have the same SOPInstanceUID"
            elif wanted is not None and found.sop_instance_uid not in wanted:
                yield f"{found.name!r} is {found.sop_instance_uid}, which the Series does not have"
            else:
                self.members.append(found)

    def _of_the_last(self) -> Iterator[str]:
        """The server cuts the image at which it fails, gives it a right CRC, and ends the zip."""
        last = self._images[-1].name if self._images else None
        if self.members and self.members[-1].name == last:
            self.members.pop()
            yield f"{last!r} may be cut: it is the last of a zip that is short"

    def _checked(self) -> Iterator[Member | str]:
        """Each image in the order of the zip: what it is, or what is wrong with it."""
        if self._workers == 1 or self._total < _WORTH_THREADS:
            yield from map(self._check, self._images)
            return
        with ThreadPoolExecutor(self._workers, "accept") as pool:
            # Not all at once: what waits for a thread takes 2 KB, and a Series may have 100,000.
            begun: deque[Future[Member | str]] = deque()
            for entry in self._images:
                begun.append(pool.submit(self._check, entry))
                if len(begun) > _BEGUN_A_THREAD * self._workers:
                    yield begun.popleft().result()
            for each in begun:
                yield each.result()

    def _check(self, entry: Entry) -> Member | str:
        # No error leaves this frame: it would hold the file's pages.
        try:
            inflated = inflate(self._served.compressed(entry), entry)
            if self._hashes.get(entry.name) not in {None, "", inflated.md5}:
                return f"the MD5 of {entry.name!r} is not the one that the archive lists"
            identity = self._identity(inflated.head)
        except (MalformedZip, ValueError) as error:
            return f"{entry.name!r}: {error}"
        if identity.series_instance_uid != self._expected.series_instance_uid:
            return f"{entry.name!r} is of Series {identity.series_instance_uid}"
        return Member(entry.name, identity.sop_instance_uid, entry.size_bytes, inflated.md5)

    def _identity(self, head: tuple[Buffer, ...]) -> dicom.Identity:
        """From as little as possible; a header that is cut, even inside a UID, is read again."""
        short = bytes(head[0][:_SHORT_HEAD]) if head else b""
        try:
            identity = dicom.identify(short)
        except ValueError:
            return dicom.identify(b"".join(head))
        if identity.series_instance_uid == self._expected.series_instance_uid:
            return identity
        return dicom.identify(b"".join(head))
