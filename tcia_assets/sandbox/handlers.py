"""Handle a request: check it, dispatch it to its endpoint, and reply with rows.

What belongs here: the order of the checks, the endpoints that return rows, and empty replies. What
does not: the bytes of a format (`reply_formats.py`) and images (`image_handlers.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from tcia_assets.sandbox import phantom, reply_formats
from tcia_assets.sandbox.api_request import ApiRequest
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.authentication import Authenticator
from tcia_assets.sandbox.collection_handlers import CollectionHandlers
from tcia_assets.sandbox.faults import ROWS, Fault
from tcia_assets.sandbox.image_handlers import ImageHandlers
from tcia_assets.sandbox.queries import build_query
from tcia_assets.sandbox.reply import Reply, RequestRefused, json_reply, server_error, text_reply
from tcia_assets.sandbox.reply_formats import CONTENT_TYPES, Field, Value
from tcia_assets.sandbox.row_faults import columns_with_fault, in_latin1, rows_with_fault
from tcia_assets.sandbox.series_index import VISIBLE
from tcia_assets.store import sql

Columns = tuple[Field, ...]
Handler = Callable[[ApiRequest, Fault | None], Reply]


class Handlers:
    """The archive's answers, in all dialects."""

    def __init__(self, archive: Archive, authenticator: Authenticator) -> None:
        self._archive, self._authenticator = archive, authenticator
        self._images = images = ImageHandlers(archive)
        self._listings = CollectionHandlers(archive)
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

    def answer(self, asked: ApiRequest, fault: Fault | None = None) -> Reply:
        """What the archive says, with a fault in the rows or the zip where one is given.

        Raises:
            RequestRefused: where it refuses.
        """
        is_bindaas = asked.dialect.server == "bindaas"
        if is_bindaas:
            self._authenticator.check(asked)  # in front of all; in NBIA, each endpoint does it
        asked.check_parameters()
        if not is_bindaas:
            self._authenticator.check(asked)
        return self._handlers.get(asked.endpoint.name, self._listed)(asked, fault)

    def _listed(self, asked: ApiRequest, fault: Fault | None) -> Reply:
        question = build_query(
            self._archive, asked.dialect, asked.endpoint, asked.values, asked.number
        )
        if fault and fault.kind == "ignored_filter":
            question = question.unfiltered
        return self._selected(asked, question.statements(self._archive), fault)

    def _selected(self, asked: ApiRequest, statements: Iterable[str], fault: Fault | None) -> Reply:
        columns, as_json = _columns(asked), asked.format == "json"
        if fault and fault.kind in ROWS:
            statements = (rows_with_fault(fault, each) for each in statements)
            columns = columns_with_fault(fault, columns, as_json=as_json)
        write = reply_formats.json_statement if as_json else reply_formats.text_statement
        tables = self._archive.tables(write(each, columns) for each in statements)
        if not as_json:
            return _reply(
                asked, columns, _written(asked, columns, reply_formats.rows_of(tables)), fault
            )
        return _reply(asked, columns, reply_formats.json_chunks(tables), fault)

    def _few(self, asked: ApiRequest, rows: list[tuple[Value, ...]], fault: Fault | None) -> Reply:
        """Rows that are not worth a query."""
        if fault and fault.kind in ROWS and rows:
            return self._selected(asked, [_constant(_columns(asked), rows)], fault)
        return _reply(asked, _columns(asked), _written(asked, _columns(asked), rows), fault)

    def _size(self, asked: ApiRequest, fault: Fault | None) -> Reply:
        facts = self._archive.facts(asked.series)
        if facts and facts.fate == VISIBLE:
            return self._few(asked, [(facts.file_size, facts.image_count)], fault)
        nothing: list[tuple[Value, ...]] = []
        if asked.endpoint.nothing == "null_row":
            nothing = [(None, None)]
        return self._few(asked, nothing, fault)

    def _sop_instance_uids(self, asked: ApiRequest, fault: Fault | None) -> Reply:
        facts = self._archive.facts(asked.series)  # hidden ones, too
        uids = phantom.sop_instance_uids(asked.series, facts.image_count) if facts else []
        self._images.tell(asked.series, uids)
        turn = asked.number % max(len(uids), 1)
        return self._few(asked, [(uid,) for uid in uids[turn:] + uids[:turn]], fault)

    def _metadata(self, asked: ApiRequest, fault: Fault | None) -> Reply:
        facts = self._archive.facts(asked.series)
        is_one = asked.dialect.server == "hibernate" and facts and facts.fate == VISIBLE
        if is_one and facts and not self._archive.row(facts.place)["LicenseURI"]:
            raise RequestRefused(server_error())  # it takes the licence's name and address apart
        return self._listed(asked, fault)

    def _denied(self, asked: ApiRequest, fault: Fault | None) -> Reply:
        uids = dict.fromkeys(asked.values["SeriesInstanceUID"].split(","))
        known = {uid: self._archive.facts(uid) for uid in uids}
        denied = [uid for uid, facts in known.items() if not facts or facts.fate != VISIBLE]
        return self._few(asked, [(uid,) for uid in denied], fault)

    def _descriptions(self, asked: ApiRequest, fault: Fault | None) -> Reply:
        answer = self._few(asked, self._listings.descriptions(asked), fault)
        # Another library writes this JSON, which leaves a slash as it is.
        return replace(answer, chunks=(each.replace(b"\\/", b"/") for each in answer.chunks))


