# Three images from one file: cpu (the default), gpu and train. Each is the base, one virtual environment and a user.
# Any Debian-like image with Python >= 3.11 and its venv module will do, such as your own mirror's.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
# pip stays here: the environment that is copied into the images has none.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/saddle
ENV PIP="/opt/pip/bin/pip --python /opt/saddle/bin/python --disable-pip-version-check --no-cache-dir"
COPY pyproject.toml deploy/image/requirements.py deploy/image/trim.sh ./
RUN python3 requirements.py > serve.txt && $PIP install --requirement serve.txt

# Dependencies first, as they change less often than the source.
FROM build AS build-cpu
RUN python3 requirements.py cpu > extra.txt && $PIP install --requirement extra.txt && sh trim.sh /opt/saddle
COPY README.md LICENSE ./
COPY model model
COPY index index
COPY service service
RUN $PIP install --no-deps .

FROM build AS build-gpu
RUN python3 requirements.py gpu > extra.txt && $PIP install --requirement extra.txt && sh trim.sh /opt/saddle
COPY README.md LICENSE ./
COPY model model
COPY index index
COPY service service
RUN $PIP install --no-deps .

FROM build AS build-train
# PyPI's torch brings gigabytes of CUDA; https://download.pytorch.org/whl/cpu has the same release without.
ARG TORCH_INDEX=
RUN python3 requirements.py cpu train > extra.txt \
    && if [ -n "${TORCH_INDEX}" ]; then \
        $PIP install --no-deps --index-url "${TORCH_INDEX}" "$(grep '^torch==' extra.txt)"; \
    fi \
    && $PIP install --requirement extra.txt && sh trim.sh /opt/saddle
COPY README.md LICENSE ./
COPY model model
COPY index index
COPY service service
RUN $PIP install --no-deps .

FROM ${BASE_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Saddle" \
      org.opencontainers.image.description="Product search on curved space: hyperboloid queries, self-hosted." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --system --gid 10001 saddle \
    && useradd --system --uid 10001 --gid saddle --no-create-home --home-dir /nonexistent saddle \
    && install --directory --owner saddle --group saddle /var/lib/saddle
# What is written goes to the volume and to /tmp; the root may be read-only. The container's own loopback reaches
# nobody, so it binds to all addresses, and wants to be told how callers are known: by keys (SADDLE_KEYS), or by a
# gateway, or as it is published to this machine only (SADDLE_ALLOW_PUBLIC=true). ONNX Runtime is to report to nobody.
ENV PATH=/opt/saddle/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    NUMBA_CACHE_DIR=/tmp/saddle-numba \
    TRITON_CACHE_DIR=/tmp/saddle-triton \
    SADDLE_INDEX=/var/lib/saddle/index \
    SADDLE_HOST=0.0.0.0 \
    SADDLE_PORT=8080
# by number, which Kubernetes can tell from root
USER 10001:10001
WORKDIR /var/lib/saddle
VOLUME /var/lib/saddle
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=3s --start-period=30s \
    CMD ["python3", "-I", "-S", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ['SADDLE_PORT']), timeout=2); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["saddle", "serve"]

# saddle train and saddle demo as well: for jobs, not for serving
FROM runtime AS train
COPY --from=build-train /opt/saddle /opt/saddle

FROM runtime AS gpu
# Triton compiles the launcher of our one kernel where it runs, so this image alone holds a C compiler.
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build-gpu /opt/saddle /opt/saddle
ENV SADDLE_DEVICE=cuda
USER 10001:10001

# last, so that it is what a build without --target makes
FROM runtime AS cpu
COPY --from=build-cpu /opt/saddle /opt/saddle
