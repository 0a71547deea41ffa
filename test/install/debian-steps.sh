#!/bin/sh
# A new user's path on a bare Debian 12, run inside a chroot: install, first message, upgrade, remove, purge.
#
#   debian-steps.sh OLD.deb NEW.deb          prints "ok STEP" for each step that held; ends at the first that did not
set -eu
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
config=/etc/fescue/fescue.yaml
step() { echo "ok $1"; }

start() {
  setpriv --reuid fescue --regid fescue --clear-groups env HOME=/var/lib/fescue \
    fescue start --config $config >/tmp/fescue.log 2>&1 &
  daemon=$!
  for _ in $(seq 600); do
    grep -q '"msg":"ready"' /tmp/fescue.log && return
    kill -0 $daemon || { cat /tmp/fescue.log; exit 1; }
    sleep 0.1
  done
  exit 1
}

stop() {
  kill $daemon
  wait $daemon || { echo "it ended with $?"; cat /tmp/fescue.log; exit 1; }
}

publish() { fescue pub "sensors/room$1/temperature" "{\"celsius\":$2}" >/dev/null; }

# hear CELSIUS ON: tells one room after another its temperature, until a fan was seen to be switched so. (The listener may
# come late to the first.)
hear() {
  rm -f /tmp/heard
  fescue sub 'actuators/#' -C 1 -W 60 >/tmp/heard &
  listener=$!
  for room in 1 2 3 4 5 6 7 8; do
    publish $room "$1"
    [ -s /tmp/heard ] && break
  done
  wait $listener
  grep -q "\"on\":$2" /tmp/heard
}

if command -v node >/dev/null; then exit 1; fi
dpkg -i "$1" >/dev/null
[ "$(dpkg -V fescue)" = "" ]
[ "$(stat -c '%U %a' /var/lib/fescue)" = "fescue 750" ]
fescue --version | grep -q 'node 24\.'
[ -L /etc/systemd/system/multi-user.target.wants/fescue.service ]
step "installed, as a user of its own, with a Node of its own, enabled"

cp -r /usr/lib/fescue/functions/thermostat /etc/fescue/functions/
printf 'device: greenhouse-7\ntoken: s3cret\n' >/boot/fescue.yaml
fescue first-boot --config $config 2>/tmp/first-boot
grep -q 'This device is now greenhouse-7' /tmp/first-boot
if grep -q s3cret /boot/fescue.yaml; then exit 1; fi
[ "$(stat -c '%U %a' /var/lib/fescue/uplink-token)" = "fescue 600" ]
step "identity from the boot partition"

echo "# edited by a person" >>$config
start
hear 31 true
for room in 1 2 3 4 5 6 7 8; do publish $room 31; done
step "a message through a function"

fescue devices add kitchen-sensor >/tmp/password 2>/dev/null
stop
dpkg -i "$2" >/dev/null
[ "$(dpkg-query -W -f '${Version}' fescue)" = "$NEW_VERSION" ]
grep -q 'edited by a person' $config
start
fescue devices list | grep -q kitchen-sensor
fescue status --json | grep -q '"greenhouse-7"'
hear 19 false
stop
step "an upgrade keeps data and config"

dpkg -r fescue >/dev/null
[ ! -e /usr/bin/fescue ]
[ -e /var/lib/fescue/devices.json ]
grep -q 'edited by a person' $config
[ ! -e /usr/lib/fescue ]
step "removed, data and config stay"

dpkg -P fescue >/dev/null
if getent passwd fescue; then exit 1; fi
left=$(find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /root \) -prune -o -name '*fescue*' -print | grep -v '^/boot/fescue.yaml$' || true)
[ "$left" = "" ] || { echo "left: $left"; exit 1; }
step "purged, nothing stays"
