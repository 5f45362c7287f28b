"""Labels that others derived are found, chosen and named; both sources give equal samples."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tcia_assets.datasets.build import BuildResult
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.pairing import find_pairs
from tcia_assets.errors import BadDeclaration, LicenseConflict
from tcia_assets.sandbox.idc.index_files import write_index
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import idc_settings_for, settings_for
from tcia_assets_tests.datasets import derived_labels, example_builds
from tcia_assets_tests.datasets.derived_labels import ANALYSIS, WHERE, add_mask_of, built, declared
from tcia_assets_tests.datasets.example_builds import rows

LEFT_OUT = shutil.ignore_patterns("*.duckdb")


@pytest.fixture(scope="module")
def small_ct() -> Iterator[Sandbox]:
    with Sandbox(derived_labels.small_catalogue()) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def idc_root(small_ct: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a mirror of the IDC, with what others derived."""
    root = tmp_path_factory.mktemp("idc")
    index = write_index(small_ct.idc, tmp_path_factory.mktemp("index"))
    derived_labels.mirror(idc_settings_for(small_ct, root, index, idc_scope="all"))
    return root


@pytest.fixture(scope="module")
def nbia_root(small_ct: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a mirror of NBIA with the same images."""
    root = tmp_path_factory.mktemp("nbia")
    derived_labels.mirror(settings_for(small_ct, root))
    return root


@pytest.fixture
def idc(idc_root: Path, tmp_path: Path) -> Warehouse:
    shutil.copytree(idc_root, tmp_path / "idc", ignore=LEFT_OUT)
    return Warehouse(tmp_path / "idc")


@pytest.fixture(scope="module")
def by_model(idc_root: Path) -> BuildResult:
    """Return the shipped example, built once."""
    return built(declared(), Warehouse(idc_root))


def masks(warehouse: Warehouse, condition: str) -> set[str]:
    found = warehouse.query(
        f"SELECT SeriesInstanceUID AS uid FROM current_series WHERE {condition}"
    )
    return set(found["uid"].to_pylist())


# --- Which labels ---------------------------------------------------------------------------------


def test_masks_by_others_are_paired_as_those_of_the_collection(idc_root: Path) -> None:
    warehouse = Warehouse(idc_root)
    images = masks(warehouse, "Modality = 'CT'")
    for condition in (f"analysis_result_id = '{ANALYSIS}'", "Modality = 'RTSTRUCT'"):
        pairs = find_pairs(warehouse, sorted(masks(warehouse, condition))).to_pylist()
        assert {(pair["state"], pair["how"]) for pair in pairs} == {("paired", "series")}
        assert {pair["image_series_instance_uid"] for pair in pairs} == images


@pytest.mark.parametrize(
    "condition",
    [
        f"analysis_result_id = '{ANALYSIS}'",
        "Modality = 'SEG' AND ThirdPartyAnalysis = 'YES'",
        "Manufacturer = 'tcia_assets' AND ManufacturerModelName = 'sandbox model'",
        "SeriesDescription LIKE 'SandboxModel(v1.0)%'",
    ],
)
def test_a_target_asks_for_labels_by_who_made_them(idc_root: Path, condition: str) -> None:
    cohort = query_cohort(declared((WHERE, f"  where: {condition}\n")), Warehouse(idc_root))
    assert cohort.of_role("target").num_rows == cohort.of_role("image").num_rows == 5


def test_a_sample_has_the_labels_of_the_model(by_model: BuildResult) -> None:
    made = rows(by_model).values()
    assert len(made) == 5
    for row in made:
        assert (row["state"], row["reasons"]) == ("kept", [])
        voxels = dict(row["label_voxels"])
        assert voxels["body"] > voxels["lesion"] > 0


@pytest.mark.parametrize(
    ("analysis", "named"),
    [
        (None, "(the Collection itself, the analysis 'sandbox_model_segmentations')"),
        ("another_model", "(the analysis 'another_model', the analysis 'sandbox_model"),
    ],
)
def test_masks_of_several_makers_are_not_united_without_a_choice(
    idc: Warehouse, analysis: str | None, named: str
) -> None:
    add_mask_of(idc, min(masks(idc, "Modality = 'SEG'")), analysis)
    with pytest.raises(BadDeclaration, match="1 of 5 images have masks of several") as caught:
        query_cohort(declared((WHERE, "")), idc)
    assert named in str(caught.value)


def test_a_choice_among_makers_is_followed(idc: Warehouse) -> None:
    add_mask_of(idc, min(masks(idc, "Modality = 'SEG'")), "another_model")
    for choice in ("  where: 'true'\n", "  readers: majority\n"):
        assert query_cohort(declared((WHERE, choice)), idc).of_role("target").num_rows == 6
    assert query_cohort(declared(), idc).of_role("target").num_rows == 5


def test_without_the_analysis_the_error_says_how_it_is_listed(nbia_root: Path) -> None:
    with pytest.raises(BadDeclaration, match=r"selects no SEG Series.*TCIA_IDC_SCOPE=all"):
        query_cohort(declared(), Warehouse(nbia_root))


# --- Licences and names ---------------------------------------------------------------------------


def test_a_refused_licence_of_labels_refuses_the_dataset(idc_root: Path) -> None:
    refusing = declared(("deny: [NC, ND]", 'deny: ["CC BY 4.0"]'))
    with pytest.raises(LicenseConflict) as caught:
        query_cohort(refusing, Warehouse(idc_root))
    assert set(caught.value.series) == masks(Warehouse(idc_root), "Modality = 'SEG'")


def test_the_card_names_the_model_its_licence_and_its_publication(by_model: BuildResult) -> None:
    text = (by_model.folder / "README.md").read_text()
    section = text[text.index("## Who made the labels") : text.index("## Licences")]
    for word in (
        "5 of 5 Series of masks were made from the images by others, by models",
        "sandbox\\_model\\_segmentations",
        "Segmentations of CT by the sandbox's model, 10.5281/zenodo.1000001",
        "tcia\\_assets, sandbox model",
        "AUTOMATIC (tcia\\_assets sandbox)",
        "SandboxModel(v1.0) Segmentation",
        "4.0 International License](<https://creativecommons.org/licenses/by/4.0/>)",
    ):
        assert word in section
    assert "license:\n- cc-by-4.0\n- cc-by-3.0\n" in text or (
        "license:\n- cc-by-3.0\n- cc-by-4.0\n" in text
    )


def test_the_files_cite_the_analysis_beside_the_images(by_model: BuildResult) -> None:
    licenses = (by_model.folder / "LICENSES.md").read_text()
    assert "## Made by analyses of these images\n" in licenses
    assert "5 Series made by the analysis sandbox\\_model\\_segmentations" in licenses
    references = yaml.safe_load((by_model.folder / "CITATION.cff").read_text())["references"]
    by_doi = {each["doi"]: each for each in references}
    analysis = by_doi["10.5281/zenodo.1000001"]
    assert analysis["title"] == "Segmentations of CT by the sandbox's model"
    assert analysis["authors"] == [{"name": "Sandbox, A., & Phantom, B."}]
    assert analysis["publisher"] == {"name": "Zenodo"}
    assert analysis["license"] == "CC-BY-4.0"
    images = by_doi["10.7937/k9/tcia.2017.3r3fvz08"]
    assert images["publisher"]["name"] == "The Cancer Imaging Archive"
    assert images["license"] == "CC-BY-3.0"
    bib = (by_model.folder / "CITATIONS.bib").read_text()
    assert "author = {{Sandbox, A., \\& Phantom, B.}}" in bib
    assert "publisher = {Zenodo}" in bib


def test_the_lock_file_keeps_the_names(idc_root: Path, by_model: BuildResult) -> None:
    cohort = by_model.version.content["cohort"]
    named = [row for row in cohort["series"] if row["role"] == "target"]
    assert {row["analysis_result_id"] for row in named} == {ANALYSIS}
    assert {row["SeriesDescription"] for row in named} == {"SandboxModel(v1.0) Segmentation"}
    # Those of images would change the hashes of earlier cohorts.
    assert not {"analysis_result_id", "algorithms"} & cohort["series"][0].keys()
    assert [each["doi"] for each in cohort["publications"]] == [
        "10.5281/zenodo.1000001",
        "10.7937/k9/tcia.2017.3r3fvz08",
    ]


# --- Both sources ---------------------------------------------------------------------------------


def test_both_sources_give_equal_voxels_labels_and_splits(idc_root: Path, nbia_root: Path) -> None:
    declaration = example_builds.declared()
    theirs, ours = (built(declaration, Warehouse(root)) for root in (nbia_root, idc_root))
    before, after = rows(theirs), rows(ours)
    assert before.keys() == after.keys()
    for uid, row in before.items():
        assert row["state"] == "kept"
        for name in ("content_md5", "pixel_sha256", "image_sha256", "label_sha256", "part", "fold"):
            assert row[name] == after[uid][name], name
        assert row["label_voxels"] == after[uid]["label_voxels"]
    # The table and the card say what each source says, so these are two versions of one dataset.
    assert theirs.version.version != ours.version.version
    files, others = theirs.version.files, ours.version.files
    assert files.keys() == others.keys()
    different = {path for path, file in files.items() if file != others[path]}
    assert "samples.parquet" in different
    assert not [path for path in different if path.endswith(".nii.gz")]
    # So a mirror that changes its source makes no sample again.
    stores = [root / "datasets" / "lung_ct" / ".samples" for root in (nbia_root, idc_root)]
    made, again = ({path.name for path in store.iterdir()} for store in stores)
    assert made == again
