"""The Imaging Data Commons beside the sandbox's own archive: index releases and public buckets.

releases        which Series each release has, and their uuids; first_release: at the start
index_files     a release as Parquet files; index_schemas: their columns and types
stored_objects  what the buckets have: keys, sizes, MD5s and bytes
clinical        clinical tables of some Collections
buckets         replies of S3: listings, objects, errors; bucket_faults: what goes wrong in them
service         which path is whose, and the index files by URL
"""
