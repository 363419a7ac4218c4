# The generation stage with the environment of a generator's code, for clusters: a pod has no network to build one with.
# The context is the environment's requirements.lock and, where there is one, python-version (build.sh). See
# docs/own-generators.md.
ARG BUILD_IMAGE=localhost/syntrial/syntrial-build
ARG RUNTIME_IMAGE=localhost/syntrial/syntrial-generation

FROM ${BUILD_IMAGE} AS build

# Built where it stays, by what looks for it there: a copy would be held twice, and torch alone has several GB.
FROM ${RUNTIME_IMAGE}
ENV SYNTRIAL_ENVIRONMENTS=/opt/environments
USER 0:0
COPY . /opt/generator/
RUN --mount=type=secret,id=package-client --mount=type=bind,from=build,source=/opt/build,target=/opt/build \
    { [ ! -f /run/secrets/package-client ] || . /run/secrets/package-client; } \
    && PATH=$PATH:/opt/build/bin UV_NO_CACHE=1 UV_PYTHON_INSTALL_DIR=/opt/environments/python \
        UV_COMPILE_BYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH \
        python -m syntrial_generation.external.environments /opt/generator
USER 65532:65532
