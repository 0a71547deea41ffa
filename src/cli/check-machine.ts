/** The machine as `fescue check` sees it: ports, folders, free disk, certificates, tools. Nothing is written. */
import { X509Certificate } from 'node:crypto'
import { constants } from 'node:fs'
import { access, readFile, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname } from 'node:path'
import type { Status } from '#api/backend.ts'
import { asFescueError } from '#base/errors.ts'
import { isLoopback } from '#base/loopback.ts'
import { readTls } from '#broker/listener.ts'
import type { DeviceConfig } from '#config/device-config.ts'
import { Devices } from '#config/devices.ts'
import { findProgram } from '#sandbox/executor-command.ts'
import { ApiClient } from './api-client.ts'
import { type CheckFinding, findingsOf } from './check-finding.ts'
import { daemonOf } from './daemon-target.ts'
import { formatBytes } from './format.ts'
import { describeOwner, ownerOfPort } from './port-owner.ts'

const { ok, warning, failed } = findingsOf('Machine')
const dayMs = 24 * 60 * 60 * 1_000
const certificateSoonDays = 14
/** The sandbox's native module asks for this glibc. */
const glibcMin = [2, 34] as const
/** 2026: a board without a battery starts in 1970. */
const clockMin = 1_767_225_600_000
/** f_type of statfs(2): file systems that forget. */
const forgetful: ReadonlyMap<number, string> = new Map([
  [0x01021994, 'tmpfs, which is in memory'],
  [0x858458f6, 'ramfs, which is in memory'],
  [0x794c7630, "a container's own layer, which goes with the container"],
])

export async function machineFindings(config: DeviceConfig): Promise<CheckFinding[]> {
  const running = await runningDaemon(config.data)
  return [
    ...(await dataFindings(config, running)),
    await portFinding('mqtt', config.mqtt, running?.mqtt.port, running?.pid),
    await portFinding('http', config.http, running?.http.port, running?.pid),
    ...(await listenFindings(config)),
    ...(await certificateFindings(config)),
    glibcFinding(),
    findProgram('prlimit') === undefined
      ? warning('prlimit', 'functions run without a limit on native memory', 'apt install util-linux')
      : ok('prlimit', 'there: native memory of functions has a limit'),
    Date.now() < clockMin
      ? warning('clock', `not set: ${new Date().toISOString()}`, 'schedules wait for it: set up NTP')
      : ok('clock', new Date().toISOString()),
  ]
}

/** The daemon of this data folder, if it answers. */
async function runningDaemon(data: string): Promise<Status | undefined> {
  try {
    return await new ApiClient(daemonOf(data)).call<Status>('/api/v1/status', { timeoutMs: 2_000 })
  } catch {
    return undefined
  }
}

async function dataFindings(
  { data, limits }: DeviceConfig,
  running: Status | undefined,
): Promise<CheckFinding[]> {
  const found = await nearestExisting(data)
  const where = found === data ? data : `${data} (will be made)`
  const note = running === undefined ? '' : `, in use by the daemon with pid ${running.pid}`
  try {
    await access(found, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch {
    const mend = `chown it to the user that runs Fescue, or choose another with --data`
    return [failed('data', `${found} is not writable`, mend)]
  }
  const { type, bavail, bsize } = await statfs(found)
  const why = forgetful.get(type)
  const free = bavail * bsize
  const floor = limits.freeDiskMinBytes
  return [
    why === undefined
      ? ok('data', `${where} is writable${note}`)
      : warning('data', `${where} is on ${why}`, 'choose a folder on a disk with --data, or mount a volume'),
    free > floor
      ? ok('disk', `${formatBytes(free)} free, floor ${formatBytes(floor)}`)
      : failed(
          'disk',
          `${formatBytes(free)} free, below the floor of ${formatBytes(floor)}: no message would be accepted`,
          'free some space, or lower limits.freeDiskMin',
        ),
  ]
}

async function nearestExisting(path: string): Promise<string> {
  try {
    await access(path)
    return path
  } catch {
    const parent = dirname(path)
    return parent === path ? path : nearestExisting(parent)
  }
}

async function portFinding(
  name: 'mqtt' | 'http',
  { host, port }: { readonly host: string; readonly port: number },
  heldPort: number | undefined,
  pid: number | undefined,
): Promise<CheckFinding> {
  const id = `port.${name}`
  if (port === 0) return ok(id, `${host}, any free port`)
  if (heldPort === port) return ok(id, `${host}:${port} is held by the running daemon, pid ${pid}`)
  const error = await listenError(host, port)
  if (error === undefined) return ok(id, `${host}:${port} is free`)
  const place = `${host}:${port}`
  switch (error.code) {
    case 'EADDRINUSE':
      return failed(
        id,
        `${place} is taken by ${describeOwner(await ownerOfPort(port))}`,
        `stop it, or choose another in ${name}.port`,
      )
    case 'EACCES':
      return failed(
        id,
        `${place} may not be listened on by this user`,
        `choose one from 1024 in ${name}.port`,
      )
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return failed(id, `this machine has no address ${host}`, `set ${name}.host to one of its addresses`)
    default:
      return failed(id, `${place}: ${error.message}`)
  }
}

/** What listening there fails with; undefined when it can be done. */
function listenError(host: string, port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', resolve)
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

async function listenFindings({ mqtt, data, users, tls }: DeviceConfig): Promise<CheckFinding[]> {
  if (isLoopback(mqtt.host)) return []
  try {
    // Only counted: no password is looked at.
    const devices = await Devices.open({ dataFolder: data, secret: Buffer.alloc(0) })
    const count = devices.countWith(users)
    const who =
      count > 0
        ? ok('users', `${count} may connect`)
        : failed(
            'users',
            `mqtt.host ${mqtt.host} is reachable from the network, and nobody may connect`,
            `fescue devices add NAME --data ${data}`,
          )
    if (tls !== undefined) return [who]
    const clear = 'passwords and messages travel unencrypted'
    return [who, warning('tls', clear, 'set tls.cert and tls.key, or keep to a network you trust')]
  } catch (error) {
    return [failed('users', asFescueError(error).message)]
  }
}

async function certificateFindings({ tls }: DeviceConfig): Promise<CheckFinding[]> {
  if (tls === undefined) return []
  try {
    await readTls(tls)
    const certificate = new X509Certificate(await readFile(tls.certFile))
    const days = Math.floor((Date.parse(certificate.validTo) - Date.now()) / dayMs)
    const mend = 'renew it, then fescue config reload takes it up without closing a connection'
    if (days < 0) return [failed('tls', `${tls.certFile} expired on ${certificate.validTo}`, mend)]
    const text = `${tls.certFile} is valid for ${days} days`
    return [days < certificateSoonDays ? warning('tls', text, mend) : ok('tls', text)]
  } catch (error) {
    return [failed('tls', asFescueError(error).message)]
  }
}

function glibcFinding(): CheckFinding {
  // Without it the report asks the name server about every connection.
  const report: typeof process.report & { excludeNetwork?: boolean } = process.report
  report.excludeNetwork = true
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } }
  const version = header?.glibcVersionRuntime
  const wanted = glibcMin.join('.')
  if (version === undefined)
    return failed('system', 'this is no glibc system', 'use Debian 12, Raspberry Pi OS Bookworm or newer')
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isNew = major > glibcMin[0] || (major === glibcMin[0] && minor >= glibcMin[1])
  const text = `${process.arch}, glibc ${version}, Node ${process.versions.node}`
  return isNew
    ? ok('system', text)
    : failed('system', `${text}: functions need glibc ${wanted}`, 'use Debian 12 or newer')
}
