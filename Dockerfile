# The Fescue daemon in a container, for linux/amd64 and linux/arm64.
#
#   docker build -t fescue .
#   docker run --network host --volume fescue:/data fescue
#
# With the host's network the listeners stay on loopback, as the config says. To serve sensors on the network, set
# mqtt.host to 0.0.0.0 in a config of yours (--volume $PWD/fescue.yaml:/app/device-config/fescue.yaml:ro) after
# adding a device: docker run --rm --volume fescue:/data fescue devices add NAME --data /data
FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The image brings Node 24, so the copy that npm packages carry is not needed.
RUN npm ci --omit=dev && rm -rf node_modules/node-linux-* node_modules/.bin/node

FROM node:24-bookworm-slim
# npm, yarn and corepack are of no use to a running daemon.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn* \
 && install -d -o 1000 -g 1000 /data
WORKDIR /app
ENV NODE_ENV=production
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY src ./src
COPY device-config ./device-config
COPY functions ./functions
USER 1000:1000
VOLUME /data
EXPOSE 1883 8484
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "require('node:http').get('http://127.0.0.1:8484/readyz', answer => process.exit(answer.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
ENTRYPOINT ["node", "src/main.ts"]
CMD ["start", "--config", "device-config/fescue.yaml", "--data", "/data", "--functions", "functions"]
