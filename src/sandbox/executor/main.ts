/**
 * Entry of the executor process: loads isolated-vm and serves the daemon over file descriptor 3 until that ends.
 *
 * It leaves only by SIGKILL: exiting while an isolate's thread runs ends in a segmentation fault.
 */
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { guestText } from '#guest/guest-text.ts'
import { Executor } from './executor.ts'
import { GuestScript } from './guest-script.ts'
import { loadIsolatedVm } from './native.ts'
import type { ExecutorSettings } from './settings.ts'

const settings: ExecutorSettings = JSON.parse(process.argv[2] ?? '{}')

new Executor({
  socket: new Socket({ fd: 3, readable: true, writable: true }),
  vm: loadIsolatedVm(settings.native),
  guest: new GuestScript(
    settings.guestFile === undefined ? guestText() : readFileSync(settings.guestFile, 'utf8'),
  ),
  bufferFiles: settings.bufferFiles,
  die: () => process.kill(process.pid, 'SIGKILL'),
})
