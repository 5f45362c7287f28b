"""Bring rows into exactly the declared form of their table, or raise an error with the position.

Here are the rules about a whole table: its columns, its order, its key, what must not be null. The
rules about a single value are where it is read, in `sources/nbia/values.py`.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.errors import BadValue, DataError, MissingColumn, RepeatedKey, shorten
from tcia_assets.spec import Column, Table

# Rows that stay beside each other, on average, for which slices are better than copies.
_LONG_RUN = 100


def conform(table: Table, rows: pa.Table, **constants: object) -> pa.Table:
    """Return the rows with exactly the table's schema, sorted by its key, each key once.

    Exact repetitions, which NBIA sends, collapse. A row whose key is null in all columns has no
    key, so it repeats none; such rows come first.

    Args:
        table: The table.
        rows: Rows with any of its columns; other columns are dropped.
        constants: The values of absent columns, by name; other absent columns become null.

    Raises:
        MissingColumn: A required column is null in every row.
        BadValue: A required value is null, or a value does not fit its column's type.
        RepeatedKey: Two different rows have the same key.
    """
    rows = align(table, rows, **constants)
    _check_required(table, rows)
    order = _order(table, rows)
    return rows if order is None else _take(rows, order)


def align(table: Table, rows: pa.Table, **constants: object) -> pa.Table:
    """Return the rows with exactly the table's schema, neither sorted nor checked.

    Args:
        table: The table.
        rows: Rows with any of its columns; other columns are dropped.
        constants: The values of absent columns, by name; other absent columns become null.

    Raises:
        BadValue: A value does not fit its column's type.
    """
    for name in constants:
        table.column(name)  # raises if there is no such column
    present = frozenset(rows.schema.names)

    def values(column: Column) -> pa.ChunkedArray | pa.Array:
        if column.name in present:
            return _cast(table, column, rows[column.name])
        constant = pa.scalar(constants.get(column.name), column.kind.arrow_type)
        return pa.repeat(constant, rows.num_rows)

    return pa.Table.from_arrays([values(c) for c in table.columns], schema=table.schema)


def replace_column(rows: pa.Table, name: str, values: pa.ChunkedArray | pa.Array) -> pa.Table:
    """Return the rows with other values in a column of the same type."""
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)


@lru_cache(maxsize=1 << 8)
def empty(table: Table) -> pa.Table:
    """Return the table without rows."""
    return table.schema.empty_table()


def is_same(first: pa.Array, second: pa.Array) -> pa.Array:
    """Return for each pair of values whether they are equal, or both null."""
    both_null = pc.and_(pc.is_null(first), pc.is_null(second))
    return pc.or_(pc.fill_null(pc.equal(first, second), fill_value=False), both_null)


def check(table: Table, rows: pa.Table) -> None:
    """Raise DataError unless the rows are as `conform` returns them."""
    _check_schema(table, rows.schema)
    _check_required(table, rows)
    keyless = _count_keyless(table, rows)
    texts = _texts(rows.slice(0, keyless))
    if texts != sorted(set(texts)):
        raise DataError("rows without a key are not sorted, or repeat", table=table.name)
    rest = rows.slice(max(0, keyless - 1))
    keys = _keys(table, rest)
    if _rise(keys):
        return
    _, same = _steps(keys)
    if not _all(pc.invert(same)):
        _raise_repeated(table, keys, pc.index(same, True).as_py())
    raise DataError("rows are not sorted by their key", table=table.name)


def _check_schema(table: Table, schema: pa.Schema) -> None:
    for column in table.columns:
        if column.name not in schema.names:
            raise MissingColumn("is missing", table=table.name, column=column.name)
        field = schema.field(column.name)
        if not field.equals(column.arrow_field):
            problem = f"is {_describe(field)}, declared as {_describe(column.arrow_field)}"
            raise BadValue(problem, table=table.name, column=column.name)
    if tuple(schema.names) != table.column_names:
        extra = ", ".join(n for n in schema.names if n not in table.column_names)
        problem = f"has undeclared columns: {extra}" if extra else "has its columns out of order"
        raise DataError(problem, table=table.name)


def _describe(field: pa.Field) -> str:
    return str(field.type) if field.nullable else f"{field.type} not null"


def _cast(table: Table, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    if values.type.equals(column.kind.arrow_type):
        return values
    try:
        return values.cast(column.kind.arrow_type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        problem = f"a value of type {values.type} is not {column.kind.rule}: {shorten(str(error))}"
        raise BadValue(problem, table=table.name, column=column.name) from error


# --- Required values -----------------------------------------------------------------------------


def _check_required(table: Table, rows: pa.Table) -> None:
    for column in table.columns:
        nulls = rows[column.name].null_count if column.required else 0
        if nulls and nulls == rows.num_rows:
            raise MissingColumn("is in no row", table=table.name, column=column.name)
        if nulls:
            _raise_null(table, column, rows)


def _raise_null(table: Table, column: Column, rows: pa.Table) -> None:
    place = pc.index(pc.is_null(rows[column.name]), True).as_py()
    key = _key([rows[name] for name in table.key], place)
    if key is None or key == (None,) * len(table.key):
        key = f"number {place + 1}"
    raise BadValue("is null", table=table.name, column=column.name, key=key)


# --- Order and keys ------------------------------------------------------------------------------


def _order(table: Table, rows: pa.Table) -> pa.Array | None:
    """Return the indices that sort the rows, one for each key; None if they are sorted already."""
    keys = _keys(table, rows)
    if _rise(keys):
        return None
    sortable = _sortable(keys)
    sort_keys = [(name, "ascending") for name in sortable.column_names]
    order = pc.sort_indices(sortable, sort_keys=sort_keys)
    keyless = _count_keyless(table, rows)
    if keyless > 1:
        first, rest = order[:keyless], order[keyless:]
        return pa.concat_arrays([_sort_keyless(rows, first), _unique(table, rows, keys, rest)])
    return _unique(table, rows, keys, order)


def _take(rows: pa.Table, order: pa.Array) -> pa.Table:
    """Return rows in an order; a few new ones among many sorted ones cost no copy of these."""
    one = pa.scalar(1, order.type)
    breaks = pc.indices_nonzero(pc.not_equal(order[1:], pc.add(order[:-1], one)))
    if len(order) < _LONG_RUN * (len(breaks) + 1):
        return rows.take(order)
    starts = [0, *pc.add(breaks, pa.scalar(1, breaks.type)).to_pylist()]
    lengths = (stop - start for start, stop in pairwise([*starts, len(order)]))
    places = order.take(pa.array(starts, pa.int64())).to_pylist()
    return pa.concat_tables(rows.slice(*run) for run in zip(places, lengths, strict=True))


def _unique(table: Table, rows: pa.Table, keys: list[pa.Array], order: pa.Array) -> pa.Array:
    """Return the order without exact repetitions; raise RepeatedKey if only the key repeats."""
    keys = [key.take(order) for key in keys]
    _, same = _steps(keys)
    if _all(pc.invert(same)):
        return order
    _check_repetitions(table, rows, keys, order, same)
    first = pa.concat_arrays([pa.array([True]), pc.invert(same)])
    return order.filter(first)


def _count_keyless(table: Table, rows: pa.Table) -> int:
    """Return the number of rows that are null in all columns of the key; sorted, they are first."""
    if any(table.column(name).required for name in table.key):
        return 0
    nulls = pa.repeat(pa.scalar(value=True), rows.num_rows)
    for name in table.key:
        nulls = pc.and_(nulls, pc.is_null(rows[name]))
    return int(pc.sum(nulls, min_count=0).as_py())


def _sort_keyless(rows: pa.Table, places: pa.Array) -> pa.Array:
    """Return the indices of rows without a key, sorted by all their values, each row once."""
    found = dict(zip(_texts(rows.take(places)), places.to_pylist(), strict=True))
    return pa.array([found[text] for text in sorted(found)], places.type)


def _texts(rows: pa.Table) -> list[str]:
    return [repr(row) for row in rows.to_pylist()]


def _keys(table: Table, rows: pa.Table) -> list[pa.Array]:
    # Combined once: comparing and taking from thousands of chunks is slow.
    return [_combined(rows[name]) for name in table.key]


def count_true(flags: pa.ChunkedArray | pa.Array) -> int:
    """Return how many values are true."""
    return int(pc.sum(flags).as_py() or 0)


def _combined(values: pa.ChunkedArray) -> pa.Array:
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()


def _sortable(keys: list[pa.Array]) -> pa.Table:
    # A column "is valid" before each key puts nulls first on every version of Arrow: the option for
    # it moved between versions.
    pairs = [column for key in keys for column in (pc.is_valid(key), key)]
    return pa.Table.from_arrays(pairs, names=[str(i) for i in range(len(pairs))])


def _rise(keys: list[pa.Array]) -> bool:
    """Return whether the key of each row but the first is above the one before."""
    # Nearly always one column decides, without nulls: beside a Collection that all rows have.
    deciding = [key for key in keys if not _is_constant(key)]
    if len(deciding) == 1 and not deciding[0].null_count:
        return _all(pc.less(deciding[0][:-1], deciding[0][1:]))
    rises, _ = _steps(keys)
    return _all(rises)


def _is_constant(key: pa.Array) -> bool:
    """Return whether all rows have the same value; False for one row, or for nulls."""
    return len(key) > 1 and not key.null_count and key[0] == key[-1] and _all(pc.equal(key, key[0]))


def _steps(keys: list[pa.Array]) -> tuple[pa.BooleanArray, pa.BooleanArray]:
    """Return for each row but the first whether its key is above the one before, or the same."""
    steps = max(len(keys[0]) - 1, 0)
    rises, same = (pa.repeat(pa.scalar(value), steps) for value in (False, True))
    for key in keys:
        before, after = key[:steps], key[1:]
        was_null = pc.is_null(before)
        above = pc.or_(
            pc.fill_null(pc.less(before, after), fill_value=False),
            pc.and_(was_null, pc.is_valid(after)),
        )
        rises, same = pc.or_(rises, pc.and_(same, above)), pc.and_(same, is_same(before, after))
    return rises, same


def _all(flags: pa.BooleanArray) -> bool:
    return bool(pc.all(flags, min_count=0).as_py())


def _check_repetitions(
    table: Table, rows: pa.Table, keys: list[pa.Array], order: pa.Array, same: pa.BooleanArray
) -> None:
    """Raise RepeatedKey if a row has the key of the one before, but differs in any column."""
    before = pc.indices_nonzero(same)
    firsts, seconds = (order.take(pc.add(before, step)) for step in (pa.scalar(0), pa.scalar(1)))
    for name in table.column_names:
        column = rows[name]
        equal = is_same(_comparable(column.take(firsts)), _comparable(column.take(seconds)))
        if not _all(equal):
            place = before[pc.index(equal, False).as_py()].as_py()
            _raise_repeated(table, keys, place, f"differ in {name}")


def _comparable(values: pa.ChunkedArray) -> pa.Array:
    """Return values that are equal if and only if their bits are: NaN too equals itself."""
    array = _combined(values)
    if pa.types.is_floating(array.type):
        return array.view(pa.int64())
    if pa.types.is_nested(array.type):
        # Arrow does not compare lists. Only rows that share a key are compared, so they are few.
        return pa.array([repr(value) for value in array.to_pylist()], pa.string())
    return array


def _raise_repeated(table: Table, keys: list[pa.Array], place: int, how: str = "") -> None:
    key = _key(keys, place)
    problem = f"two rows with the key {shorten(repr(key))}" + (f" {how}" if how else "")
    raise RepeatedKey(problem, table=table.name, key=key)


def _key(keys: list[pa.Array], place: int) -> object:
    values = tuple(key[place].as_py() for key in keys)
    return values[0] if len(values) == 1 else values
