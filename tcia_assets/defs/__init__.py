"""The Dagster edge, split by stage: the only importer of dagster beside `definitions.py`.

No module here has `from __future__ import annotations`: Dagster reads the annotations of an asset's
parameters when it is declared, and refuses texts.
"""
