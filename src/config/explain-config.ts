/** What `config explain` prints: every key with its value, where it came from and what it does. */
import { keyPathsOf, type SchemaNode, schemaAt } from '#base/schema.ts'
import { type KeyPath, pathText } from '#base/yaml-document.ts'
import { configSchema } from './config-schema.ts'
import { isTree, variableName } from './layers.ts'
import type { LoadedConfig } from './load-config.ts'

export interface ExplainedKey {
  readonly key: string
  /** As written or by default; undefined when the key is not set and has no default. A secret is `(secret)`. */
  readonly value: unknown
  /** `default`, `file:line:column`, the variable or the flag. */
  readonly origin: string
  readonly variable: string
  readonly description: string
}

/** All keys in the order of the schema. */
export function explainConfig({ config, raw, originOf }: LoadedConfig): readonly ExplainedKey[] {
  const resolved: Readonly<Record<string, unknown>> = {
    device: config.device,
    data: config.data,
    functions: config.functions,
  }
  return keyPathsOf(configSchema).flatMap(path => {
    const node = schemaAt(configSchema, path)
    if (node === undefined || node.properties !== undefined) return []
    const origin = originOf(path)
    const key = pathText(path)
    return [
      {
        key,
        value: resolved[key] ?? withoutSecrets(node, valueAt(raw, path)),
        origin: origin.kind === 'default' ? 'default' : origin.where,
        variable: variableName(path),
        description: node.description ?? '',
      },
    ]
  })
}

function valueAt(value: unknown, path: KeyPath): unknown {
  let node = value
  for (const key of path) node = isTree(node) ? node[key] : undefined
  return node
}

function withoutSecrets(node: SchemaNode, value: unknown): unknown {
  if (value === undefined) return undefined
  if (node.writeOnly === true) return '(secret)'
  const { items } = node
  if (Array.isArray(value))
    return items === undefined ? value : value.map(item => withoutSecrets(items, item))
  if (!isTree(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [key, withoutSecrets(schemaAt(node, [key]) ?? {}, child)]),
  )
}
