#!/bin/sh
# The command `fescue` of an installed package: finds its files and a Node that is new enough, and becomes it.
#
# The Node that comes with the package goes first: beside the bundle (Debian package), below the package
# (npm install -g) or next to it (npx, npm install). The machine's own may be older.
here=$(dirname "$(dirname "$(realpath "$0")")")
case $(uname -m) in
  x86_64) arch=x64 ;;
  *) arch=arm64 ;;
esac
node=node
for each in "$here/lib/node" "$here/node_modules/node-linux-$arch/bin/node" "$here/../node-linux-$arch/bin/node"; do
  if [ -x "$each" ]; then
    node=$each
    break
  fi
done
if [ "$node" = node ] && ! command -v node >/dev/null; then
  echo "fescue: there is no Node: install the package again, with its optional dependencies" >&2
  exit 1
fi
# A server starts with what it would else start itself again for (src/cli/relaunch.ts), unless the user has a say in it.
case $1 in
  start | dev | cloud)
    if [ -n "$HOME$XDG_CACHE_HOME" ] && [ -z "$NODE_OPTIONS$NODE_COMPILE_CACHE$NODE_DISABLE_COMPILE_CACHE" ]; then
      export NODE_COMPILE_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/fescue" MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-@ARENAS@}"
      exec "$node" @FLAGS@ "$here/lib/main.js" "$@"
    fi
    ;;
esac
exec "$node" "$here/lib/main.js" "$@"
