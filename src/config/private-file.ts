/**
 * Files of mode 0600 that are whole or absent, whatever is pulled out at which instant.
 *
 *   write temp (0600) ─► fsync ─► rename or link ─► fsync folder        a crash leaves the old file, or the new
 *
 * Left-over temp files of a crash are removed by the next write of the same file.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FescueError } from '#base/errors.ts'

/** Replaces the file's content. The folder is made when absent (mode 0700). */
export async function replacePrivateFile(file: string, content: string | Buffer): Promise<void> {
  const temp = await writeTemp(file, content)
  await rename(temp, file)
  await syncFolder(dirname(file))
}

/** Makes the file unless it exists; whether it was made. Of several at once one wins. */
export async function createPrivateFile(file: string, content: string | Buffer): Promise<boolean> {
  const temp = await writeTemp(file, content)
  try {
    // Unlike rename, link fails when the target exists; unlike O_EXCL, the file appears with its content.
    await link(temp, file)
    await syncFolder(dirname(file))
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  } finally {
    await rm(temp, { force: true })
  }
}

/**
 * Content of a private file, or undefined when it does not exist. A mode that lets others read is tightened.
 * Errors: FESCUE_CONFIG_UNREADABLE.
 */
export async function readPrivateFile(file: string, maxBytes: number): Promise<Buffer | undefined> {
  try {
    await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW)
    const { size, mode } = await handle.stat()
    if (size > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`)
    if ((mode & 0o077) !== 0) await handle.chmod(0o600)
    return await handle.readFile()
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    const reason = error instanceof Error ? error.message : String(error)
    throw new FescueError('FESCUE_CONFIG_UNREADABLE', `cannot read ${file}: ${reason}`, { cause: error })
  }
}

async function writeTemp(file: string, content: string | Buffer): Promise<string> {
  const folder = dirname(file)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await removeLeftOvers(file)
  const temp = join(folder, `${tempPrefix(file)}${process.pid}.${randomBytes(6).toString('hex')}`)
  try {
    await using handle = await open(temp, 'wx', 0o600)
    await handle.writeFile(content)
    await handle.sync()
  } catch (error) {
    await rm(temp, { force: true })
    throw error
  }
  return temp
}

function tempPrefix(file: string): string {
  return `.${basename(file)}.tmp.`
}

/** Removes temp files of processes that are gone. */
async function removeLeftOvers(file: string): Promise<void> {
  const folder = dirname(file)
  const prefix = tempPrefix(file)
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix)) continue
    const pid = Number(name.slice(prefix.length).split('.')[0])
    if (!isAlive(pid)) await rm(join(folder, name), { force: true })
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, constants.O_RDONLY)
  await handle.sync()
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
