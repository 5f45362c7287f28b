"""Plan, fetch and verify the images of the selected Series, and list them in a manifest.

Nothing gets its final name before it is verified; an earlier complete zip stays until then.

    run_reasons     which Collections need a run
    fetch_session   a fetch of several Collections: plan all of them, within one budget
    plan            what to fetch of one Collection, and why
    pending         the Series to fetch, as a table
    run_limits      shards and budgets
    disk_space      whether a plan fits on the disk

    fetch           fetch what is planned of one Collection
    workers         the threads that do it
    fetch_events    each fetch in the history of its Series
    series_task     one Series: what is expected of its zip, from where, to which path
    series_result   what came of it, as a row of the manifest; uses a zip on disk if it can
    outages         sources that are down, so that others are asked at once
    download        download its zip, quarantine it if it is refused, or complete it
    acceptance/     whether a zip is the whole Series

    manifest        the table `image_archives`, and how runs write to it
    manifest_row    one of its rows
    journal         rows that are not in the table yet
    shared_rows     rows that machines with warehouses of their own pass to each other
    zip_files       paths of zips, and claims on them
    md5_hierarchy   hashes of Series and of what is above them

    status          the state of the mirror by Collection
    series_counts   how many Series are known, selected, on disk and to come
    unindexed       zips whose headers are still to be read
    rows_without_zip  rows of zips that are gone or moved away
    verify          whether zips are as they were when fetched
    zip_check       whether one zip is that of its row
    store_loss      whether the store that had the zips is there
    zip_parts       the parts in which they are read again, and when each was read
    checksums       `SHA256SUMS` beside the zips, for other programs
    changed_texts   it and the licences, written again where they were changed
    audit           whether they are as the source has them now
    hash_walk       the requests by which that is found out
    equality        the table `source_equality`: what was compared, and how it differs
    rebuild         the manifest, made from zips
    prune           zips that are not selected, and the quarantine
    export          plain DICOM files for other tools
    export_files    the files of a Series, from its zip
    export_paths    their folders and names
    export_index    the record of what was exported
    headers/        the tables `images`, `references` and `targets`, made from what is in zips
"""
