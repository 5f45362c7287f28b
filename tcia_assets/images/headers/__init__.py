"""Tables made from the DICOM headers in zips: `images`, `references` and `targets`.

series_zips         which zips to read, and rows of their members in batches
image_rows          the table `images`
references          the tables `references` and `targets`

dicom               the header of one object: its identity and the columns of `images`
attributes          which DICOM attributes these columns hold
elements            the elements at the top level of an object, from its first bytes
element_stream      all elements of an object, in bounded memory
values              encoded values to values of columns
referenced_objects  what one object refers to, and its segments or ROIs
"""
