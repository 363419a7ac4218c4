# What the five images stand on: `build` makes their layers and is left behind, `python` runs them, and `torch` is
# `python` with what generation, filtering and classification share. See docs/images.md.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
COPY images/build.lock images/install.sh /opt/build/
RUN --mount=type=secret,id=package-client \
    python -m venv --without-pip /opt/venv && python -m venv /opt/build \
    && { [ ! -f /run/secrets/package-client ] || . /run/secrets/package-client; } \
    && /opt/build/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
        -r /opt/build/build.lock
ENV PATH=/opt/build:$PATH

FROM ${BASE_IMAGE} AS python
# The official image holds the standard library without its bytecode, and the root is read-only at run time. A user
# without a name makes getpass fail, and torch with it.
RUN python -m compileall -q -x '/(test|tests|idlelib|lib2to3|turtledemo|site-packages|dist-packages)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && echo 'syntrial:x:65532:65532:syntrial:/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'syntrial:x:65532:' >> /etc/group \
    && python -m venv --without-pip /opt/venv
# /tmp is the one place that can be written.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    SYNTRIAL_CACHE=/tmp/cache/syntrial \
    SYNTRIAL_CACHE_DIR=/tmp/cache/syntrial \
    TORCHINDUCTOR_CACHE_DIR=/tmp/cache/torchinductor \
    TRITON_CACHE_DIR=/tmp/cache/triton \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532

# One layer of several GB: installed where it stays, since copied from another stage it would be held twice.
FROM python AS torch
ARG TORCH_LOCK=images/torch.lock
USER 0:0
COPY ${TORCH_LOCK} /opt/torch.lock
RUN --mount=type=secret,id=package-client --mount=type=bind,from=build,source=/opt/build,target=/opt/build \
    /opt/build/install.sh /opt/torch.lock
USER 65532:65532
