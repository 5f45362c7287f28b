"""The metadata tables: requested from a source, compared with what is stored, written.

refresh            one partition of any table
refresh_series     the partition of `series`, from a listing of a Collection
refresh_sizes      the partition of `series_sizes`
refresh_result     what a refresh did
single_series      Series whose Collection is not refreshed
named_series       such Series that a selection names
budget             requests and memory that the partitions of a run share

collection_list    the Collections of a source
descriptions       what a source describes of a Collection
shared_list        a shared list
clinical           the clinical tables of a Collection
value_lists        the values that occur in a Collection
partition_keys     which names can be partition keys
imports            Collections that are imported from folders

known_replies      replies that were compared before
repeated_listing   a listing that is the one before
listing            merge a listing into the stored rows
absence            count the absences of those that it lacks
source_outage      since when a source does not answer
plausibility       whether a listing can be true
other_sources      rows that another source has listed before
moves              Series in several Collections
patient_ids        Series without a PatientID
fingerprints       one hash over a Series' values
events             change events between two states of `series`
history            the table `series_changes`
schema_change      columns that lost all their values
unreadable         values that cannot be read
unreadable_series  Series of which values cannot be read

selection          which Series' images are wanted
selection_parser   a selection as YAML, JSON or fields
series_lists       files that name Series
s5cmd_manifest     such files of the Imaging Data Commons
quiet_hours        hours without fetches

licenses           names of licences
attribution        the files beside images: licences and what to cite
license_file       LICENSES.md
citations          what to cite
publications       titles and citations by DOI
citation_files     CITATION.cff and CITATIONS.bib
markdown           text from a source in Markdown
"""
