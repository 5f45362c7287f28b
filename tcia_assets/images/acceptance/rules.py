"""Decide whether a zip is accepted as a Series. Reads one file and changes nothing.

The comparison of a zip with what the source lists of its Series belongs here. The zip format is in
`directory.py`, the UIDs of a DICOM file in `formats/identity.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tcia_assets.errors import BadArchive
from tcia_assets.formats import md5_list
from tcia_assets.formats.identity import Identity, identify
from tcia_assets.formats.series_zip import LICENSE
from tcia_assets.images.acceptance.directory import Entry, MalformedZip, Zip, open_zip
from tcia_assets.images.acceptance.inflate import Buffer, Inflated, Inflater, inflate

NON_IMAGE_MEMBERS = frozenset({LICENSE, md5_list.FILE_NAME})
# More than any Series has. If the source lists an image count, that is the limit.
MAX_MEMBERS = 100_000
# Read the directory of a zip with a few images too many, to report how many there are.
_EXTRA_MEMBERS = 1_000
_MAX_LICENSE_BYTES = 32 << 20
# If the source lists no size: accept this many bytes, or this ratio of inflated to zip size.
_HARMLESS_BYTES = 1 << 30
_HARMLESS_RATIO = 100
_PENDING_PER_THREAD = 16
# Nearly always enough for both UIDs, and cheap to copy.
_FIRST_HEAD_BYTES = 64 << 10


@dataclass(frozen=True)
class Expectation:
    """What the source lists of a Series; None where it lists nothing.

    `image_bytes` is the sum of the sizes of the DICOM files, uncompressed.
    """

    series_instance_uid: str
    image_count: int | None
    image_bytes: int | None
    sop_instance_uids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A good image in a zip; `md5` is of its uncompressed bytes, as 32 lower case hex digits."""

    name: str
    sop_instance_uid: str
    size_bytes: int
    md5: str


@dataclass(frozen=True)
class Proof:
    """What an accepted zip holds, in its order, and the strongest proof that it is whole.

    `verified_by` is "md5", "count+size" or "count".
    """

    image_count: int
    image_bytes: int
    verified_by: str
    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """The good images of a zip, in its order, and every reason why it is not accepted.

    `missing` holds the expected SOPInstanceUIDs without a good image, if the source lists them.
    """

    members: tuple[Member, ...]
    problems: tuple[str, ...]
    missing: frozenset[str] = frozenset()


def accept(
    path: Path,
    expected: Expectation,
    *,
    workers: int = 1,
    inflater: Inflater | None = None,
) -> Proof:
    """Prove that the zip at `path` is the whole Series.

    Each member is inflated once. Memory does not depend on the size of the zip.

    Args:
        path: The zip.
        expected: What the source lists of the Series.
        workers: The number of threads; for a few MB, starting them takes longer than they save.
        inflater: The library that inflates; the fastest one that is installed if None.

    Raises:
        BadArchive: The zip is not accepted; the message is the first reason.
        OSError: The file cannot be read.
    """
    with _examine(path, expected, workers, inflater) as examination:
        with closing(examination.find_problems()) as problems:
            problem = next(problems, None)
        if problem is not None:
            raise _bad_archive(expected, problem)
        return examination.proof()


def inspect(path: Path, expected: Expectation, *, workers: int = 1) -> Inspection:
    """Find the good images of the zip at `path`, and everything that is wrong with it.

    Args:
        path: The zip.
        expected: What the source lists of the Series.
        workers: The number of threads.

    Raises:
        BadArchive: The zip as a whole is broken or hostile, or claims more than the Series has.
            Then nothing in it should be used.
        OSError: The file cannot be read.
    """
    with _examine(path, expected, workers) as examination:
        problems = tuple(examination.find_problems())
        return Inspection(tuple(examination.members), problems, examination.missing())


