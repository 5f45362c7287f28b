"""Compare the source, the data folder and the installation with what this package relies on.

examine.py            the whole examination, within a time, and its report
steps.py              one step after another; what an error of a step means
step_result.py        what a step returns
subject.py            what the requests are about: a Collection, patients, a small Series
source_checks.py      the connection, and the limits of the source
reply_checks.py       the fields of each endpoint, filters, changes
field_check.py        the fields, values and dates of one reply
image_checks.py       one small Series, fetched into a temporary folder and proven
folder_checks.py      the data folder; nothing is written there
archive_checks.py     the store of zips, in which one object comes and goes
installation_checks.py  versions and extras
redaction.py          leave out secrets and names of users
"""
