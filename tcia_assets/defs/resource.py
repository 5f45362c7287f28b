"""The TciaResource: settings as fields, and the source and warehouse of a run."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from tcia_assets.defs.names import Names
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.selection_parser import parse_selection
from tcia_assets.progress import notes_to
from tcia_assets.settings import Settings, default_text
from tcia_assets.sources import Pacing, Source, open_image_sources, open_source
from tcia_assets.store.warehouse import Warehouse


def _setting(name: str) -> Any:
    """Declare a field for a setting; None leaves it to the environment."""
    about = Settings.model_fields[name].description
    return Field(default=None, description=f"{about}; default: {default_text(name)}")


class TciaResource(dg.ConfigurableResource["TciaResource"]):
    """Settings of the mirror, with its source and its warehouse.

    A field that is not given is read from the variable TCIA_<FIELD> of the environment when the
    resource is built. Give secrets as `dg.EnvVar("TCIA_API_KEY")`: plain texts show in the UI.
    """

    source: str | None = _setting("source")
    image_sources: list[str] | None = _setting("image_sources")
    idc_index: str | None = _setting("idc_index")
    idc_base_url: str | None = _setting("idc_base_url")
    idc_connections: int | None = _setting("idc_connections")
    idc_scope: str | None = _setting("idc_scope")
    dialect: str | None = _setting("dialect")
    base_url: str | None = _setting("base_url")
    nlst_base_url: str | None = _setting("nlst_base_url")
    shared_list_url: str | None = _setting("shared_list_url")
    api_key: str | None = _setting("api_key")
    username: str | None = _setting("username")
    password: str | None = _setting("password")
    data_dir: str | None = _setting("data_dir")
    subfolder: str = Field(default="", description="folder below data_dir, for a second source")
    max_connections: int | None = _setting("max_connections")
    max_reply_bytes: int | None = _setting("max_reply_bytes")
    max_bytes_per_second: int | None = _setting("max_bytes_per_second")
    collections: list[str] | None = _setting("collections")
    image_selection: str | None = _setting("image_selection")
    withdrawal_snapshots: int | None = _setting("withdrawal_snapshots")
    withdrawal_hours: int | None = _setting("withdrawal_hours")
    source_gone_days: int | None = _setting("source_gone_days")
    overlap_days: int | None = _setting("overlap_days")
    compare_hours: int | None = _setting("compare_hours")
    attempts: int = Field(default=5, description="attempts per request")
    first_wait_s: float = Field(
        default=0.5, description="seconds to wait after the first failure; doubles each time"
    )
    read_timeout_s: float = Field(
        default=120.0, description="longest time, in seconds, without a byte from the server"
    )

    _source: Source = PrivateAttr()
    _image_sources: tuple[Source, ...] = PrivateAttr()
    _warehouse: Warehouse = PrivateAttr()

    @property
    def settings(self) -> Settings:
        """The settings, checked; raises UsageError if one cannot be used."""
        fields = Settings.model_fields.keys() & type(self).model_fields.keys()
        settings = Settings.from_env(**{name: getattr(self, name) for name in fields})
        return settings.below(self.subfolder)

    @property
    def selection(self) -> Selection | None:
        """The image selection; None if none is set."""
        return parse_selection(self.settings.image_selection)

    @property
    def source_of_metadata(self) -> Source:
        """The source of metadata, open while a run lasts."""
        return self._source

    @property
    def sources_of_images(self) -> tuple[Source, ...]:
        """The sources of images in their order, open while a run lasts."""
        return self._image_sources

    @property
    def warehouse(self) -> Warehouse:
        """The tables in the data folder, while a run lasts."""
        return self._warehouse

    @contextmanager
    def yield_for_execution(
        self, context: dg.InitResourceContext
    ) -> Generator["TciaResource", None, None]:
        """Open the source and the warehouse, and close the source's connections afterwards.

        Meanwhile notes, as of a long wait for the source, are in Dagster's log too.
        """
        pacing = Pacing(
            attempts=self.attempts,
            attempts_when_in_doubt=min(3, self.attempts),
            first_wait_s=self.first_wait_s,
            read_timeout_s=self.read_timeout_s,
        )
        settings = self.settings
        self._warehouse = Warehouse(settings.root)
        log = notes_to(context.log.warning) if context.log else nullcontext()
        with (
            log,
            open_source(settings, pacing=pacing) as self._source,
            open_image_sources(self._source, pacing=pacing) as self._image_sources,
        ):
            yield self


@dataclass(frozen=True)
class LocalResource:
    """What the assets use of a TciaResource, made from settings that are not in the environment.

    A run in this process is given it in place of the configured resource. Values of a TciaResource
    would be in the run's configuration, which Dagster stores, secrets included.
    """

    settings: Settings
    source_of_metadata: Source
    sources_of_images: tuple[Source, ...]
    warehouse: Warehouse

    @property
    def selection(self) -> Selection | None:
        """The Series whose images are wanted; None for none."""
        return parse_selection(self.settings.image_selection)


# What the assets of a run use.
RunResource = TciaResource | LocalResource


@contextmanager
def open_local_resource(settings: Settings) -> Generator[LocalResource, None, None]:
    """Open the source and the warehouse for a run in this process."""
    with open_source(settings) as source, open_image_sources(source) as image_sources:
        yield LocalResource(settings, source, image_sources, Warehouse(settings.root))


def resource_of(context: dg.AssetExecutionContext, names: Names) -> RunResource:
    """Return the resource with these names that the run was given."""
    resource: RunResource = getattr(context.resources, names.resource)
    return resource
