#!/bin/sh
# What the image's last stage holds, run as a container runtime runs it: a read-only root, a user of its own, one volume.
# Called inside of new namespaces (mounts, processes, network).
#
#   container-steps.sh ROOT VOLUME ENVIRONMENT_FILE         prints "ok STEP" for each step that held
set -eu
log=$(mktemp)
root=$1
volume=$2
step() { echo "ok $1"; }

ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind "$volume" "$root/data"
mount -o remount,bind,ro "$root"
if touch "$root/written" 2>/dev/null; then exit 1; fi

enter="env -i $(tr '\n' ' ' <"$3") PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin chroot --userspec=1000:1000 $root"

start() {
  $enter /usr/lib/fescue/bin/fescue start --first-device sensor >"$log" 2>&1 &
  daemon=$!
  for _ in $(seq 600); do
    grep -q '"msg":"ready"' "$log" && return
    kill -0 $daemon || { cat "$log"; exit 1; }
    sleep 0.1
  done
  exit 1
}

start
password=$(awk '$1 == "mqtt" && $2 == "sensor" { print $3 }' "$log")
[ -n "$password" ]
step "the first start prints a password"
$enter /usr/lib/fescue/bin/healthcheck
step "healthy"
grep -q ':075B ' /proc/net/tcp
if mosquitto_pub -p 1883 -t a -m x 2>/dev/null; then exit 1; fi
mosquitto_pub -p 1883 -q 1 -u sensor -P "$password" -t sensors/kitchen/temperature -m '{"celsius":31}'
mosquitto_sub -p 1883 -u sensor -P "$password" -t actuators/kitchen/fan -C 1 -W 60 | grep -q '"on":true'
step "reachable with the password, not without, and a message goes through a function"
kill $daemon
wait $daemon
if $enter /usr/lib/fescue/bin/healthcheck 2>/dev/null; then exit 1; fi
start
if grep -q "First start" "$log"; then exit 1; fi
mosquitto_pub -p 1883 -q 1 -u sensor -P "$password" -t a -m x
kill $daemon
wait $daemon
step "the second start prints none, and the first one's holds"
