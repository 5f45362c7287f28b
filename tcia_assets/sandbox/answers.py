"""A request -> its answer: the order in which a server looks at it, and the answers that are rows.

What belongs here: what each endpoint of rows does, and what a dialect says where there are none.
What does not: bytes of a format (`replies.py`), images (`images.py`), the connection (`app.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from tcia_assets.sandbox import phantom, replies
from tcia_assets.sandbox.access import Access
from tcia_assets.sandbox.asked import Asked
from tcia_assets.sandbox.faults import ROWS, Fault
from tcia_assets.sandbox.images import Images
from tcia_assets.sandbox.index import VISIBLE
from tcia_assets.sandbox.listings import Listings
from tcia_assets.sandbox.questions import ask
from tcia_assets.sandbox.refusals import Answer, Refusal, broken, json_answer, text_answer
from tcia_assets.sandbox.replies import CONTENT_TYPES, Field, Value
from tcia_assets.sandbox.spoiled import in_latin1, spoiled_columns, spoiled_rows
from tcia_assets.sandbox.state import Archive
from tcia_assets.store import sql

Columns = tuple[Field, ...]
Handler = Callable[[Asked, Fault | None], Answer]


class Answers:
    """The archive's answers, in all dialects."""

    def __init__(self, archive: Archive, access: Access) -> None:
        self._archive, self._access = archive, access
        self._images = images = Images(archive)
        self._listings = Listings(archive)
        self._handlers: dict[str, Handler] = {
            "getSeriesSize": self._size,
            "getSOPInstanceUIDs": self._sop_instance_uids,
            "getSeriesMetadata": self._metadata,
            "getDeniedSeries": self._denied,
            "getCollectionDescriptions": self._descriptions,
            "getManifestForCollection": self._listings.manifest,
            "getImage": images.package,
            "getImageWithMD5Hash": images.package,
            "getDCMImage": images.package,
            "getSingleImage": images.single,
            "getMD5HashForImage": images.md5,
            "getMD5Hierarchy": images.hierarchy,
        }

    def answer(self, asked: Asked, fault: Fault | None = None) -> Answer:
        """What the archive says, with a fault in the rows or the zip where one is given.

        Raises:
            Refusal: where it refuses.
        """
        is_bindaas = asked.dialect.server == "bindaas"
        if is_bindaas:
            self._access.check(asked)  # in front of all; in NBIA, each endpoint does it
        asked.check_parameters()
        if not is_bindaas:
            self._access.check(asked)
        return self._handlers.get(asked.endpoint.name, self._listed)(asked, fault)

    def _listed(self, asked: Asked, fault: Fault | None) -> Answer:
        question = ask(self._archive, asked.dialect, asked.endpoint, asked.values, asked.number)
        if fault and fault.kind == "ignored_filter":
            question = question.unfiltered
        return self._selected(asked, question.statements(self._archive), fault)

    def _selected(self, asked: Asked, statements: Iterable[str], fault: Fault | None) -> Answer:
        columns, as_json = _columns(asked), asked.format == "json"
        if fault and fault.kind in ROWS:
            statements = (spoiled_rows(fault, each) for each in statements)
            columns = spoiled_columns(fault, columns, as_json=as_json)
        write = replies.json_statement if as_json else replies.text_statement
        tables = self._archive.tables(write(each, columns) for each in statements)
        if not as_json:
            return _reply(asked, columns, _written(asked, columns, replies.rows_of(tables)), fault)
        return _reply(asked, columns, replies.json_chunks(tables), fault)

    def _few(self, asked: Asked, rows: list[tuple[Value, ...]], fault: Fault | None) -> Answer:
        """Rows that are not worth a query."""
        if fault and fault.kind in ROWS and rows:
            return self._selected(asked, [_constant(_columns(asked), rows)], fault)
        return _reply(asked, _columns(asked), _written(asked, _columns(asked), rows), fault)

    def _size(self, asked: Asked, fault: Fault | None) -> Answer:
        facts = self._archive.facts(asked.series)
        if facts and facts.fate == VISIBLE:
            return self._few(asked, [(facts.file_size, facts.image_count)], fault)
        nothing: list[tuple[Value, ...]] = []
        if asked.endpoint.nothing == "null_row":
            nothing = [(None, None)]
        return self._few(asked, nothing, fault)

    def _sop_instance_uids(self, asked: Asked, fault: Fault | None) -> Answer:
        facts = self._archive.facts(asked.series)  # hidden ones, too
        uids = phantom.sop_instance_uids(asked.series, facts.image_count) if facts else []
        self._images.tell(asked.series, uids)
        turn = asked.number % max(len(uids), 1)
        return self._few(asked, [(uid,) for uid in uids[turn:] + uids[:turn]], fault)

    def _metadata(self, asked: Asked, fault: Fault | None) -> Answer:
        facts = self._archive.facts(asked.series)
        is_one = asked.dialect.server == "hibernate" and facts and facts.fate == VISIBLE
        if is_one and facts and not self._archive.row(facts.place)["LicenseURI"]:
            raise Refusal(broken())  # it takes the licence's name and address apart
        return self._listed(asked, fault)

    def _denied(self, asked: Asked, fault: Fault | None) -> Answer:
        uids = dict.fromkeys(asked.values["SeriesInstanceUID"].split(","))
        known = {uid: self._archive.facts(uid) for uid in uids}
        denied = [uid for uid, facts in known.items() if not facts or facts.fate != VISIBLE]
        return self._few(asked, [(uid,) for uid in denied], fault)

    def _descriptions(self, asked: Asked, fault: Fault | None) -> Answer:
        answer = self._few(asked, self._listings.descriptions(asked), fault)
        # Another library writes this JSON, which leaves a slash as it is.
        return replace(answer, chunks=(each.replace(b"\\/", b"/") for each in answer.chunks))


