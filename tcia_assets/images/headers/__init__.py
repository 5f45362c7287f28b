"""Tables made from the DICOM headers in zips: `images`, `references` and `targets`.

series_zips         which zips there are, and rows of their members in batches
image_rows          the table `images`
indexed_zips        the table `indexed_zips`: which zips `images` describes
repeated_uids       SOPInstanceUIDs that several objects have
reference_plan      which zips they are read from
references          the tables `references` and `targets`

dicom               the header of one object: the columns of `images`
element_stream      all elements of an object, in bounded memory
referenced_objects  what one object refers to, and its segments or ROIs
"""
