"""A folder of DICOM files as a source: one Collection, which no server lists.

source.py   the Source: rows made from the headers, zips packed from the files
scan.py     read the header of each file, once, into a database on disk
headers.py  the header of one file, or why the file is left out
packing.py  the zip of a Series from its files
"""
