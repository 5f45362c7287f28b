"""The archive and its warehouse as one Dagster resource; its fields are the settings.

What belongs here: settings -> source and warehouse, for as long as a run lasts.
"""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field, PrivateAttr

from tcia_assets.defs.names import Names
from tcia_assets.metadata.selection import Selection, parse
from tcia_assets.settings import Settings
from tcia_assets.sources import Pacing, Source, open_source
from tcia_assets.store.warehouse import Warehouse


class TciaResource(dg.ConfigurableResource["TciaResource"]):
    """The archive that is asked, and the warehouse that is written.

    A field that is not given is read from the variable TCIA_<FIELD> of the environment when the
    resource is built. Give secrets as `dg.EnvVar("TCIA_API_KEY")`: plain texts show in the UI.
    """

    dialect: str | None = Field(
        default=None, description="nbia-v4 (default), nbia-v1, nbia-v2 or bindaas-v4/v3"
    )
    base_url: str | None = Field(default=None, description="Base below which the endpoints lie")
    shared_list_url: str | None = Field(
        default=None, description="Base that answers for shared lists"
    )
    api_key: str | None = Field(default=None, description="For bindaas-v3")
    username: str | None = Field(default=None, description="For nbia-v2")
    password: str | None = Field(default=None, description="For nbia-v2")
    data_dir: str | None = Field(
        default=None, description="Root of all that is written; default: data"
    )
    subfolder: str = Field(default="", description="Folder below the root, for a second archive")
    max_connections: int | None = Field(default=None, description="Requests at once; default: 8")
    collections: list[str] | None = Field(
        default=None, description="Only these Collections; default: all"
    )
    image_selection: str | None = Field(
        default=None, description="Whose images to fetch; default: none"
    )
    withdrawal_snapshots: int | None = Field(
        default=None, description="Lists without a Series until it is withdrawn; default: 3"
    )
    withdrawal_hours: int | None = Field(
        default=None, description="Hours between two of these lists at least; default: 20"
    )
    overlap_days: int | None = Field(
        default=None,
        description="Days before the newest stored release from which the sensor asks; default: 30",
    )
    compare_hours: int | None = Field(
        default=None,
        description="Hours within which each Collection is compared whole; default: 24",
    )
    attempts: int = Field(default=5, description="How often to ask before giving up")
    first_wait_s: float = Field(
        default=0.5, description="Pause after the first failure; doubles each time"
    )
    read_timeout_s: float = Field(
        default=120.0, description="Longest silence while the archive answers"
    )

    _source: Source = PrivateAttr()
    _warehouse: Warehouse = PrivateAttr()

    @property
    def settings(self) -> Settings:
        """The settings, checked; raises UsageError where one cannot be used."""
        settings = Settings.from_env(
            dialect=self.dialect,
            base_url=self.base_url,
            shared_list_url=self.shared_list_url,
            api_key=self.api_key,
            username=self.username,
            password=self.password,
            data_dir=self.data_dir,
            max_connections=self.max_connections,
            collections=tuple(self.collections) if self.collections is not None else None,
            image_selection=self.image_selection,
            withdrawal_snapshots=self.withdrawal_snapshots,
            withdrawal_hours=self.withdrawal_hours,
            overlap_days=self.overlap_days,
            compare_hours=self.compare_hours,
        )
        return settings.below(self.subfolder)

    @property
    def selection(self) -> Selection | None:
        """Whose images are wanted; None for nobody's."""
        return parse(self.settings.image_selection)

    @property
    def source(self) -> Source:
        return self._source

    @property
    def warehouse(self) -> Warehouse:
        return self._warehouse

    @contextmanager
    def yield_for_execution(
        self, context: dg.InitResourceContext
    ) -> Generator["TciaResource", None, None]:
        """Opens the source and the warehouse, and closes the source's connections afterwards."""
        del context
        pacing = Pacing(
            attempts=self.attempts,
            attempts_when_in_doubt=min(3, self.attempts),
            first_wait_s=self.first_wait_s,
            read_timeout_s=self.read_timeout_s,
        )
        settings = self.settings
        self._warehouse = Warehouse(settings.root)
        with open_source(settings, pacing=pacing) as self._source:
            yield self


def resource_of(context: dg.AssetExecutionContext, names: Names) -> TciaResource:
    """Return the resource with these names that the run was given."""
    resource: TciaResource = getattr(context.resources, names.resource)
    return resource