def _columns(asked: ApiRequest) -> Columns:
    return reply_formats.fields(asked.dialect, asked.endpoint)


def _written(asked: ApiRequest, columns: Columns, rows: reply_formats.Rows) -> Iterator[bytes]:
    # a format that does not exist is noticed only where there are rows
    form = asked.format if asked.format in CONTENT_TYPES else "json"
    return reply_formats.write(form, columns, rows)


def _constant(columns: Columns, rows: Sequence[tuple[Value, ...]]) -> str:
    def literal(value: Value) -> str:
        if isinstance(value, str):
            return sql.literal(value)
        return "NULL" if value is None else str(value)

    names = ", ".join(sql.identifier(column.wire) for column in columns)
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    return f"FROM (VALUES {values}) AS rows_({names})"


def _reply(
    asked: ApiRequest, columns: Columns, chunks: Iterator[bytes], fault: Fault | None
) -> Reply:
    """Rows in their format; no rows are the same bare 200 in each, even in one that is unknown."""
    first = next(chunks, None)
    if first is None:
        return _nothing(asked)
    if not _offers(asked.format, columns):
        message = "the requested format is not supported"
        is_bindaas = asked.dialect.server == "bindaas"
        return json_reply({"errorMessage": message}, 500) if is_bindaas else server_error("")
    body: Iterable[bytes] = chain([first], chunks)
    if fault and fault.kind == "latin1":
        body = in_latin1(body)
    if asked.format == "csv-download":
        return _download(columns, body)
    return Reply(body, content_type=CONTENT_TYPES[asked.format])


def _nothing(asked: ApiRequest) -> Reply:
    if asked.endpoint.nothing == "204":
        return Reply(status=204)
    if asked.endpoint.nothing == "array" and asked.format == "json":
        return text_reply("[]", content_type=CONTENT_TYPES["json"])
    return Reply()


def _offers(form: str, columns: Columns) -> bool:
    return form in CONTENT_TYPES and not (form == "csvquoted" and len(columns) == 1)


def _download(columns: Columns, body: Iterable[bytes]) -> Reply:
    kind = "application/force-download" if len(columns) == 1 else CONTENT_TYPES["csv"]
    name = "attachment; filename=SeriesMetaData.csv"
    return Reply(body, content_type=kind, headers=(("content-disposition", name),))
