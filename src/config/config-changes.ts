/**
 * What differs between the running config and one that was read again, and which of it a running daemon can take.
 *
 *   running ─┐
 *            ├─ changesBetween ─► [{ key, effect }]     one 'restart' among them: nothing is applied
 *   read ────┘
 *
 * A key that is in none of the lists below needs a restart: a new key is on the safe side until it is known better.
 */
import { isDeepStrictEqual } from 'node:util'
import { type KeyPath, pathText } from '#base/yaml-document.ts'
import { settablePaths } from './layers.ts'
import type { LoadedConfig } from './load-config.ts'

/**
 * `live`: applies at once. `next-start`: it is about the start alone, so the new value is taken then.
 * `restart`: the daemon cannot take it while it runs.
 */
export type ChangeEffect = 'live' | 'next-start' | 'restart'

export interface ConfigChange {
  /** `mqtt.port`, `routes`. */
  readonly key: string
  readonly effect: ChangeEffect
  /** Where the new value came from; empty for a default. */
  readonly where: string
  /** For lists and maps: what came, went and changed, by name. */
  readonly detail?: string
}

const liveKeys: ReadonlySet<string> = new Set([
  'functions',
  'mqtt.maxPacketBytes',
  'tls.cert',
  'tls.key',
  'uplink',
  'uplink.connector',
  'uplink.url',
  'uplink.token',
  'uplink.tokenFile',
  'uplink.tls.ca',
  'uplink.tls.cert',
  'uplink.tls.key',
  'uplink.clientId',
  'uplink.username',
  'uplink.password',
  'uplink.passwordFile',
  'uplink.topic',
  'uplink.format',
  'uplink.qos',
  'uplink.downlink',
  'uplinks',
  'routes',
  'durability',
  'limits.inbox',
  'limits.session',
  'limits.sessionExpiry',
  'limits.outbox',
  'limits.deadLetters',
  'limits.ledger',
  'limits.freeDiskMin',
  'limits.blockMs',
  'log.level',
  'users',
])

const startKeys: ReadonlySet<string> = new Set(['limits.willGrace'])

/** What a change of this key does to a running daemon. */
export function effectOf(path: KeyPath): ChangeEffect {
  const key = pathText(path)
  if (liveKeys.has(key)) return 'live'
  return startKeys.has(key) ? 'next-start' : 'restart'
}

/** The keys whose values differ, in the order of the schema. */
export function changesBetween(before: LoadedConfig, after: LoadedConfig): readonly ConfigChange[] {
  return settablePaths().flatMap(path => {
    const detail = difference(path, before, after)
    if (detail === undefined) return []
    // A plain listener cannot begin to speak TLS, nor a TLS one stop.
    const turned = path[0] === 'tls' && (before.config.tls === undefined) !== (after.config.tls === undefined)
    const effect = turned ? 'restart' : effectOf(path)
    return [
      {
        key: pathText(path),
        effect,
        where: after.originOf(path).where,
        ...(detail !== '' && { detail }),
      },
    ]
  })
}

/** Empty when there is nothing more to say than that it differs; undefined when it does not. */
function difference(path: KeyPath, before: LoadedConfig, after: LoadedConfig): string | undefined {
  const [key] = path
  if (path.length === 1 && (key === 'data' || key === 'functions' || key === 'device'))
    return before.config[key] === after.config[key] ? undefined : ''
  if (path.length === 1 && (key === 'uplinks' || key === 'routes' || key === 'users')) {
    // As resolved: a token or a password in a file may be another one now.
    const without = key === 'uplinks' && shortFormDiffers(before, after) ? 'default' : undefined
    return namesDiffer(byName(before.config[key], without), byName(after.config[key], without))
  }
  return isDeepStrictEqual(valueAt(before.raw, path), valueAt(after.raw, path)) ? undefined : ''
}

type Named = Readonly<{ name: string }>

/** The uplink of the short form, `uplink:`, has keys of its own that say what differs. */
function shortFormDiffers(before: LoadedConfig, after: LoadedConfig): boolean {
  return !isDeepStrictEqual(before.raw.uplink, after.raw.uplink)
}

function byName(items: readonly Named[], without: string | undefined): Map<string, Named> {
  return new Map(items.filter(({ name }) => name !== without).map(item => [item.name, item]))
}

function namesDiffer(before: ReadonlyMap<string, Named>, after: ReadonlyMap<string, Named>) {
  const parts: [string, string[]][] = [
    ['added', [...after.keys()].filter(name => !before.has(name))],
    ['removed', [...before.keys()].filter(name => !after.has(name))],
    [
      'changed',
      [...after.keys()].filter(
        name => before.has(name) && !isDeepStrictEqual(before.get(name), after.get(name)),
      ),
    ],
  ]
  const texts = parts.filter(([, names]) => names.length > 0)
  if (texts.length === 0) return undefined
  return texts.map(([verb, names]) => `${verb} ${names.join(', ')}`).join('; ')
}

function valueAt(value: unknown, path: KeyPath): unknown {
  let node = value
  for (const key of path) node = (node as Record<string | number, unknown> | undefined)?.[key]
  return node
}
