"""The TciaResource: settings as fields, and the source and warehouse of a run."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import dagster as dg
from pydantic import PrivateAttr

from tcia_assets.defs.names import Names
from tcia_assets.defs.setting_fields import SettingFields, setting
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.selection_parser import parse_selection
from tcia_assets.progress import notes_to
from tcia_assets.settings import Settings
from tcia_assets.sources import Pacing, Source, open_image_sources, open_source
from tcia_assets.store.warehouse import Warehouse


class TciaResource(SettingFields, dg.ConfigurableResource["TciaResource"]):
    """Settings of the mirror, with its source and its warehouse.

    A field that is not given is read from the variable TCIA_<FIELD> of the environment when the
    resource is built. Give secrets as `dg.EnvVar("TCIA_API_KEY")`: plain texts show in the UI.
    """

    api_key: str | None = setting("api_key")
    username: str | None = setting("username")
    password: str | None = setting("password")
    image_selection: str | None = setting("image_selection")

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
        self._warehouse = Warehouse.of(settings)
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
def open_local_resource(
    settings: Settings, source: Source | None = None
) -> Generator[LocalResource, None, None]:
    """Open the source and the warehouse for a run in this process.

    Args:
        settings: Where they are.
        source: An open source of metadata and images, in place of those that the settings name.
    """
    if source is not None:
        yield LocalResource(settings, source, (source,), Warehouse.of(settings))
        return
    with open_source(settings) as opened, open_image_sources(opened) as image_sources:
        yield LocalResource(settings, opened, image_sources, Warehouse.of(settings))


def resource_of(context: dg.AssetExecutionContext, names: Names) -> RunResource:
    """Return the resource with these names that the run was given."""
    resource: RunResource = getattr(context.resources, names.resource)
    return resource
