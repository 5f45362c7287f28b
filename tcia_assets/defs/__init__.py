"""The Dagster edge, split by stage: the only importer of dagster.

    plugin            `build_definitions`: all of the below
    resource          `TciaResource`
    setting_fields    its settings, which the component has too
    io_manager        partitions as inputs of your own assets
    names             the names of all that follows
    partitions        partition keys, and runs over a range of them

    metadata          the metadata tables as assets
    clinical          the clinical tables as an asset
    images            the image tables as assets
    datasets          each declared dataset as three assets
    mirror            all of it as one asset: a summary of each run
    catalogue         the HTML catalogue as an asset
    dataset_files     where datasets are declared
    dataset_metadata  their metadata in Dagster's UI
    asset_specs       the asset of a table
    display           pictures, links and rows in the metadata of events
    checks            asset checks of tables
    check_records     which of their results are recorded
    zip_checks        asset checks of zips

    jobs              what is materialized together
    schedules         what runs every day
    sensors           what runs when the source has changed
    tick_source       the source of a sensor's or schedule's tick
    source_gone       the check and the alarm of a source that is gone
    sensor_pause      the sensor's pause while the source fails
    run_requests      differences as run requests
    active_runs       the Collections of unfinished runs

    refresh_run       one run over metadata tables
    fetch_reporter    a fetch in Dagster's log
    run_process       the process of a run
    events            events of partitions that changed
    left_events       events of Collections that Series left with their zips
    recorded          which of them Dagster has
    alarms            what failed as a line
    local_runs        runs in this process
    dagster_home      where they are recorded
    instance_records  whether they have ended, and why a tick requested none
    run_report        what people read afterwards

    cleanup           the job that deletes old runs
    old_runs          which those are
    run_files         the files that they leave

No module that declares assets, sensors or schedules has `from __future__ import annotations`:
Dagster reads the annotations of their parameters, and refuses texts.
"""
