"""The sections of a card about whose work a dataset is: makers of labels, licences, citations."""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.label_makers import LabelMaker
from tcia_assets.datasets.licenses import License, list_citations
from tcia_assets.metadata.citations import Origin, doi_url
from tcia_assets.metadata.markdown import (
    is_plain_url,
    markdown,
    markdown_license,
    markdown_link,
    markdown_table,
)
from tcia_assets.sources.doi import doi_of

_CONDITIONS = {
    "nc": "no commercial use",
    "nd": "no distribution of changed data",
    "sa": "derived works need the same licence",
}


def makers_section(makers: list[LabelMaker]) -> str:
    """Return the section about who made the labels; "" if there are none by others."""
    if not makers:
        return ""
    derived = [maker for maker in makers if maker.analysis]
    count = f"{sum(m.series for m in derived):,} of {sum(m.series for m in makers):,}"
    by_model = [maker.is_model for maker in derived]
    how = "by models" if all(by_model) else "some by models" if any(by_model) else ""
    made = f"by others{f', {how}' if how else ''}"
    advice = " Look at some of them before you rely on them." if any(by_model) else ""
    table = [
        {
            "Made by": markdown(maker.analysis) or "the Collection itself",
            "Publication": _publication(maker),
            "Manufacturer and model": markdown(_joined(maker.maker, maker.model)),
            "Algorithm": markdown(maker.algorithms),
            "Description": markdown(maker.shown_descriptions),
            "Licence": markdown_license(maker.license_name, maker.license_uri),
            "Series": f"{maker.series:,}",
        }
        for maker in makers
    ]
    return (
        f"## Who made the labels\n\n**{count} Series of masks were made from the images {made}.**"
        f"{advice} They have licences and citations of their own.\n\n{markdown_table(table)}"
    )


def _publication(maker: LabelMaker) -> str:
    doi = doi_of(maker.uri)
    url = doi_url(doi) or (maker.uri if is_plain_url(maker.uri) else "")
    return markdown_link(_joined(maker.title, doi or maker.uri), url)


def _joined(*texts: str) -> str:
    return ", ".join(filter(None, texts))


def license_section(licenses: list[License], info: DatasetInfo) -> str:
    """Return the section about the licences, the strictest first."""
    table = [
        {
            "Licence": markdown_license(each.name, each.uri),
            "Conditions": "; ".join(_conditions(each, info.origin)),
            "Series": f"{each.series:,}",
            "Collections": markdown(", ".join(each.collections)),
        }
        for each in licenses
    ]
    return (
        f"## Licences\n\n{_strictest(licenses, info.origin)}{_policy(info)}For details, see "
        f"`LICENSES.md`.\n\n{markdown_table(table)}"
    )


def _policy(info: DatasetInfo) -> str:
    if not info.origin.has_tcia:
        return ""
    policy = markdown_link("data usage policy", info.policy)
    return (
        f"TCIA's {policy} applies to everyone who uses or distributes "
        f"{'these data' if info.origin is Origin.TCIA else 'the data of TCIA'}: do not try to "
        "identify participants; name and cite the source datasets; pass these rules on with the "
        "data. "
    )


def _strictest(licenses: list[License], origin: Origin) -> str:
    if not licenses:
        return ""
    strictest = licenses[0]
    name = markdown(strictest.name or strictest.uri)
    if strictest.is_missing:
        missing = f"No licence is given for {strictest.series:,} Series"
        return f"**{missing}: ask {origin.advice} before use.** "
    if len(licenses) == 1:
        return f"**Licence: {name}.** "
    return f"**The strictest licence: {name}.** Each licence applies to its own Series. "


def _conditions(license_: License, origin: Origin) -> list[str]:
    if license_.is_missing:
        return [f"ask {origin.advice} before use"]
    if not license_.short:
        return ["read the licence"]
    words = license_.short.split("-")
    credit = [] if license_.short.startswith("cc0") else ["name the source"]
    return credit + [text for word, text in _CONDITIONS.items() if word in words] or ["none"]


def citation_section(samples: pa.Table, info: DatasetInfo) -> str:
    """Return the section about what to cite; "" if there is nothing."""
    lines = [
        f"- {markdown(source.title)}: {markdown_link(source.doi or source.uri, source.url)}"
        + (f". {markdown(source.text)}" if source.text else "")
        for source in list_citations(samples, info)
    ]
    if not lines:
        return ""
    listed = "\n".join(lines)
    return (
        "## Please cite\n\nFor reference managers: `CITATIONS.bib` and `CITATION.cff`.\n\n"
        f"{listed}\n"
    )
