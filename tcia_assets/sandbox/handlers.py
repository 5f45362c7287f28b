"""Handle a request: check it, dispatch it to its endpoint, and reply with rows.

The bytes of a format are written in `reply_formats.py`; images are served in `image_handlers.py`.
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
    """The handlers of all endpoints, in all dialects."""

    def __init__(self, archive: Archive, authenticator: Authenticator) -> None:
        self._archive, self._authenticator = archive, authenticator
        self._images = images = ImageHandlers(archive)
        self._collections = CollectionHandlers(archive)
        self._handlers: dict[str, Handler] = {
            "getSeriesSize": self._size,
            "getSOPInstanceUIDs": self._sop_instance_uids,
            "getSeriesMetadata": self._metadata,
            "getDeniedSeries": self._denied,
            "getCollectionDescriptions": self._descriptions,
            "getManifestForCollection": self._collections.series_list,
            "getImage": images.zip,
            "getImageWithMD5Hash": images.zip,
            "getDCMImage": images.zip,
            "getSingleImage": images.single,
            "getMD5HashForImage": images.md5,
            "getMD5Hierarchy": images.md5_hierarchy,
        }

    def handle(self, request: ApiRequest, fault: Fault | None = None) -> Reply:
        """Return the reply to a request, with a fault in its rows or its zip if one is given.

        Raises:
            RequestRefused: The server refuses the request.
        """
        if request.served.is_bindaas:
            self._authenticator.check(request)  # before all endpoints; in NBIA each has its own
        request.check_parameters()
        if not request.served.is_bindaas:
            self._authenticator.check(request)
        handler = self._handlers.get(request.served.endpoint.name, self._rows)
        return handler(request, fault)

    def _rows(self, request: ApiRequest, fault: Fault | None) -> Reply:
        query = build_query(self._archive, request.served, request.values, request.number)
        if fault and fault.kind == "ignored_filter":
            query = query.unfiltered
        return self._query_reply(request, query.statements(self._archive), fault)

    def _query_reply(
        self,
        request: ApiRequest,
        statements: Iterable[str],
        fault: Fault | None,
        columns: Columns = (),
    ) -> Reply:
        columns, as_json = columns or _columns(request), request.format == "json"
        if fault and fault.kind in ROWS:
            statements = (rows_with_fault(fault, each) for each in statements)
            columns = columns_with_fault(fault, columns, as_json=as_json)
        write = reply_formats.json_statement if as_json else reply_formats.text_statement
        tables = self._archive.tables(write(each, columns) for each in statements)
        if as_json:
            return _reply(request, columns, reply_formats.json_chunks(tables), fault)
        rows = reply_formats.rows_of(tables)
        return _reply(request, columns, _write(request, columns, rows), fault)

    def _short_reply(
        self, request: ApiRequest, rows: list[tuple[Value, ...]], fault: Fault | None
    ) -> Reply:
        """Return the reply with rows that were made without a query."""
        columns = _columns(request)
        if fault and fault.kind in ROWS and rows:
            named = [replace(c, expression=sql.identifier(c.wire_name)) for c in columns]
            return self._query_reply(request, [_constant_rows(columns, rows)], fault, tuple(named))
        return _reply(request, columns, _write(request, columns, rows), fault)

    def _size(self, request: ApiRequest, fault: Fault | None) -> Reply:
        series = self._archive.find(request.series_uid)
        rows: list[tuple[Value, ...]] = []
        if series and series.state == VISIBLE:
            rows = [(series.file_size, series.image_count)]
        elif request.served.no_rows == "null row":
            rows = [(None, None)]
        return self._short_reply(request, rows, fault)

    def _sop_instance_uids(self, request: ApiRequest, fault: Fault | None) -> Reply:
        series = self._archive.find(request.series_uid)  # hidden Series too
        uids = phantom.sop_instance_uids(request.series_uid, series.image_count) if series else []
        self._images.remember_objects(request.series_uid, uids)
        start = request.number % max(len(uids), 1)
        return self._short_reply(request, [(uid,) for uid in uids[start:] + uids[:start]], fault)

    def _metadata(self, request: ApiRequest, fault: Fault | None) -> Reply:
        series = self._archive.find(request.series_uid)
        is_one = request.served.is_hibernate and series and series.state == VISIBLE
        if is_one and series and not self._archive.row(series.row_number)["LicenseURI"]:
            raise RequestRefused(server_error())  # the server fails on a null licence
        return self._rows(request, fault)

    def _denied(self, request: ApiRequest, fault: Fault | None) -> Reply:
        uids = dict.fromkeys(request.values["SeriesInstanceUID"].split(","))
        found = {uid: self._archive.find(uid) for uid in uids}
        denied = [uid for uid, series in found.items() if not series or series.state != VISIBLE]
        return self._short_reply(request, [(uid,) for uid in denied], fault)

    def _descriptions(self, request: ApiRequest, fault: Fault | None) -> Reply:
        reply = self._short_reply(request, self._collections.descriptions(request), fault)
        # The server writes this JSON with another library, which does not escape slashes.
        return replace(reply, chunks=(each.replace(b"\\/", b"/") for each in reply.chunks))


def _columns(request: ApiRequest) -> Columns:
    return reply_formats.fields(request.served)


def _write(request: ApiRequest, columns: Columns, rows: reply_formats.Rows) -> Iterator[bytes]:
    # The server notices an unknown format only when there are rows.
    name = request.format if request.format in CONTENT_TYPES else "json"
    return reply_formats.write(name, columns, rows)


def _constant_rows(columns: Columns, rows: Sequence[tuple[Value, ...]]) -> str:
    def literal(value: Value) -> str:
        if isinstance(value, str):
            return sql.literal(value)
        return "NULL" if value is None else str(value)

    names = ", ".join(sql.identifier(column.wire_name) for column in columns)
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    return f"FROM (VALUES {values}) AS rows_({names})"


def _reply(
    request: ApiRequest, columns: Columns, chunks: Iterator[bytes], fault: Fault | None
) -> Reply:
    first = next(chunks, None)
    if first is None:
        return _empty_reply(request)
    if not _is_supported(request.format, columns):
        message = "the requested format is not supported"
        if request.served.is_bindaas:
            return json_reply({"errorMessage": message}, 500)
        return server_error("")
    body: Iterable[bytes] = chain([first], chunks)
    if fault and fault.kind == "latin1":
        body = in_latin1(body)
    if request.format == "csv-download":
        return _download(columns, body)
    return Reply(body, content_type=CONTENT_TYPES[request.format])


def _empty_reply(request: ApiRequest) -> Reply:
    if request.served.no_rows == "204":
        return Reply(status=204)
    if request.served.no_rows == "array" and request.format == "json":
        return text_reply("[]", content_type=CONTENT_TYPES["json"])
    return Reply()


def _is_supported(name: str, columns: Columns) -> bool:
    return name in CONTENT_TYPES and not (name == "csvquoted" and len(columns) == 1)


def _download(columns: Columns, body: Iterable[bytes]) -> Reply:
    kind = "application/force-download" if len(columns) == 1 else CONTENT_TYPES["csv"]
    disposition = "attachment; filename=SeriesMetaData.csv"
    return Reply(body, content_type=kind, headers=(("content-disposition", disposition),))
