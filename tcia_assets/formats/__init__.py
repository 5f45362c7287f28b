"""The forms of files that sources write and the rooms above them read.

attributes  which DICOM attributes columns hold
elements    the elements at the top level of a DICOM object, from its first bytes
identity    which object a DICOM file holds, and of which Series
md5_list    md5hashes.csv, and the MD5 over many MD5s
series_zip  write the zip of a Series
values      encoded values to values of columns
"""
