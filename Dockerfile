# docker build -t cairn . && docker run -it --rm -v cairn-models:/models cairn chat smollm2-135m
FROM debian:12-slim AS build
WORKDIR /cairn
COPY . .
RUN bash -c 'source tools/packages.sh && source tools/grammar.sh \
      && install_missing "${build_packages[@]}" "${video_packages[@]}" dpkg-dev file && fetch_grammar' \
 && cmake --preset release -DCAIRN_TESTS=OFF \
 && cmake --build --preset release \
 && cd build/release && cpack -G DEB

FROM debian:12-slim
COPY --from=build /cairn/build/release/cairn*_*.deb /tmp/
# pip fetches the models that can be had by name.
RUN apt-get update && apt-get install -y --no-install-recommends /tmp/cairn*_*.deb python3-pip ca-certificates \
 && rm -rf /tmp/cairn*_*.deb /var/lib/apt/lists/*
ENV CAIRN_MODELS=/models
VOLUME /models
ENTRYPOINT ["cairn"]
CMD ["help"]
