/**
 * Layers become one tree, and each value remembers where it came from.
 *
 *   identity of the data folder  <  file  <  environment FESCUE_<KEY>  <  flags --key
 *
 * A variable's name is its key path in upper snake case: `mqtt.maxPacketBytes` is FESCUE_MQTT_MAX_PACKET_BYTES.
 * Lists and maps of free names are one variable in YAML: FESCUE_ROUTES='[{filter: alarms/#}]'.
 */
import { dirname, resolve } from 'node:path'
import { nearest } from '#base/nearest.ts'
import { keyPathsOf, type SchemaNode, schemaAt } from '#base/schema.ts'
import {
  type KeyPath,
  type Problem,
  parseDocument,
  pathText,
  type SourceDocument,
} from '#base/yaml-document.ts'
import { configSchema } from './config-schema.ts'
import { isServiceLink } from './service-links.ts'

const prefix = 'FESCUE_'
/** Variables that are not config keys: what the commands themselves read. */
export const reservedVariables: readonly string[] = ['FESCUE_CONFIG', 'FESCUE_TOKEN']

export interface Origin {
  readonly kind: 'default' | 'file' | 'environment' | 'flag'
  /** `file:line:column`, the variable or the flag; empty for a default. */
  readonly where: string
}

/** The merged values, unchecked, and where each came from. */
export interface Layers {
  readonly value: Record<string, unknown>
  /** Problems of the layers themselves: syntax, unknown variables. */
  readonly problems: readonly Problem[]
  /** What was passed over and should be known. */
  readonly warnings: readonly string[]
  originOf(path: KeyPath, part?: 'key' | 'value'): Origin
  /** Folder at which a relative path of this key starts. */
  folderOf(path: KeyPath): string
}

export interface LayerInput {
  readonly document: SourceDocument | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Name and cloud of this device (identity.ts), for what no other layer sets. */
  readonly identity?: SourceDocument
  /** By dotted key path: `{ 'mqtt.port': '1884' }`; undefined values are skipped. */
  readonly flags: Readonly<Record<string, string | number | boolean | undefined>>
  /** Folder at which relative paths of flags and variables start. */
  readonly cwd: string
}

/** Key paths that one variable or flag can set. */
export function settablePaths(): readonly string[][] {
  return keyPathsOf(configSchema)
    .filter(path => schemaAt(configSchema, path)?.properties === undefined)
    .map(path => path.map(String))
}

export function variableName(path: KeyPath): string {
  return prefix + path.map(key => String(key).replace(/[A-Z]/g, '_$&').toUpperCase()).join('_')
}

/** `mqtt.port` is set by `--mqtt-port`. */
export function flagName(path: KeyPath): string {
  return `--${path.map(key => String(key).replace(/[A-Z]/g, '-$&').toLowerCase()).join('-')}`
}

