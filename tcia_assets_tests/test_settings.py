from __future__ import annotations

import pickle
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tcia_assets.catalog import DIALECTS
from tcia_assets.errors import TciaError, UnknownName, UsageError
from tcia_assets.settings import Settings
from tcia_assets.spec import Dialect

SECRETS = {"api_key": "k3y-s3cr3t", "username": "us3r-s3cr3t", "password": "p4ss-s3cr3t"}


def test_without_any_variable_the_defaults_of_the_design_hold() -> None:
    settings = Settings.from_env({})
    assert (settings.dialect, settings.data_dir, settings.max_connections) == ("nbia-v4", "data", 8)
    assert settings.url == "https://nbia.cancerimagingarchive.net/nbia-api/services/v4"
    assert settings.collections == ()
    assert settings.image_selection == ""
    assert settings.root == Path("data").absolute()


def test_each_field_is_read_from_the_variable_of_its_name() -> None:
    settings = Settings.from_env(
        {
            "TCIA_DIALECT": " bindaas-v3 ",
            "TCIA_BASE_URL": "http://127.0.0.1:8000/services/v3/",
            "TCIA_SHARED_LIST_URL": "http://lists.example/v1/",
            "TCIA_API_KEY": "k3y",
            "TCIA_USERNAME": "me",
            "TCIA_PASSWORD": "pass",
            "TCIA_DATA_DIR": "/srv/tcia",
            "TCIA_MAX_CONNECTIONS": "3",
            "TCIA_COLLECTIONS": "4D-Lung, RIDER Lung CT,,",
            "TCIA_IMAGE_SELECTION": "{collections: [LCTSC]}",
            "TCIA_WITHDRAWAL_SNAPSHOTS": "5",
            "TCIA_WITHDRAWAL_HOURS": "0",
            "TCIA_OVERLAP_DAYS": "60",
            "TCIA_COMPARE_HOURS": "12",
            "TCIA_COMPARE_CRON": "*/30 * * * *",
            "TCIA_SENSOR_INTERVAL_S": "60",
            "TCIA_DATASETS_DIR": "sets",
            "PATH": "/bin",
        }
    )
    assert settings == Settings(
        dialect="bindaas-v3",
        base_url="http://127.0.0.1:8000/services/v3/",
        shared_list_url="http://lists.example/v1/",
        api_key="k3y",
        username="me",
        password="pass",
        data_dir="/srv/tcia",
        max_connections=3,
        collections=("4D-Lung", "RIDER Lung CT"),
        image_selection="{collections: [LCTSC]}",
        withdrawal_snapshots=5,
        withdrawal_hours=0,
        overlap_days=60,
        compare_hours=12,
        compare_cron="*/30 * * * *",
        sensor_interval_s=60,
        datasets_dir="sets",
    )
    assert settings.url == "http://127.0.0.1:8000/services/v3"
    assert settings.shared_lists_url == "http://lists.example/v1"


def test_every_field_is_a_setting_of_the_design() -> None:
    assert {f"TCIA_{name.upper()}" for name in Settings.model_fields} == {
        "TCIA_SOURCE",
        "TCIA_VERIFY_DAYS",
        "TCIA_IMAGE_SOURCES",
        "TCIA_IDC_INDEX",
        "TCIA_IDC_BASE_URL",
        "TCIA_IDC_CLINICAL",
        "TCIA_IDC_CONNECTIONS",
        "TCIA_IDC_SCOPE",
        "TCIA_DIALECT",
        "TCIA_BASE_URL",
        "TCIA_NLST_BASE_URL",
        "TCIA_SHARED_LIST_URL",
        "TCIA_API_KEY",
        "TCIA_USERNAME",
        "TCIA_PASSWORD",
        "TCIA_DATA_DIR",
        "TCIA_ARCHIVES_URL",
        "TCIA_CACHE_BYTES",
        "TCIA_MAX_CONNECTIONS",
        "TCIA_MAX_REPLY_BYTES",
        "TCIA_MAX_BYTES_PER_SECOND",
        "TCIA_COLLECTIONS",
        "TCIA_IMAGE_SELECTION",
        "TCIA_WITHDRAWAL_SNAPSHOTS",
        "TCIA_WITHDRAWAL_HOURS",
        "TCIA_SOURCE_GONE_DAYS",
        "TCIA_OVERLAP_DAYS",
        "TCIA_COMPARE_HOURS",
        "TCIA_CLEANUP_DAYS",
        "TCIA_COMPARE_CRON",
        "TCIA_SENSOR_INTERVAL_S",
        "TCIA_DATASETS_DIR",
    }


