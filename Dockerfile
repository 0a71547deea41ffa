# The Fescue daemon in a container, for linux/amd64 and linux/arm64.
#
#   docker build -t fescue .
#   docker run --name fescue --hostname greenhouse-1 --read-only --cap-drop ALL --security-opt no-new-privileges \
#     --publish 1883:1883 --publish 127.0.0.1:8484:8484 --volume fescue:/data --volume $PWD/functions:/functions:ro fescue
#
# The host name is the name of the device. It listens on all addresses of the container, so its first start adds a device and prints its name and password, once
# (docker logs fescue). More devices: docker exec fescue fescue devices add NAME. The token of the page and the API:
# docker exec fescue cat /data/token. Nothing but /data is written. A config of yours goes to /etc/fescue/fescue.yaml.

# What is built here is the same for all processors, so it is built on the builder's own.
FROM --platform=$BUILDPLATFORM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY LICENSE README.md CHANGELOG.md ./
COPY bin ./bin
COPY packaging ./packaging
COPY src ./src
COPY device-config ./device-config
COPY functions ./functions
ARG TARGETARCH
RUN npm run build \
 && if [ "$TARGETARCH" = arm64 ]; then rm -r dist/lib/native/linux-x64; else rm -r dist/lib/native/linux-arm64; fi

# esbuild of the processor that it will run on: for functions that are not built before they come here.
FROM node:24-bookworm-slim AS tools
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && mkdir /tools && cp -r node_modules/esbuild node_modules/@esbuild /tools

FROM node:24-bookworm-slim
# npm, yarn and corepack are of no use to a running daemon.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn* \
 && install -d -o 1000 -g 1000 /data \
 && install -d /functions \
 && ln -s /usr/lib/fescue/bin/fescue /usr/local/bin/fescue
COPY --from=build /src/dist /usr/lib/fescue
COPY --from=tools /tools /usr/lib/fescue/node_modules
ENV NODE_ENV=production \
    XDG_CACHE_HOME=/data/cache \
    FESCUE_DATA=/data \
    FESCUE_FUNCTIONS=/functions \
    FESCUE_MQTT_HOST=0.0.0.0 \
    FESCUE_HTTP_HOST=0.0.0.0
USER 1000:1000
WORKDIR /data
VOLUME /data
EXPOSE 1883 8484
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/lib/fescue/bin/healthcheck"]
ENTRYPOINT ["/usr/lib/fescue/bin/fescue"]
CMD ["start", "--first-device", "sensor"]
