/**
 * Where a store lies and which life of the machine this is: how a copied folder and a loss of power are told
 * from an ordinary restart.
 *
 * The file `store.json` in the folder holds the format version, read before the database is touched, and a
 * random id. A copy (cp, rsync, tar, another card) gives that file another inode or birth time; a cloned card
 * in another board meets another machine id or board serial. A folder whose contents were rolled back in
 * place cannot be told here: only a receiver sees that (`Store.startEpoch`).
 */
import { randomBytes } from 'node:crypto'
import { open, readFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { FescueError } from '#base/errors.ts'

/** Version of what is on disk. A newer one is refused before anything is written. */
export const formatVersion = 1

/** Files that identify machine and boot; a test names its own. */
export interface MachineFiles {
  readonly bootId: string
  readonly machineIds: readonly string[]
}

export const linuxMachineFiles: MachineFiles = {
  bootId: '/proc/sys/kernel/random/boot_id',
  machineIds: ['/etc/machine-id', '/proc/device-tree/serial-number', '/sys/class/dmi/id/product_uuid'],
}

export interface Place {
  /** Empty when the kernel does not say: then every boot counts as another. */
  readonly boot: string
  readonly machine: string
  readonly file: string
}

/** Reads or makes `store.json` of a folder. `isNew`: it was not there. Errors: FESCUE_STORE_FORMAT. */
export async function findPlace(
  folder: string,
  files: MachineFiles,
): Promise<{ place: Place; isNew: boolean }> {
  const path = join(folder, 'store.json')
  const text = await readFile(path, 'utf8').catch(ignoreMissing)
  const known = text === undefined ? undefined : parseIdentity(text, path)
  const id = known ?? (await writeIdentity(path))
  const { ino, birthtimeMs } = await stat(path)
  const machine = (await Promise.all(files.machineIds.map(readWord))).join(' ')
  const place = {
    boot: await readWord(files.bootId),
    machine,
    file: `${id} ${ino} ${Math.floor(birthtimeMs)}`,
  }
  return { place, isNew: known === undefined }
}

/** The id, or undefined when the file is not ours any more (cut, or a flipped bit): it is written anew. */
function parseIdentity(text: string, path: string): string | undefined {
  let identity: { format?: unknown; id?: unknown; crc?: unknown }
  try {
    identity = JSON.parse(text)
  } catch {
    return undefined
  }
  if (identity.crc !== checksum(identity.format, identity.id)) return undefined
  if (typeof identity.format === 'number' && identity.format > formatVersion) {
    throw new FescueError(
      'FESCUE_STORE_FORMAT',
      `${path} says format ${identity.format}, this Fescue knows ${formatVersion}: ` +
        'upgrade Fescue, or choose another folder with --data',
    )
  }
  return typeof identity.id === 'string' ? identity.id : undefined
}

async function writeIdentity(path: string): Promise<string> {
  const id = randomBytes(6).toString('hex')
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.writeFile(
      `${JSON.stringify({ format: formatVersion, id, crc: checksum(formatVersion, id) })}\n`,
    )
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
  return id
}

const checksum = (format: unknown, id: unknown): number => crc32(`${format} ${id}`)

async function readWord(path: string): Promise<string> {
  try {
    return (await readFile(path, 'latin1')).replaceAll('\0', '').trim()
  } catch {
    return '' // Not every board has every file.
  }
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}
