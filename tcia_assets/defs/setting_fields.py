"""The settings as fields: those of `TciaResource` and of the component, declared once.

Secrets are not among them, as the one has their values and the other the names of their variables.
"""

from typing import Any

from pydantic import BaseModel, Field

from tcia_assets.settings import Settings, default_text


def setting(name: str) -> Any:
    """Declare a field for a setting; None leaves it to the environment."""
    about = Settings.model_fields[name].description
    return Field(default=None, description=f"{about}; default: {default_text(name)}")


class SettingFields(BaseModel):
    """Settings of the mirror that are no secrets, and how requests are repeated."""

    source: str | None = setting("source")
    image_sources: list[str] | None = setting("image_sources")
    idc_index: str | None = setting("idc_index")
    idc_base_url: str | None = setting("idc_base_url")
    idc_connections: int | None = setting("idc_connections")
    idc_scope: str | None = setting("idc_scope")
    idc_clinical: list[str] | None = setting("idc_clinical")
    dialect: str | None = setting("dialect")
    base_url: str | None = setting("base_url")
    nlst_base_url: str | None = setting("nlst_base_url")
    shared_list_url: str | None = setting("shared_list_url")
    data_dir: str | None = setting("data_dir")
    archives_url: str | None = setting("archives_url")
    cache_bytes: int | None = setting("cache_bytes")
    subfolder: str = Field(default="", description="folder below data_dir, for a second source")
    max_connections: int | None = setting("max_connections")
    max_reply_bytes: int | None = setting("max_reply_bytes")
    max_bytes_per_second: int | None = setting("max_bytes_per_second")
    collections: list[str] | None = setting("collections")
    withdrawal_snapshots: int | None = setting("withdrawal_snapshots")
    withdrawal_hours: int | None = setting("withdrawal_hours")
    source_gone_days: int | None = setting("source_gone_days")
    verify_days: int | None = setting("verify_days")
    overlap_days: int | None = setting("overlap_days")
    compare_hours: int | None = setting("compare_hours")
    cleanup_days: int | None = setting("cleanup_days")
    attempts: int = Field(default=5, description="attempts per request")
    first_wait_s: float = Field(
        default=0.5, description="seconds to wait after the first failure; doubles each time"
    )
    read_timeout_s: float = Field(
        default=120.0, description="longest time, in seconds, without a byte from the server"
    )
