/**
 * Finds and reads the device config for a command.
 *
 *   --config FILE, else FESCUE_CONFIG, else device-config/fescue.yaml here, else /etc/fescue/fescue.yaml, else none
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { DeviceConfig } from '#config/device-config.ts'
import { type LoadConfigOptions, type LoadedConfig, loadConfig } from '#config/load-config.ts'
import type { Terminal } from './terminal.ts'

export interface ConfigOptions {
  readonly config?: string
  readonly data?: string
  readonly functions?: string
}

/** Config keys that a command sets over file and environment, by dotted path. */
export type ConfigFlags = Readonly<Record<string, string | number | undefined>>

/** A config, and how to read it again from the same places. */
export interface ReadableConfig {
  readonly loaded: LoadedConfig
  read(): Promise<LoadedConfig>
}

/** Errors: FESCUE_CONFIG_UNREADABLE, FESCUE_CONFIG_INVALID. */
export async function readConfig(
  options: ConfigOptions,
  terminal: Terminal,
  flags: ConfigFlags = {},
): Promise<DeviceConfig> {
  const { config } = await loadConfig(configPlaces(options, terminal, flags))
  return config
}

/** Errors: FESCUE_CONFIG_UNREADABLE, FESCUE_CONFIG_INVALID. */
export async function readableConfig(
  options: ConfigOptions,
  terminal: Terminal,
  flags: ConfigFlags = {},
): Promise<ReadableConfig> {
  const read = () => loadConfig(configPlaces(options, terminal, flags))
  return { loaded: await read(), read }
}

/** Where the config of a command is read from; which file that is, is looked for each time. */
export function configPlaces(
  options: ConfigOptions,
  terminal: Terminal,
  flags: ConfigFlags = {},
): LoadConfigOptions {
  return {
    file: configFile(options, terminal),
    environment: terminal.env,
    flags: { data: options.data, functions: options.functions, ...flags },
    cwd: terminal.cwd,
  }
}

function configFile(options: ConfigOptions, terminal: Terminal): string | undefined {
  const named = options.config ?? terminal.env.FESCUE_CONFIG
  if (named !== undefined) return resolve(terminal.cwd, named)
  const usual = [join(terminal.cwd, 'device-config', 'fescue.yaml'), '/etc/fescue/fescue.yaml']
  return usual.find(existsSync)
}