@contextmanager
def _examine(
    path: Path, expected: Expectation, workers: int, inflater: Inflater | None = None
) -> Iterator[_Examination]:
    try:
        with open_zip(path, _max_members(expected)) as zip_file:
            yield _Examination(zip_file, expected, workers, inflater)
    except MalformedZip as error:
        raise _bad_archive(expected, str(error)) from error


def _bad_archive(expected: Expectation, problem: str) -> BadArchive:
    return BadArchive(problem, table="image_archives", key=expected.series_instance_uid)


def _max_members(expected: Expectation) -> int:
    if expected.image_count is None:
        return MAX_MEMBERS
    return expected.image_count + len(NON_IMAGE_MEMBERS) + _EXTRA_MEMBERS


class _Examination:
    """The comparison of one zip with its expectation; the cheapest checks come first.

    `members` are the good images, complete after `find_problems` has ended.
    """

    def __init__(
        self, zip_file: Zip, expected: Expectation, workers: int, inflater: Inflater | None
    ) -> None:
        self._zip, self._expected = zip_file, expected
        self._workers, self._inflater = workers, inflater
        self._texts = {e.name: e for e in zip_file.entries if e.name in NON_IMAGE_MEMBERS}
        self._images = [e for e in zip_file.entries if e.name not in NON_IMAGE_MEMBERS]
        self._image_bytes = sum(e.size_bytes for e in self._images)
        self._hashes: dict[str, str] = {}
        self.members: list[Member] = []
        self._check_limits()

    def find_problems(self) -> Generator[str]:
        """Yield everything that is wrong with the zip, as it is found."""
        incomplete = list(self._check_totals())
        yield from incomplete
        yield from self._check_texts()
        yield from self._check_images()
        if (incomplete or self.missing()) and md5_list.FILE_NAME not in self._texts:
            yield from self._distrust_last_image()
        if missing := self.missing():
            of = len(self._expected.sop_instance_uids or ())
            yield f"{len(missing)} of {of} images are missing, such as {min(missing)}"

    def proof(self) -> Proof:
        members = tuple(self.members)
        return Proof(len(self._images), self._image_bytes, self._verified_by(), members)

    def missing(self) -> frozenset[str]:
        """Return the expected SOPInstanceUIDs for which no good image was found."""
        wanted = self._expected.sop_instance_uids or frozenset()
        return wanted - {member.sop_instance_uid for member in self.members}

    def _verified_by(self) -> str:
        if self._hashes and all(self._hashes.values()):
            return "md5"
        return "count" if self._expected.image_bytes is None else "count+size"

    # --- Before anything is inflated ------------------------------------------------------------

    def _check_limits(self) -> None:
        """Raise MalformedZip if the zip claims more than the Series has, or an implausible size."""
        count, size = self._expected.image_count, self._expected.image_bytes
        if count is not None and len(self._images) > count:
            raise MalformedZip(f"{len(self._images)} images, but the source lists {count}")
        if size is not None and self._image_bytes > size:
            raise MalformedZip(f"{self._image_bytes} bytes, but the source lists {size}")
        harmless = max(_HARMLESS_BYTES, _HARMLESS_RATIO * self._zip.size_bytes)
        if size is None and self._image_bytes > harmless:
            raise MalformedZip(
                f"a zip of {self._zip.size_bytes} bytes claims to hold {self._image_bytes}"
            )
        limits = {
            LICENSE: _MAX_LICENSE_BYTES,
            md5_list.FILE_NAME: md5_list.max_bytes(len(self._images)),
        }
        for name, entry in self._texts.items():
            if entry.size_bytes > limits[name]:
                raise MalformedZip(f"{name} is too large for a text: {entry.size_bytes} bytes")

    def _check_totals(self) -> Iterator[str]:
        count, size = self._expected.image_count, self._expected.image_bytes
        if not self._images:
            yield "the zip holds no image"
        if count is not None and len(self._images) != count:
            yield f"{len(self._images)} images, but the source lists {count}"
        if size is not None and self._image_bytes != size:
            yield f"{self._image_bytes} bytes, but the source lists {size}"
        has_list = md5_list.FILE_NAME in self._texts or self._expected.sop_instance_uids is not None
        if not has_list and count is None:
            yield "nothing proves that it is whole: no MD5 list and no image count"

    # --- LICENSE and md5hashes.csv --------------------------------------------------------------

    def _check_texts(self) -> Iterator[str]:
        """Check these as well, because the zip is kept as it is."""
        for name, entry in self._texts.items():
            try:
                head = self._inflate(entry, max_head=entry.size_bytes).head
                if name == md5_list.FILE_NAME:
                    self._hashes = md5_list.parse(b"".join(head))
                    yield from self._compare_names()
            except MalformedZip as error:
                yield f"{name}: {error}"
            except ValueError as error:
                yield str(error)

    def _compare_names(self) -> Iterator[str]:
        different = {entry.name for entry in self._images} ^ self._hashes.keys()
        if different:
            names = f"{len(different)} names, such as {min(different)!r}"
            yield f"the images and {md5_list.FILE_NAME} differ in {names}"

    # --- The images -----------------------------------------------------------------------------

    def _check_images(self) -> Iterator[str]:
        name_of_uid: dict[str, str] = {}
        for result in self._read_images():
            if isinstance(result, str):
                yield result
                continue
            uid, name = result.sop_instance_uid, result.name
            first = name_of_uid.setdefault(uid, name)
            expected_uids = self._expected.sop_instance_uids
            if first != name:
                yield f"{first!r} and {name!r} have the same SOPInstanceUID"
            elif expected_uids is not None and uid not in expected_uids:
                yield f"{name!r} is {uid}, which the source does not list for this Series"
            else:
                self.members.append(result)

    def _distrust_last_image(self) -> Iterator[str]:
        """Remove the last image: where NBIA fails, it cuts an image off but writes a valid CRC."""
        last = self._images[-1].name if self._images else None
        if self.members and self.members[-1].name == last:
            self.members.pop()
            yield f"{last!r} may be cut off: it is the last image of an incomplete zip"

    def _read_images(self) -> Iterator[Member | str]:
        """Yield each image in the order of the zip, or what is wrong with it."""
        if self._workers == 1:
            yield from map(self._read_image, self._images)
            return
        with ThreadPoolExecutor(self._workers, "accept") as pool:
            # Not all at once: each pending task takes 2 KB, and a Series may have 100,000 images.
            pending: deque[Future[Member | str]] = deque()
            for entry in self._images:
                pending.append(pool.submit(self._read_image, entry))
                if len(pending) > _PENDING_PER_THREAD * self._workers:
                    yield pending.popleft().result()
            for future in pending:
                yield future.result()

    def _read_image(self, entry: Entry) -> Member | str:
        # Errors are returned as text: a traceback would keep the memory-mapped file open.
        try:
            inflated = self._inflate(entry)
            if self._hashes.get(entry.name) not in {None, "", inflated.md5}:
                return f"the MD5 of {entry.name!r} differs from the one in {md5_list.FILE_NAME}"
            identity = self._identify(inflated.head)
        except (MalformedZip, ValueError) as error:
            return f"{entry.name!r}: {error}"
        if identity.series_instance_uid != self._expected.series_instance_uid:
            return f"{entry.name!r} belongs to Series {identity.series_instance_uid}"
        return Member(entry.name, identity.sop_instance_uid, entry.size_bytes, inflated.md5)

    def _identify(self, head: tuple[Buffer, ...]) -> Identity:
        """Read the UIDs from the first bytes, and from more if these end too early."""
        first_bytes = bytes(head[0][:_FIRST_HEAD_BYTES]) if head else b""
        try:
            identity = identify(first_bytes)
        except ValueError:
            return identify(b"".join(head))
        # The bytes may end inside the UID.
        if identity.series_instance_uid == self._expected.series_instance_uid:
            return identity
        return identify(b"".join(head))

    def _inflate(self, entry: Entry, **limits: int) -> Inflated:
        compressed = self._zip.compressed(entry)
        return inflate(compressed, entry, inflater=self._inflater, **limits)
