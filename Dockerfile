# One image for every role: docker run … rowcast serve | api | migrate | check …

FROM python:3.13-slim-bookworm AS parts
RUN python -m venv --without-pip /opt/rowcast
COPY requirements.lock .
# exactly what the lock file names, byte for byte, and nothing that has to be built
RUN pip --python /opt/rowcast/bin/python install \
    --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock

FROM python:3.13-slim-bookworm
COPY --from=parts /opt/rowcast /opt/rowcast
WORKDIR /opt/rowcast/src
# pyproject.toml tells `rowcast --version`
COPY pyproject.toml LICENSE ./
COPY api api
COPY cdc cdc
COPY demo demo
COPY gateway gateway
COPY journal journal
COPY rowcast rowcast
COPY sql sql
COPY web web
ENV PATH=/opt/rowcast/bin:$PATH PYTHONPATH=/opt/rowcast/src PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# compiled now, because the file system is read-only later; the volume's folder belongs to the user we run as
RUN python -m compileall -q . \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/rowcast
USER 10001:10001
WORKDIR /var/lib/rowcast
VOLUME /var/lib/rowcast
EXPOSE 8080 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "rowcast"]
CMD ["serve"]
