# syntax=docker/dockerfile:1
# tuner in a container: the command line and workers; docker-compose.yml uses it.
#
#   docker build -t tuner .
#   docker build -t tuner-cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/tuner/bin:$PATH
RUN python -m venv /opt/tuner
WORKDIR /source
# torch before the code, so that a change of the code does not download it again
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install "$(sed -n 's/^\(pip==[^ ;]*\).*/\1/p' constraints.txt)" \
    && pip install --extra-index-url "$TORCH_INDEX" --constraint constraints.txt \
        "$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY migrations ./migrations
COPY studies ./studies
COPY tuner ./tuner
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt --build-constraint constraints.txt '.[mnist]'

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --create-home tuner
COPY --from=build /opt/tuner /opt/tuner
ENV PATH=/opt/tuner/bin:$PATH PYTHONUNBUFFERED=1
USER tuner
# data, weights, logs and exports go to a volume
WORKDIR /home/tuner
ENTRYPOINT ["tuner"]
CMD ["--help"]
