"""Tables as Parquet partitions on disk, and DuckDB views over them.

warehouse     the one way to read, write and query tables
partitions    one partition: where its file lies, its bytes, its layout
digests       the hash of each partition's file
table_check   partitions compared with their hashes
conform       what a table's rows must be
clinical      clinical tables, with columns of their own
views         the databases that hold the views
view_sql      the SQL of the views, of their macros and comments
acquisition   the SQL of the view `series_acquisition`
sql           DuckDB: connections, quoting, checks of a user's SQL
archives/     where the zips of Series are
files         files and folders that appear whole or not at all
locks         locks between processes
"""
