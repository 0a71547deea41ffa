#!/bin/sh
# The units under a systemd that runs, as a service of the booted system itself. It powers off when this is over.
#
#   systemd-steps.sh NEW.deb          prints "ok STEP" for each step that held; ends at the first that did not
set -eu
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
step() { echo "ok $1"; }
of() { systemctl show fescue --property "$1" --value; }
trap 'systemctl status fescue --no-pager -l --lines 30' EXIT

[ "$(systemctl is-active fescue)" = active ]
case $(of StatusText) in "MQTT on port 1883"*) ;; *) exit 1 ;; esac
step "active once it serves"

if grep -q s3cret /boot/fescue.yaml; then exit 1; fi
[ "$(stat -c '%U %a' /var/lib/fescue/uplink-token)" = "fescue 600" ]
fescue status --json | grep -q '"greenhouse-7"'
step "the identity was there before the daemon"

fescue invoke thermostat '{"celsius":31}' --topic sensors/kitchen/temperature
step "a function runs behind the fences"

main=$(of MainPID)
dpkg -i "$1"
[ "$(systemctl is-active fescue)" = active ]
[ "$(of MainPID)" != "$main" ]
fescue status --json | grep -q '"greenhouse-7"'
step "an upgrade starts the new one"

kill -STOP "$(of MainPID)"
for _ in $(seq 120); do
  [ "$(of NRestarts)" = 1 ] && [ "$(systemctl is-active fescue)" = active ] && break
  sleep 1
done
[ "$(of NRestarts)" = 1 ]
fescue invoke thermostat '{"celsius":19}' --topic sensors/kitchen/temperature
step "a daemon that says nothing is started again"

systemctl stop fescue
[ "$(of Result)" = success ]
step "stopped in time"
