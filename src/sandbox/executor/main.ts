/**
 * Entry of the executor process: loads isolated-vm and serves the daemon over file descriptor 3 until that ends.
 *
 * It leaves only by SIGKILL: exiting while an isolate's thread runs ends in a segmentation fault.
 */
import { Socket } from 'node:net'
import { Executor } from './executor.ts'
import { loadIsolatedVm } from './native.ts'

new Executor({
  socket: new Socket({ fd: 3, readable: true, writable: true }),
  vm: loadIsolatedVm(process.argv[2] ?? ''),
  die: () => process.kill(process.pid, 'SIGKILL'),
})