def _columns(asked: Asked) -> Columns:
    return replies.fields(asked.dialect, asked.endpoint)


def _written(asked: Asked, columns: Columns, rows: replies.Rows) -> Iterator[bytes]:
    # a format that does not exist is noticed only where there are rows
    form = asked.format if asked.format in CONTENT_TYPES else "json"
    return replies.write(form, columns, rows)


def _constant(columns: Columns, rows: Sequence[tuple[Value, ...]]) -> str:
    def literal(value: Value) -> str:
        if isinstance(value, str):
            return sql.literal(value)
        return "NULL" if value is None else str(value)

    names = ", ".join(sql.identifier(column.wire) for column in columns)
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    return f"FROM (VALUES {values}) AS rows_({names})"


def _reply(asked: Asked, columns: Columns, chunks: Iterator[bytes], fault: Fault | None) -> Answer:
    """Rows in their format; no rows are the same bare 200 in each, even in one that is unknown."""
    first = next(chunks, None)
    if first is None:
        return _nothing(asked)
    if not _offers(asked.format, columns):
        message = "the requested format is not supported"
        is_bindaas = asked.dialect.server == "bindaas"
        return json_answer({"errorMessage": message}, 500) if is_bindaas else broken("")
    body: Iterable[bytes] = chain([first], chunks)
    if fault and fault.kind == "latin1":
        body = in_latin1(body)
    if asked.format == "csv-download":
        return _download(columns, body)
    return Answer(body, content_type=CONTENT_TYPES[asked.format])


def _nothing(asked: Asked) -> Answer:
    if asked.endpoint.nothing == "204":
        return Answer(status=204)
    if asked.endpoint.nothing == "array" and asked.format == "json":
        return text_answer("[]", content_type=CONTENT_TYPES["json"])
    return Answer()


def _offers(form: str, columns: Columns) -> bool:
    return form in CONTENT_TYPES and not (form == "csvquoted" and len(columns) == 1)


def _download(columns: Columns, body: Iterable[bytes]) -> Answer:
    kind = "application/force-download" if len(columns) == 1 else CONTENT_TYPES["csv"]
    name = "attachment; filename=SeriesMetaData.csv"
    return Answer(body, content_type=kind, headers=(("content-disposition", name),))
