/**
 * The device secret (DIR/secret): 32 random bytes, made once. Device passwords are stored as HMACs under it, and
 * the seeds of functions come from it (D8). Without it neither can be worked out from a copy of the database.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { FescueError } from '#base/errors.ts'
import { createPrivateFile, readPrivateFile } from './private-file.ts'

const secretBytes = 32

/** Reads the secret of a data folder, making it at first. Errors: FESCUE_CONFIG_UNREADABLE. */
export async function openSecret(dataFolder: string): Promise<Buffer> {
  const file = join(dataFolder, 'secret')
  const known = await readPrivateFile(file, secretBytes)
  if (known === undefined) {
    await createPrivateFile(file, randomBytes(secretBytes))
    return openSecret(dataFolder)
  }
  if (known.length === secretBytes) return known
  throw new FescueError(
    'FESCUE_CONFIG_UNREADABLE',
    `${file} has ${known.length} bytes instead of ${secretBytes}: restore it from a backup, or remove it and add the devices anew`,
  )
}
