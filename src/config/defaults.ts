/** Fills in the defaults that a JSON Schema declares, in new objects; the checked value stays as it is. */
import type { SchemaNode } from '#base/schema.ts'
import { isTree } from './layers.ts'

/** `value` with the schema's defaults at every missing key, at any depth. */
export function withDefaults(schema: SchemaNode, value: unknown): unknown {
  if (Array.isArray(value)) {
    const { items } = schema
    return items === undefined ? value : value.map(item => withDefaults(items, item))
  }
  if (!isTree(value)) return value
  const result: Record<string, unknown> = {}
  for (const [key, node] of Object.entries(schema.properties ?? {})) {
    const given = value[key] ?? node.default
    if (given !== undefined) result[key] = withDefaults(node, given)
  }
  const others = schema.additionalProperties
  if (typeof others === 'object')
    for (const key of Object.keys(value)) if (!(key in result)) result[key] = withDefaults(others, value[key])
  return result
}

/** Freezes the value and all below it. */
export function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const child of Object.values(value)) deepFreeze(child)
  }
  return value
}
