# One image for the code location, the webserver and the daemon: see compose.yaml.
FROM python:3.12-slim-bookworm AS build
# The version is made from git's tags.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# hadolint ignore=DL3013
RUN pip install --no-cache-dir build \
    && git config --global --add safe.directory /source \
    && python -m build --wheel --outdir /wheels

FROM python:3.12-slim-bookworm
COPY --from=build /wheels /wheels
# hadolint ignore=DL3013
RUN wheel="$(ls /wheels/*.whl)" \
    && pip install --no-cache-dir "${wheel}[ui,datasets,codecs,fast,s3]" 'dagster-postgres>=0.29' \
    && rm -rf /wheels \
    && useradd --create-home --uid 1000 tcia \
    && install -d -o tcia -g tcia /data /dagster /dagster/storage /declarations
COPY --chown=tcia docker/dagster.yaml docker/workspace.yaml /dagster/
USER 1000
ENV DAGSTER_HOME=/dagster \
    DAGSTER_DISABLE_TELEMETRY=yes \
    TCIA_DATA_DIR=/data \
    TCIA_DATASETS_DIR=/declarations \
    PYTHONUNBUFFERED=1
WORKDIR /dagster
VOLUME ["/data", "/dagster/storage"]
EXPOSE 3000
CMD ["tcia-assets", "status"]
