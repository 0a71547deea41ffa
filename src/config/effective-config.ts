/** What `config show` prints: every value that counts, one row each, with where it came from. Secrets are hidden. */
import { type SchemaNode, schemaAt } from '#base/schema.ts'
import { type KeyPath, pathText } from '#base/yaml-document.ts'
import { configSchema } from './config-schema.ts'
import { isTree, type Origin } from './layers.ts'
import type { LoadedConfig } from './load-config.ts'

export interface EffectiveValue {
  /** `mqtt.port`, `routes[0].filter`. */
  readonly key: string
  /** As written or by default. A secret is `(secret)`. */
  readonly value: unknown
  readonly origin: Origin
}

const hidden = '(secret)'

/** All values, in the order of the schema; keys that are not set and have no default are left out. */
export function effectiveConfig({ config, raw, originOf }: LoadedConfig): readonly EffectiveValue[] {
  // Defaults that depend on the machine, and paths made absolute.
  const known = { ...raw, device: config.device, data: config.data, functions: config.functions }
  return rowsOf(known, configSchema, []).map(({ path, value }) => ({
    key: pathText(path),
    value,
    origin: originOf(path),
  }))
}

interface Row {
  readonly path: KeyPath
  readonly value: unknown
}

/** A row for each leaf; an empty list or map is a leaf too. */
function rowsOf(value: unknown, schema: SchemaNode, path: KeyPath): Row[] {
  if (value === undefined) return []
  const node = schemaAt(schema, path) ?? {}
  if (node.writeOnly === true) return [{ path, value: hidden }]
  const entries: [string | number, unknown][] = Array.isArray(value)
    ? [...value.entries()]
    : isTree(value)
      ? keysOf(value, node).map(key => [key, value[key]])
      : []
  if (entries.length === 0) return [{ path, value: withoutPassword(value) }]
  return entries.flatMap(([key, child]) => rowsOf(child, schema, [...path, key]))
}

function keysOf(value: Readonly<Record<string, unknown>>, node: SchemaNode): string[] {
  const declared = Object.keys(node.properties ?? {}).filter(key => key in value)
  return [...declared, ...Object.keys(value).filter(key => !declared.includes(key))]
}

/** A URL may carry credentials. */
function withoutPassword(value: unknown): unknown {
  if (typeof value !== 'string' || !/^\w+:\/\/[^/]*@/.test(value)) return value
  return value.replace(/^(\w+:\/\/)[^/]*@/, `$1${hidden}@`)
}
