"""The source for the Imaging Data Commons (IDC): an index release, and public buckets.

source.py          what the seam promises
index.py           an index release: its rows in our columns
index_database.py  the database that is made from its files
index_values.py    its values: their types, and those that cannot be read
release.py         where the index release is, and its version
remote_index.py    index releases behind a URL, and the copies of them
bucket.py          the objects of a Series in a bucket: list, download
clinical.py        clinical tables of Collections, from an export
listing.py         a page of a bucket's listing
packing.py         the zip of a Series, from its objects
"""
