# The service as an image: made from the lock in one stage, run as nobody from a read-only root in the other.
FROM python:3.11-slim AS build
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv .venv \
 && sed '/^# Only for tests:/,$d' requirements.lock > service.lock \
 && .venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r service.lock
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY rules rules
RUN .venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-build-isolation --no-deps --editable . \
 && .venv/bin/python -m compileall -q service

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin churn \
 && install -d -o churn -g churn /var/lib/churn-warning
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CHURN_HTTP__HOST=0.0.0.0 \
    CHURN_SNAPSHOTS__FOLDER=/var/lib/churn-warning/snapshots \
    CHURN_SNAPSHOTS__CACHE_FOLDER=/var/lib/churn-warning/cache
VOLUME /var/lib/churn-warning
EXPOSE 8080
USER churn
# Alive means that it makes progress, which only the service itself can say.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, sys; from http.client import HTTPConnection; asked = HTTPConnection('127.0.0.1', int(os.environ.get('CHURN_HTTP__PORT', '8080')), timeout=2); asked.request('GET', '/livez'); sys.exit(asked.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["churn-warning"]
CMD ["run"]
