"""Write LICENSES.md: under which licences data are, and TCIA's data usage policy."""

from __future__ import annotations

from typing import Any

from tcia_assets.metadata.citations import (
    ARCHIVE,
    ARCHIVE_URL,
    POLICY,
    Attribution,
    Citation,
    citation_of,
    count_of_series,
)
from tcia_assets.metadata.markdown import NOT_STATED, markdown, markdown_license, markdown_link

_TEMPLATE = """\
# Licences: {title}

{total} {origin}.

| Collection | Licence | Data to be cited | Series | Bytes |
| --- | --- | --- | ---: | ---: |
{rows}

{analyses}{gaps}{policy}"""

_POLICY = """\
## Data usage policy

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


_ABOUT_ANALYSES = (
    "Others made these Series from the images, by models or by hand. They have licences, DOIs and "
    "citations of their own."
)


def licenses_md(attribution: Attribution) -> str:
    """Return the text of LICENSES.md."""
    gaps = [
        f"The source states no {what} for {count_of_series(number)}: {advice}\n\n"
        for what, number, advice in attribution.gaps()
    ]
    total = f"{count_of_series(attribution.total())}, {attribution.total('bytes'):,} bytes"
    text = _TEMPLATE.format(
        title=markdown(attribution.title),
        total=f"{total} {attribution.form},",
        rows="\n".join(map(_row, attribution.rows)),
        origin=attribution.from_whom.replace(ARCHIVE, f"[{ARCHIVE}]({ARCHIVE_URL})"),
        analyses=_analyses(attribution),
        gaps="".join(gaps),
        policy=_POLICY.format(policy=POLICY) if attribution.origin.has_tcia else "",
    )
    return f"{text.rstrip()}\n"


def _analyses(attribution: Attribution) -> str:
    """Return the section about Series that were made by analyses of others' images."""
    derived = [citation for citation in attribution.citations if citation.analyses]
    if not derived:
        return ""
    listed = "\n".join(map(_analysis, derived))
    return f"## Made by analyses of these images\n\n{_ABOUT_ANALYSES}\n\n{listed}\n\n"


def _analysis(citation: Citation) -> str:
    names = ", ".join(map(markdown, citation.analyses))
    title = citation.published_title or citation.doi or citation.uri
    line = f"- {names}: {markdown_link(title, citation.url)}. {markdown(citation.notes)}"
    return f"{line} Cite as: {markdown(citation.text)}" if citation.text else line


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
