/**
 * One writer at a time for a file that several processes edit.
 *
 * The lock is a listening socket in Linux's abstract name space (unix(7)), named after the file: taken by one
 * process only and gone with it, so a crash leaves no stale lock. Waiting is bounded.
 */
import { createHash } from 'node:crypto'
import { mkdir, realpath } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { basename, dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FescueError } from '#base/errors.ts'

const waitMaxMs = 5_000
const pollMs = 20

/** Runs `work` while nobody else does for this file. Errors: FESCUE_CONFLICT when the lock is not had in 5 s. */
export async function withFileLock<Result>(file: string, work: () => Promise<Result>): Promise<Result> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const place = `${await realpath(dirname(file))}/${basename(file)}`
  const name = `\0fescue-lock-${createHash('sha256').update(place).digest('hex')}`
  const deadline = performance.now() + waitMaxMs
  for (;;) {
    const server = await tryListen(name)
    if (server !== undefined) {
      try {
        return await work()
      } finally {
        await new Promise(resolve => server.close(resolve))
      }
    }
    if (performance.now() > deadline)
      throw new FescueError('FESCUE_CONFLICT', `another process is writing ${file}: try again`)
    await sleep(pollMs)
  }
}

function tryListen(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer(socket => socket.destroy())
    server.once('error', error => {
      if ('code' in error && error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen(name, () => resolve(server))
  })
}