def test_a_blank_variable_is_as_none() -> None:
    blank = {f"TCIA_{name.upper()}": "  " for name in Settings.model_fields}
    assert Settings.from_env(blank) == Settings()


def test_what_is_chosen_goes_before_the_environment_and_none_does_not() -> None:
    environment = {"TCIA_DIALECT": "nbia-v1", "TCIA_DATA_DIR": "there"}
    settings = Settings.from_env(environment, dialect="bindaas-v4", data_dir=None)
    assert (settings.dialect, settings.data_dir) == ("bindaas-v4", "there")


def test_the_environment_of_the_process_is_read_when_asked_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TCIA_DATA_DIR", "elsewhere")
    assert Settings.from_env().data_dir == "elsewhere"


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("TCIA_DIALEKT", "nbia-v4", r"no setting 'TCIA_DIALEKT'.*'TCIA_DIALECT'"),
        ("TCIA_DIALECT", "nbia4", r"no dialect \(TCIA_DIALECT\) 'nbia4'.*'nbia-v4'"),
        ("TCIA_MAX_CONNECTIONS", "0", "TCIA_MAX_CONNECTIONS is 0; it must be 1 or more"),
        ("TCIA_MAX_CONNECTIONS", "-1", "TCIA_MAX_CONNECTIONS is -1; it must be 1 or more"),
        ("TCIA_MAX_CONNECTIONS", "many", "TCIA_MAX_CONNECTIONS is 'many'; .* a whole number"),
        ("TCIA_MAX_BYTES_PER_SECOND", "5MB", "BYTES_PER_SECOND is '5MB'; .* a whole number"),
        ("TCIA_WITHDRAWAL_SNAPSHOTS", "1", "TCIA_WITHDRAWAL_SNAPSHOTS is 1; it must be 2 or more"),
        ("TCIA_WITHDRAWAL_HOURS", "a day", "TCIA_WITHDRAWAL_HOURS is 'a day'; .* a whole number"),
        ("TCIA_OVERLAP_DAYS", "1", "TCIA_OVERLAP_DAYS is 1; it must be 2 or more"),
        ("TCIA_COMPARE_CRON", "hourly", "TCIA_COMPARE_CRON is 'hourly'; it must be five fields"),
        ("TCIA_DATA_DIR", "s3://bucket/x", "TCIA_DATA_DIR is 's3://bucket/x'; only a local folder"),
        ("TCIA_BASE_URL", "nbia.example/v4", "TCIA_BASE_URL is 'nbia.example/v4'; it must look"),
        ("TCIA_BASE_URL", "ftp://host/v4", "TCIA_BASE_URL is 'ftp://host/v4'"),
        ("TCIA_BASE_URL", "http:///v4", "TCIA_BASE_URL is 'http:///v4'"),
        ("TCIA_BASE_URL", "http://[::1/v4", "TCIA_BASE_URL is 'http://"),
        ("TCIA_BASE_URL", "http://host:99999/v4", "TCIA_BASE_URL is 'http://host:99999/v4'"),
        ("TCIA_BASE_URL", "http://host:port/v4", "TCIA_BASE_URL is 'http://host:port/v4'"),
        ("TCIA_BASE_URL", "http://my host/v4", "TCIA_BASE_URL is 'http://my host/v4'"),
        ("TCIA_BASE_URL", "http://host/v4#top", "TCIA_BASE_URL is 'http://host/v4#top'"),
        ("TCIA_SHARED_LIST_URL", "host", "TCIA_SHARED_LIST_URL is 'host'"),
        ("TCIA_ARCHIVES_URL", "gs://bucket/x", "is 'gs://bucket/x'; it must be a folder, or look"),
        ("TCIA_ARCHIVES_URL", "s3://", "TCIA_ARCHIVES_URL is 's3://'; it must be a folder"),
        ("TCIA_ARCHIVES_URL", "s3://A_b/x", "TCIA_ARCHIVES_URL is 's3://A_b/x'"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_can(
    variable: str, text: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Settings.from_env({variable: text})


@pytest.mark.parametrize("url", ["s3://me:s3cr3t@bucket/x", "s3://bucket/x?key=s3cr3t"])
def test_the_place_of_zips_has_no_secret(url: str) -> None:
    with pytest.raises(UsageError, match="TCIA_ARCHIVES_URL must not have a user") as refused:
        Settings(archives_url=url)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("name", ["base_url", "nlst_base_url", "shared_list_url"])
@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cr3t@host/v4",
        "ftp://me:s3cr3t@host/v4",
        "https://host/v4?api_key=s3cr3t",
        "me:s3cr3t@host",
        "https://me:s3cr3t@[host",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(name: str, url: str) -> None:
    with pytest.raises(UsageError, match="must not have a user, a password or a query") as caught:
        Settings(**{name: url})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("dialect", "given", "named"),
    [
        ("nbia-v2", {}, "TCIA_USERNAME and TCIA_PASSWORD"),
        ("nbia-v2", {"username": "me"}, "TCIA_USERNAME and TCIA_PASSWORD"),
        ("bindaas-v3", {"password": "x"}, "TCIA_API_KEY"),
    ],
)
def test_a_dialect_without_its_secret_says_what_it_needs(
    dialect: str, given: dict[str, str], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        Settings(dialect=dialect, **given)


@pytest.mark.parametrize("dialect", ["nbia-v4", "nbia-v1", "bindaas-v4"])
def test_open_dialects_need_no_secret(dialect: str) -> None:
    assert Settings(dialect=dialect).api.name == dialect


@pytest.mark.parametrize("key", ["s3cr3t\nHost: x", "s3cr3t\r", "s3cr3té", "s3cr3t\0"])
def test_a_key_that_cannot_travel_in_a_header_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(UsageError, match="TCIA_API_KEY") as caught:
        Settings(dialect="bindaas-v3", api_key=key)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_show_in_no_text_of_the_settings(name: str) -> None:
    settings = Settings(**SECRETS)
    for text in (repr(settings), str(settings), f"{settings}", settings.source_name, settings.url):
        assert SECRETS[name] not in text


def test_secrets_show_in_no_error_about_other_settings() -> None:
    with pytest.raises(TciaError) as caught:
        Settings(dialect="nope", **SECRETS)
    assert not any(secret in str(caught.value) for secret in SECRETS.values())


def test_an_unknown_variable_is_named_without_its_value() -> None:
    with pytest.raises(UnknownName) as caught:
        Settings.from_env({"TCIA_PASWORD": "s3cr3t"})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("dialect", "base", "lists"),
    [
        ("nbia-v4", "http://host/nbia-api/services/v4", "http://host/nbia-api/services/v1"),
        ("nbia-v4", "http://host/nbia-api/services/v4/", "http://host/nbia-api/services/v1"),
        ("nbia-v1", "http://host/nbia-api/services/v1", "http://host/nbia-api/services/v1"),
        ("bindaas-v4", "http://host/services/v4", "http://host/services/v4"),
    ],
)
def test_shared_lists_are_asked_of_the_same_host(dialect: str, base: str, lists: str) -> None:
    settings = Settings(dialect=dialect, base_url=base)
    assert settings.shared_lists_url == lists
    assert settings.shared_lists_api.has("getContentsByName")


@pytest.mark.parametrize(
    ("dialect", "url", "said"),
    [
        ("nbia-v1", "http://host/nbia-api/services/v4", "to nbia-v4, or"),
        ("nbia-v4", "http://host/nbia-api/services/v1/", "to nbia-v1, or"),
        ("nbia-v1", "http://host/v2", "to nbia-v2, or"),
        ("nbia-v4", "http://host/services/v4", "to bindaas-v4, or"),
        ("bindaas-v4", "http://host/nbia-api/services/v4", "to nbia-v4, or"),
        ("nbia-v4", "http://host/nbia-api/services/v3", "set TCIA_BASE_URL to"),
    ],
)
def test_a_dialect_and_a_url_of_another_are_refused_with_both_named(
    dialect: str, url: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.from_env({"TCIA_DIALECT": dialect, "TCIA_BASE_URL": url})
    assert f"TCIA_DIALECT is '{dialect}'" in str(caught.value)
    assert f"TCIA_BASE_URL is '{url.rstrip('/')}'" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
@pytest.mark.parametrize("path", ["", "/x", "/proxy/{version}", "/x{path}", "{path}/"])
def test_a_url_may_have_the_path_of_its_dialect_or_no_version(spoken: Dialect, path: str) -> None:
    public = urlsplit(spoken.base_url).path
    end = path.format(path=public, version=spoken.name.rpartition("-")[2])
    assert Settings(dialect=spoken.name, base_url=f"http://host{end}", **SECRETS)


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
def test_the_source_is_dialect_and_host(spoken: object) -> None:
    name = str(getattr(spoken, "name"))  # noqa: B009
    settings = Settings(dialect=name, base_url="http://127.0.0.1:8042/x", **SECRETS)
    assert settings.source_name == f"{name}@127.0.0.1:8042"


_NLST_HOST = "https://nlst.cancerimagingarchive.net/nbia-api/services"
_SERVICES = "https://services.cancerimagingarchive.net"
_STAND_IN = "http://127.0.0.1:8042/nbia-api/services/v4"
_SIMILAR = "https://cancerimagingarchive.net.example/v4"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, f"{_NLST_HOST}/v4"),
        ({"dialect": "nbia-v1"}, f"{_NLST_HOST}/v1"),
        ({"base_url": f"{_SERVICES}/nbia-api/services/v4"}, f"{_NLST_HOST}/v4"),
        # A stand-in is never left for a public host, unless that is set.
        ({"base_url": _STAND_IN}, _STAND_IN),
        ({"base_url": _STAND_IN, "nlst_base_url": "http://nlst/v4/"}, "http://nlst/v4"),
        ({"base_url": _SIMILAR}, _SIMILAR),
        ({"dialect": "bindaas-v4"}, f"{_SERVICES}/services/v4"),
        ({"nlst_base_url": Settings().url}, Settings().url),
    ],
)
def test_nlst_has_a_host_of_its_own_at_the_public_servers_or_where_it_is_set(
    given: dict[str, str], url: str
) -> None:
    settings = Settings(**given)
    own = settings.of_collection("NLST")
    assert own.url == url
    assert own.of_collection("NLST") == own
    assert settings.of_collection("LCTSC") == settings


def test_the_url_of_nlst_must_fit_the_dialect_too() -> None:
    with pytest.raises(UsageError, match="TCIA_NLST_BASE_URL is 'http://h/nbia-api/services/v1'"):
        Settings(nlst_base_url="http://h/nbia-api/services/v1")


def test_below_a_subfolder_only_the_data_moves() -> None:
    settings = Settings(data_dir="data", api_key="k")
    assert settings.below("nlst").root == Path("data/nlst").absolute()
    assert settings.below("") == settings
    assert settings.below("nlst").api_key == "k"
    assert settings.below("nlst").archives_url == ""
    elsewhere = settings.replace(archives_url="s3://bucket/tcia/")
    assert elsewhere.below("nlst").archives_url == "s3://bucket/tcia/nlst"
    assert elsewhere.below("").archives_url == "s3://bucket/tcia"


def test_settings_travel_to_other_processes() -> None:
    settings = Settings(**SECRETS)
    assert pickle.loads(pickle.dumps(settings)) == settings
