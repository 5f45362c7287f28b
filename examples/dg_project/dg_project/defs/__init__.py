"""The components of the project, one in each folder."""
