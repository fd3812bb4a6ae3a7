# Two images from one file: `gateway` (no torch), and `engine`, which can be both.
#   docker build --target gateway -t forebay-gateway .
#   docker build --target engine  -t forebay-engine .

FROM python:3.11.14-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ENV PATH=/opt/forebay/bin:$PATH FOREBAY_HOME=/data
RUN useradd --system --uid 10001 --create-home forebay && install -d -o forebay -g forebay /data

# The wheel carries the engine's compiled kernels. This image has the compiler; those that run have none.
FROM python:3.11.14-bookworm AS build-wheel
COPY locks/runtime.txt /src/locks/
RUN pip install --no-cache-dir --no-deps --require-hashes -r /src/locks/runtime.txt
COPY pyproject.toml README.md LICENSE /src/
COPY gateway /src/gateway
COPY semantic_cache /src/semantic_cache
COPY router /src/router
COPY backend_engine /src/backend_engine
COPY telemetry /src/telemetry
COPY benchmarks /src/benchmarks
# A wheel for any platform is one without kernels.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /src && ! ls /wheels/*-none-any.whl

# Dependencies change less often than the code: they come first, exactly as locked.
FROM base AS build-gateway
RUN python -m venv /opt/forebay
COPY locks/runtime.txt /src/locks/
RUN pip install --no-deps --require-hashes -r /src/locks/runtime.txt
COPY --from=build-wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl && python -m compileall -q /opt/forebay/lib

FROM base AS build-engine
ARG TORCH=torch==2.13.0
# Which build of torch it is depends on the machine, so it is chosen by index, not by hash. PyTorch's own
# index of CPU builds gives an image several gigabytes smaller than the default.
ARG TORCH_INDEX_URL=
COPY --from=build-gateway /opt/forebay /opt/forebay
RUN pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$TORCH"

FROM base AS engine
COPY --from=build-engine /opt/forebay /opt/forebay
USER forebay
VOLUME /data
WORKDIR /home/forebay
EXPOSE 8081
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8081/health/ready', timeout=4)"]
ENTRYPOINT ["forebay"]
CMD ["engine"]

FROM base AS gateway
COPY --from=build-gateway /opt/forebay /opt/forebay
USER forebay
VOLUME /data
WORKDIR /home/forebay
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health/ready', timeout=4)"]
ENTRYPOINT ["forebay"]
CMD ["serve"]
