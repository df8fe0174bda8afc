# Any Debian-like image with Python >= 3.11 and its venv module will do, such as your own mirror's.
ARG BASE_IMAGE=python:3.12-slim
# EXTRAS=gpu makes an image for NVIDIA's GPUs
ARG EXTRAS=cpu

FROM ${BASE_IMAGE} AS build
ARG EXTRAS
WORKDIR /src
RUN python3 -m venv /opt/saddle
COPY pyproject.toml README.md LICENSE ./
COPY model model
COPY index index
COPY service service
RUN /opt/saddle/bin/pip install --no-cache-dir ".[${EXTRAS}]"

FROM ${BASE_IMAGE}
ARG EXTRAS
# Triton compiles the kernel where it runs, and its launcher with a C compiler.
RUN if [ "${EXTRAS}" = gpu ]; then \
        apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi
RUN useradd --system --uid 10001 --no-create-home saddle \
    && install --directory --owner saddle /var/lib/saddle
COPY --from=build /opt/saddle /opt/saddle
# The container's own loopback reaches nobody, so it binds to all addresses: publish the port to where your gateway is.
ENV PATH=/opt/saddle/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/saddle-numba \
    TRITON_CACHE_DIR=/tmp/saddle-triton \
    SADDLE_INDEX=/var/lib/saddle/index \
    SADDLE_HOST=0.0.0.0 \
    SADDLE_PORT=8080 \
    SADDLE_ALLOW_PUBLIC=true
USER saddle
WORKDIR /var/lib/saddle
VOLUME /var/lib/saddle
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['SADDLE_PORT'] + '/livez', timeout=2)"]
CMD ["saddle", "serve"]
