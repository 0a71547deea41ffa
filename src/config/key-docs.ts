/** What `config explain` prints: each key of the config file with its meaning, type, default and examples. */
import { nearest } from '#base/nearest.ts'
import type { SchemaNode } from '#base/schema.ts'
import { type ChangeEffect, effectOf } from './config-changes.ts'
import { configSchema } from './config-schema.ts'
import { variableName } from './layers.ts'

export interface KeyDoc {
  /** `mqtt.port`; `[]` stands for an index of a list and `NAME` for a free name: `routes[].filter`, `uplinks.NAME.url`. */
  readonly key: string
  readonly type: string
  readonly description: string
  readonly default?: unknown
  readonly examples: readonly unknown[]
  readonly allowed?: readonly unknown[]
  readonly required: boolean
  /** Its variable; undefined below lists and free names, where the whole list is one variable. */
  readonly variable?: string
  /** What a change does to a running daemon. */
  readonly effect: ChangeEffect
}

interface Place {
  readonly key: string
  /** Path of the nearest key that has a variable of its own. */
  readonly settable: readonly string[]
  readonly free: boolean
}

/** All keys, in the order of the schema; a key that only holds others is left out. */
export function keyDocs(): readonly KeyDoc[] {
  return docsOf(configSchema, { key: '', settable: [], free: false })
}

/** The docs of a key, or of all keys below it; `routes[0].to` is `routes[].to`. Empty when there is none. */
export function docsFor(key: string): readonly KeyDoc[] {
  const wanted = normalKey(key)
  const all = keyDocs()
  const matches = (doc: KeyDoc, prefix: boolean) => {
    const known = normalKey(doc.key)
    return prefix ? known.startsWith(`${wanted}.`) : known === wanted
  }
  return [...all.filter(doc => matches(doc, false)), ...all.filter(doc => matches(doc, true))]
}

/** The nearest key to a mistyped one, or the keys that end like it. */
export function keysLike(key: string): readonly string[] {
  const keys = keyDocs().map(doc => doc.key)
  const close = nearest(key, keys)
  if (close !== undefined) return [close]
  return keys.filter(known => known.split('.').at(-1) === key.split('.').at(-1)).slice(0, 3)
}

/** Without indexes, and any name below `uplinks` is NAME. */
function normalKey(key: string): string {
  const plain = key.replace(/\[\d*\]/g, '')
  return plain.replace(/^uplinks\.[^.]+/, 'uplinks.NAME')
}

function docsOf(node: SchemaNode, place: Place): KeyDoc[] {
  const { required = [] } = node as { required?: readonly string[] }
  return Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    const key = place.key === '' ? name : `${place.key}.${name}`
    const settable = place.free ? place.settable : [...place.settable, name]
    const below = { key, settable, free: place.free }
    return [
      ...(child.properties === undefined ? [docOf(child, below, required.includes(name))] : []),
      ...docsOf(child, below),
      ...(child.items === undefined ? [] : docsOf(child.items, { ...below, key: `${key}[]`, free: true })),
      ...(typeof child.additionalProperties === 'object'
        ? docsOf(child.additionalProperties, { ...below, key: `${key}.NAME`, free: true })
        : []),
    ]
  })
}

function docOf(node: SchemaNode, { key, settable, free }: Place, required: boolean): KeyDoc {
  return {
    key,
    type: typeText(node),
    description: node.description ?? '',
    ...(node.default !== undefined && { default: node.default }),
    examples: node.examples ?? [],
    ...(node.enum !== undefined && { allowed: node.enum }),
    required,
    ...(!free && { variable: variableName(settable) }),
    effect: effectOf(settable),
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  integer: 'whole number',
  number: 'number',
  boolean: 'true or false',
  array: 'list',
  object: 'map',
}

function typeText(node: SchemaNode): string {
  const types = [node.type ?? []].flat()
  // Text with a unit, or the bare number: 64MiB, 67108864.
  if (types.includes('string') && types.includes('integer'))
    return String(node.examples?.[0] ?? '').includes('B') || String(node.default).endsWith('%')
      ? 'size'
      : 'duration'
  return types.map(type => typeNames[type] ?? type).join(' or ')
}
