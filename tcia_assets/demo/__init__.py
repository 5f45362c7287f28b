"""The demonstration, `tcia-assets demo`: from an empty folder to a mirror that stays current.

    story      its parts, in their order, and what it prints
    stage      its folder: the settings of its commands, and what the mirror in it holds
    processes  the sandbox and Dagster's daemon, as processes that end with the demonstration
    control    changes of the sandbox: Series that are released, moved or withdrawn; an outage

Only the sources are a sandbox, on this machine; everything else is real: commands, runs, files.
"""
