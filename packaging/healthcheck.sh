#!/bin/bash
# Whether the daemon on this machine is ready, for HEALTHCHECK: bash has sockets of its own and is over in 3 ms, where a
# Node each 30 s would need 45 MB.
exec 3<>"/dev/tcp/127.0.0.1/${FESCUE_HTTP_PORT:-8484}" || exit 1
printf 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ]
