/**
 * The device config: file, environment and flags become one frozen `DeviceConfig`, or one error with all that
 * is wrong, each with its place and the mend.
 *
 *   file ──┐       (below the file: identity.ts)   files beside: config-schema (every key once), layers,
 *   env ───┼─ layers ─ schema ─ cross checks ─►    defaults, cross-checks, resolve-config, route-name,
 *   flags ─┘            resolve ─► DeviceConfig    effective-config, config-changes, key-docs; devices, secret, token live in DIR
 */
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { FescueError } from '#base/errors.ts'
import { compileSchema } from '#base/schema.ts'
import {
  documentMaxBytes,
  type KeyPath,
  type Problem,
  parseDocument,
  problemsText,
  type SourceDocument,
} from '#base/yaml-document.ts'
import { configSchema, type RawConfig } from './config-schema.ts'
import { crossChecks } from './cross-checks.ts'
import { deepFreeze, withDefaults } from './defaults.ts'
import type { DeviceConfig } from './device-config.ts'
import type { Finding } from './finding.ts'
import { readIdentity } from './identity.ts'
import { type Layers, mergeLayers, type Origin } from './layers.ts'
import { resolveConfig } from './resolve-config.ts'

export interface LoadConfigOptions {
  /** YAML or JSON; undefined runs on defaults, environment and flags. */
  readonly file: string | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  /** By dotted key path: `{ data: '/srv/fescue', 'mqtt.port': '1884' }`; undefined values are skipped. */
  readonly flags?: Readonly<Record<string, string | number | boolean | undefined>>
  /** Where relative paths of flags, variables and defaults start. */
  readonly cwd: string
}

export interface LoadedConfig {
  readonly config: DeviceConfig
  /** The values as given, defaults filled in; secrets included. For `effectiveConfig`. */
  readonly raw: RawConfig
  /** The file that was read, as it was named; undefined without one. */
  readonly file: string | undefined
  /** What was passed over and should be known. */
  readonly warnings: readonly string[]
  /** Where a value came from. */
  originOf(path: KeyPath): Origin
}

export type Inspection =
  | { readonly kind: 'valid'; readonly loaded: LoadedConfig }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[] }

/** Errors: FESCUE_CONFIG_UNREADABLE, FESCUE_CONFIG_INVALID (its message has one line per problem). */
export async function loadConfig(options: LoadConfigOptions): Promise<LoadedConfig> {
  const inspected = await inspectConfig(options)
  if (inspected.kind === 'valid') return inspected.loaded
  throw new FescueError('FESCUE_CONFIG_INVALID', problemsText(inspected.problems))
}

/** As `loadConfig`, with what is wrong as data. Errors: FESCUE_CONFIG_UNREADABLE. */
export async function inspectConfig(options: LoadConfigOptions): Promise<Inspection> {
  const document = options.file === undefined ? undefined : await readDocument(options.file)
  const given = { ...options, flags: options.flags ?? {}, document }
  const identity = await readIdentity(dataFolderOf(mergeLayers(given)))
  const layers = mergeLayers({ ...given, ...(identity && { identity }) })
  if (document !== undefined && document.problems.length > 0) return invalid(layers.problems)
  const check = await compileSchema(configSchema)
  const found = check(layers.value).map(({ path, part, message }) => ({
    where: path.length === 0 && document !== undefined ? document.whereOf([]) : whereOf(layers, path, part),
    path,
    message,
  }))
  if (layers.problems.length + found.length > 0) return invalid([...layers.problems, ...found])
  const raw = withDefaults(configSchema, layers.value) as RawConfig
  const crossed = placed(layers, crossChecks(raw))
  if (crossed.length > 0) return invalid(crossed)
  const { config, findings } = resolveConfig(raw, layers.folderOf)
  if (config === undefined) return invalid(placed(layers, findings))
  const { warnings } = layers
  const loaded = { config: deepFreeze(config), raw: deepFreeze(raw), file: options.file, warnings }
  return { kind: 'valid', loaded: { ...loaded, originOf: path => layers.originOf(path) } }
}

function invalid(problems: readonly Problem[]): Inspection {
  return { kind: 'invalid', problems }
}

/** Known before the rest is: what lies there is the lowest layer. */
function dataFolderOf({ value, folderOf }: Layers): string {
  return resolve(folderOf(['data']), String(value.data ?? configSchema.properties.data.default))
}

async function readDocument(file: string): Promise<SourceDocument> {
  try {
    await using handle = await open(file)
    const stats = await handle.stat()
    // A device or a pipe could go on for ever; taken for empty, it would run the daemon on its defaults.
    if (!stats.isFile() && file !== '/dev/null')
      throw new Error(`it is a ${stats.isDirectory() ? 'folder' : 'device or pipe'}: name a file`)
    const { size } = stats
    const buffer = Buffer.alloc(Math.min(size, documentMaxBytes + 1))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0)
    return parseDocument(file, buffer.subarray(0, bytesRead).toString('utf8'))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new FescueError('FESCUE_CONFIG_UNREADABLE', `cannot read the config file ${file}: ${reason}`, {
      cause: error,
    })
  }
}

function placed(layers: Layers, findings: readonly Finding[]): readonly Problem[] {
  return findings.map(({ path, message }) => ({ where: whereOf(layers, path, 'value'), path, message }))
}

function whereOf(layers: Layers, path: KeyPath, part: 'key' | 'value'): string {
  // A missing value has no place: its nearest parent that stands somewhere.
  for (let length = path.length; length > 0; length--) {
    const { where } = layers.originOf(path.slice(0, length), part)
    if (where !== '') return where
  }
  return 'config'
}