export function mergeLayers(input: LayerInput): Layers {
  const { document, environment, flags, cwd } = input
  const problems: Problem[] = [...(document?.problems ?? [])]
  const fromFile = document?.problems.length === 0 ? document.value : undefined
  const value = (isTree(fromFile) ? structuredClone(fromFile) : (fromFile ?? {})) as Record<string, unknown>
  const origins = new Map<string, Origin>()
  const set = (path: readonly string[], given: unknown, origin: Origin) => {
    if (!isTree(value)) return
    setAt(value, path, given)
    origins.set(pathText(path), origin)
  }
  const variables = new Map(settablePaths().map(path => [variableName(path), path]))
  const passedOver: string[] = []
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith(prefix) || text === undefined || reservedVariables.includes(variable)) continue
    const path = variables.get(variable)
    if (isServiceLink(variable, text)) passedOver.push(variable)
    else if (path === undefined)
      problems.push(unknownVariable(variable, [...variables.keys(), ...reservedVariables]))
    else set(path, typedValue(path, text, variable, problems), { kind: 'environment', where: variable })
  }
  for (const [dotted, given] of Object.entries(flags)) {
    if (given === undefined) continue
    const path = dotted.split('.')
    const origin: Origin = { kind: 'flag', where: flagName(path) }
    set(path, typeof given === 'string' ? typedValue(path, given, origin.where, problems) : given, origin)
  }
  for (const [path, own] of identityValues(input.identity, value))
    set(path, own, { kind: 'file', where: input.identity?.whereOf(path, 'value') ?? '' })
  const originOf = (path: KeyPath, part: 'key' | 'value' = 'key'): Origin => {
    for (let length = path.length; length > 0; length--) {
      const origin = origins.get(pathText(path.slice(0, length)))
      if (origin !== undefined) return origin
    }
    if (document === undefined || !existsAt(document.value, path)) return { kind: 'default', where: '' }
    return { kind: 'file', where: document.whereOf(path, part) }
  }
  return {
    value,
    problems,
    warnings: passedOver.length === 0 ? [] : [serviceLinksText(passedOver)],
    originOf,
    folderOf: path =>
      document !== undefined && originOf(path).kind === 'file' ? dirname(resolve(cwd, document.file)) : cwd,
  }
}

function serviceLinksText(variables: readonly string[]): string {
  return `passed over ${variables.join(', ')}: set by an orchestrator for a service of this name, no config keys`
}

/** What an identity adds: keys that stand nowhere else, and no second word on a cloud that is described elsewhere. */
function identityValues(
  identity: SourceDocument | undefined,
  value: Record<string, unknown>,
): readonly (readonly [string[], unknown])[] {
  const url = existsAt(value, ['uplink', 'url']) || existsAt(identity?.value, ['uplink', 'url'])
  // A token alone waits for the cloud that it is for.
  const described = existsAt(value, ['uplinks', 'default']) || !url
  const token = existsAt(value, ['uplink', 'token'])
  return [['device'], ['uplink', 'url'], ['uplink', 'tokenFile']].flatMap(path => {
    const isUplink = path[0] === 'uplink'
    if (existsAt(value, path) || (isUplink && described) || (path[1] === 'tokenFile' && token)) return []
    const own = valueAt(identity?.value, path)
    return own === undefined ? [] : [[path, own] as const]
  })
}

function unknownVariable(variable: string, known: readonly string[]): Problem {
  const close = nearest(variable, known)
  const mend =
    close === undefined
      ? 'its name is FESCUE_ and the key path, like FESCUE_MQTT_PORT'
      : `did you mean ${close}?`
  return { where: variable, path: [], message: `unknown variable ${variable}: ${mend}` }
}

/** The text of a variable or flag as its schema's type; left as text when it does not fit, for the check to say so. */
function typedValue(path: KeyPath, text: string, where: string, problems: Problem[]): unknown {
  const types = [(schemaAt(configSchema, path) as SchemaNode | undefined)?.type ?? 'string'].flat()
  if (types.includes('string')) return text
  if (types.includes('integer')) return /^\d+$/.test(text) ? Number(text) : text
  const parsed = parseDocument(where, text)
  problems.push(
    ...parsed.problems.map(problem => ({ ...problem, where, message: `${where}: ${problem.message}` })),
  )
  return parsed.value
}

export function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function setAt(tree: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path
  if (key === undefined) return
  if (rest.length === 0) {
    tree[key] = value
    return
  }
  const below = tree[key]
  // A scalar where a map belongs is replaced: the layer above wins.
  const next = isTree(below) ? below : {}
  tree[key] = next
  setAt(next, rest, value)
}

function existsAt(value: unknown, path: KeyPath): boolean {
  return valueAt(value, path) !== undefined
}

function valueAt(value: unknown, path: KeyPath): unknown {
  let node = value
  for (const key of path) {
    if (typeof node !== 'object' || node === null || !Object.hasOwn(node, key)) return undefined
    node = (node as Record<string | number, unknown>)[key]
  }
  return node
}
