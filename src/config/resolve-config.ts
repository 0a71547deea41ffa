/**
 * From the checked file to the config that all parts see: units, paths, files, names.
 *
 * Files (tokens, passwords, certificates) are read here, once, so that a bad path is an error at start and not
 * a riddle at the first reconnect.
 */
import { readFileSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { FescueError } from '#base/errors.ts'
import { parseBytes, parseDuration } from '#base/quantity.ts'
import { type KeyPath, pathText } from '#base/yaml-document.ts'
import type { RawConfig } from './config-schema.ts'
import type {
  DeviceConfig,
  LimitsConfig,
  MqttUplinkConfig,
  OutboxBound,
  RouteConfig,
  UplinkConfig,
} from './device-config.ts'
import type { Finding } from './finding.ts'
import { routeName } from './route-name.ts'

/** Bytes of a token, password or certificate file. */
const secretFileMaxBytes = 256 * 1024

export interface Resolved {
  /** Undefined when there are findings. */
  readonly config: DeviceConfig | undefined
  readonly findings: readonly Finding[]
}

/** `folderOf` gives the folder at which the relative path of a key starts. */
export function resolveConfig(raw: RawConfig, folderOf: (path: KeyPath) => string): Resolved {
  const findings: Finding[] = []
  const pathOf = (path: KeyPath, given: string) => resolve(folderOf(path), given)
  const read: ReadFile = (path, given) => {
    const result = readSmallFile(pathOf(path, given))
    if (result.problem === undefined) return result.text
    findings.push({ path, message: `${pathText(path)} ${result.problem}` })
    return ''
  }
  const device = raw.device ?? deviceNameOf(hostname())
  const config: DeviceConfig = {
    device,
    data: pathOf(['data'], raw.data),
    functions: pathOf(['functions'], raw.functions),
    mqtt: {
      host: raw.mqtt.host,
      port: raw.mqtt.port,
      maxPacketBytes: bytes(raw.mqtt.maxPacketBytes),
    },
    tls: listenerTlsOf(raw, pathOf, read),
    http: { host: raw.http.host, port: raw.http.port, hosts: raw.http.hosts },
    uplinks: uplinksOf(raw, device, read),
    routes: raw.routes.map(routeOf),
    durability: raw.durability,
    limits: limitsOf(raw.limits),
    log: { level: raw.log.level },
    users: raw.users.map((user, index) => ({
      name: user.name,
      password: passwordOf(user, index, read),
    })),
  }
  return { config: findings.length === 0 ? config : undefined, findings }
}

function passwordOf(user: RawConfig['users'][number], index: number, read: ReadFile): string {
  if (user.passwordFile === undefined) return user.password ?? ''
  return read(['users', index, 'passwordFile'], user.passwordFile).replace(/\r?\n$/, '')
}

type ReadFile = (path: KeyPath, given: string) => string

/** The broker reads these itself; here they are only tried. */
function listenerTlsOf(
  { tls }: RawConfig,
  pathOf: (path: KeyPath, given: string) => string,
  read: ReadFile,
): DeviceConfig['tls'] {
  if (tls === undefined) return undefined
  const absolute = (part: 'cert' | 'key' | 'ca', given: string) => {
    read(['tls', part], given)
    return pathOf(['tls', part], given)
  }
  const files = { certFile: absolute('cert', tls.cert), keyFile: absolute('key', tls.key) }
  return tls.ca === undefined ? files : { ...files, caFile: absolute('ca', tls.ca) }
}

type RawUplink = NonNullable<RawConfig['uplink']>

function uplinksOf(raw: RawConfig, device: string, read: ReadFile): readonly UplinkConfig[] {
  const uplinks = Object.entries(raw.uplinks).map(([name, uplink]) =>
    uplinkOf(name, uplink, ['uplinks', name], device, read),
  )
  if (raw.uplink === undefined) return uplinks
  return [uplinkOf('default', raw.uplink, ['uplink'], device, read), ...uplinks]
}

function uplinkOf(
  name: string,
  uplink: RawUplink,
  path: KeyPath,
  device: string,
  read: ReadFile,
): UplinkConfig {
  const tls: { ca?: string; cert?: string; key?: string } = {}
  for (const part of ['ca', 'cert', 'key'] as const) {
    const given = uplink.tls?.[part]
    if (given !== undefined) tls[part] = read([...path, 'tls', part], given)
  }
  const { connector, url, tokenFile } = uplink
  const token = tokenFile === undefined ? uplink.token : read([...path, 'tokenFile'], tokenFile).trim()
  const resolved = { name, connector, url, token, tls }
  return connector === 'mqtt' ? { ...resolved, mqtt: mqttOf(uplink, path, device, read) } : resolved
}

function mqttOf(uplink: RawUplink, path: KeyPath, device: string, read: ReadFile): MqttUplinkConfig {
  const { clientId = device, username, topic = '{topic}', format = 'raw', downlink = [] } = uplink
  const password =
    uplink.passwordFile === undefined
      ? uplink.password
      : read([...path, 'passwordFile'], uplink.passwordFile).replace(/\r?\n$/, '')
  return { clientId, username, password, topic, format, downlink }
}

function routeOf(route: RawConfig['routes'][number]): RouteConfig {
  const { filter, to, priority, overflow, ttl, maxBytes } = route
  return {
    name: routeName(route),
    filter,
    to,
    priority,
    overflow,
    ttlMs: ttl === undefined ? undefined : milliseconds(ttl),
    maxBytes: maxBytes === undefined ? undefined : bytes(maxBytes),
  }
}

function limitsOf(limits: RawConfig['limits']): LimitsConfig {
  return {
    inboxMaxBytes: bytes(limits.inbox),
    sessionMaxBytes: bytes(limits.session),
    sessionExpiryMs: milliseconds(limits.sessionExpiry),
    outbox: outboxOf(limits.outbox),
    deadLettersMaxBytes: bytes(limits.deadLetters),
    ledgerMaxBytes: bytes(limits.ledger),
    freeDiskMinBytes: bytes(limits.freeDiskMin),
    blockMs: milliseconds(limits.blockMs),
    willGraceMs: milliseconds(limits.willGrace),
  }
}

function outboxOf(value: string | number): OutboxBound {
  const share = /^(\d{1,2})%$/.exec(String(value))
  return share === null ? { bytes: bytes(value) } : { diskShare: Number(share[1]) / 100 }
}

function bytes(value: string | number): number {
  return known(parseBytes(value), value)
}

function milliseconds(value: string | number): number {
  return known(parseDuration(value), value)
}

/** The schema and the cross checks have seen the value. */
function known(parsed: number | undefined, value: string | number): number {
  if (parsed === undefined) throw new FescueError('FESCUE_INTERNAL', `${value} passed the checks`)
  return parsed
}

type FileText = { readonly text: string; readonly problem?: undefined } | { readonly problem: string }

function readSmallFile(file: string): FileText {
  try {
    const { size } = statSync(file)
    if (size > secretFileMaxBytes) return { problem: `is larger than ${secretFileMaxBytes} bytes: ${file}` }
    const text = readFileSync(file, 'utf8')
    return text.trim() === '' ? { problem: `is an empty file: ${file}` } : { text }
  } catch (error) {
    return { problem: `cannot be read: ${error instanceof Error ? error.message : String(error)}` }
  }
}

/** A host name as a valid device name. */
export function deviceNameOf(host: string): string {
  const name = host.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 64)
  return name === '' ? 'device' : name
}
