"""Tables as Parquet partitions on disk, and DuckDB views over them.

warehouse     the one way to read, write and query tables
partition_files  the files of one partition, and how they are replaced
partitions    where files of partitions lie, their layout
parquet_files the bytes of these files
series_parts  partitions that grow by parts: which part has which Series
row_parts     partitions to which rows are only ever added
digests       the hash of each partition's file
clean_queries queries that found nothing
data_folder   the data folder as a user names it
marks         what was last made of a partition's input
table_check   partitions compared with their hashes
conform       what a table's rows must be
clinical      clinical tables, with columns of their own
queries       queries over the views, while partitions are replaced
views         the databases that hold the views
view_sql      the SQL of the views, of their macros and comments
acquisition   the SQL of the view `series_acquisition`
sql           DuckDB: connections, quoting, checks of a user's SQL
archives/     where the zips of Series are
cores         computing on as many threads as there are cores
files         files and folders that appear whole or not at all
locks         locks between processes
"""
