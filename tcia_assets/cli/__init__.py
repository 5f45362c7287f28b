"""The command line, `tcia-assets`: one module a command or command group.

    app              the group of them, and how an error becomes an exit code
    refresh, fetch, status, changes, query, tables, export, verify, prune, migrate, dataset, doctor,
    clinical, catalogue, demo, sandbox
                     the commands of these names
    import_folder    `import`
    completion       the command, and what completes names in others
    dataset_new, dataset_plan, dataset_pack, dataset_push
                     `dataset new`, `dataset plan`, `dataset pack` and `dataset push`
    declaration_file the file that declares a dataset
    workspace        the mirror that a command works on
    options          options that several commands share
    terminal         consoles, escaping, tables, progress bars
    query_result     rows as a table, CSV, JSON or Parquet
    data_dictionary  the declared tables as Markdown

The modules parse arguments, print results and set exit codes. The work itself is shared with
Dagster's daemon and with notebooks, and is in the other packages.

Exit codes: 0 success, 1 something failed or is incomplete, 2 the call was wrong, 130 interrupted by
Ctrl-C.
"""

from tcia_assets.cli.app import main

__all__ = ["main"]
