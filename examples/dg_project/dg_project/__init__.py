"""A Dagster project with a mirror of TCIA as a component."""
