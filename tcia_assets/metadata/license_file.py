"""Write LICENSES.md: under which licences data are, and TCIA's data usage policy."""

from __future__ import annotations

from typing import Any

from tcia_assets.metadata.citations import (
    ARCHIVE,
    ARCHIVE_URL,
    POLICY,
    Attribution,
    citation_of,
    count_of_series,
)
from tcia_assets.metadata.markdown import NOT_STATED, markdown, markdown_license, markdown_link

_TEMPLATE = """\
# Licences: {title}

{total} from [{archive}]({archive_url}).

| Collection | Licence | Data to be cited | Series | Bytes |
| --- | --- | --- | ---: | ---: |
{rows}

{gaps}## Data usage policy

TCIA's [data usage policy]({policy}) requires:

- Do not try to identify or contact the participants, neither from these data alone nor together
  with other data.
- Name the datasets and the archive in every talk, publication or other disclosure that is based on
  them, and cite each dataset by its DOI; `CITATIONS.bib` and `CITATION.cff` list them.
- If you pass the data on, or give access to them, attribute each dataset, link to the policy, and
  ask the same of those who receive them.
- The licence of each dataset applies too; one with NonCommercial (NC) in its name forbids
  commercial use.
"""


def licenses_md(attribution: Attribution) -> str:
    """Return the text of LICENSES.md."""
    gaps = [
        f"The source states no {what} for {count_of_series(number)}: {advice}\n\n"
        for what, number, advice in attribution.gaps()
    ]
    total = f"{count_of_series(attribution.total())}, {attribution.total('bytes'):,} bytes"
    return _TEMPLATE.format(
        title=markdown(attribution.title),
        total=f"{total} {attribution.form},",
        archive=ARCHIVE,
        archive_url=ARCHIVE_URL,
        rows="\n".join(map(_row, attribution.rows)),
        gaps="".join(gaps),
        policy=POLICY,
    )


def _row(row: dict[str, Any]) -> str:
    citation = citation_of([row]) if row["DataDescriptionURI"] else None
    cells = [
        markdown(row["Collection"]),
        markdown_license(row["LicenseName"] or "", row["LicenseURI"] or ""),
        markdown_link(citation.doi or citation.uri, citation.url) if citation else NOT_STATED,
        f"{row['series']:,}",
        f"{row['bytes']:,}",
    ]
    return f"| {' | '.join(cells)} |"
