/**
 * The table of commands. Each stands in a file of its own that is loaded only when it is asked for, so that
 * `fescue pub` does not pay for what `fescue start` needs.
 */
import type { Command } from 'commander'
import type { Terminal } from './terminal.ts'

/** What the file of a command exports as `build`: its arguments, options, help and action. */
export interface CommandModule {
  build(terminal: Terminal): Command
}

export interface CommandEntry {
  readonly summary: string
  /** A server ends with 0 when it is asked to stop; a client's SIGINT is 130, as shells expect. */
  readonly kind: 'server' | 'client'
  load(): Promise<CommandModule>
}

export const commands: Readonly<Record<string, CommandEntry>> = {
  dev: {
    summary: 'Run everything on this machine: daemon, cloud endpoint, sample functions, simulated sensors',
    kind: 'server',
    load: () => import('./dev.ts'),
  },
  start: {
    summary: 'Run the daemon',
    kind: 'server',
    load: () => import('./start.ts'),
  },
  cloud: {
    summary: 'Run the cloud endpoint, the reference receiver of an uplink',
    kind: 'server',
    load: () => import('./cloud.ts'),
  },
  check: {
    summary: 'Check configuration, machine and functions before a start',
    kind: 'client',
    load: () => import('./check.ts'),
  },
  status: {
    summary: 'Show how the daemon, its link and its buffers are',
    kind: 'client',
    load: () => import('./status.ts'),
  },
  pub: {
    summary: 'Publish a message',
    kind: 'client',
    load: () => import('./pub.ts'),
  },
  sub: {
    summary: 'Print messages as they are published',
    kind: 'client',
    load: () => import('./sub.ts'),
  },
  invoke: {
    summary: 'Call a function and print what it returns',
    kind: 'client',
    load: () => import('./invoke.ts'),
  },
  functions: {
    summary: 'List the functions',
    kind: 'client',
    load: () => import('./functions.ts'),
  },
  devices: {
    summary: 'Add, list and revoke the devices that may connect',
    kind: 'client',
    load: () => import('./devices.ts'),
  },
  'first-boot': {
    summary: 'Take the identity of this device from a file on the boot partition',
    kind: 'client',
    load: () => import('./first-boot.ts'),
  },
  'dead-letters': {
    summary: 'List, retry and drop the messages that a function could not take',
    kind: 'client',
    load: () => import('./dead-letters.ts'),
  },
  buffer: {
    summary: 'Show what waits in the logs',
    kind: 'client',
    load: () => import('./buffer.ts'),
  },
  logs: {
    summary: 'Show what the daemon and its functions logged',
    kind: 'client',
    load: () => import('./logs.ts'),
  },
  config: {
    summary: 'Show, check, explain and reload the configuration',
    kind: 'client',
    load: () => import('./config.ts'),
  },
  completion: {
    summary: 'Print the script that makes a shell complete fescue',
    kind: 'client',
    load: () => import('./completion.ts'),
  },
}
