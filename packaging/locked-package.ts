/**
 * A package of the lock file for another processor than this one's, which npm does not install: fetched by npm as a
 * tarball, held against the lock's checksum, unpacked once.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Folder of the unpacked package. Errors: a package that is not in the lock, or is not what the lock says. */
export async function lockedPackage(root: string, name: string): Promise<string> {
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'))
  const { version, integrity } = lock.packages[`node_modules/${name}`] ?? {}
  if (version === undefined || integrity === undefined) throw new Error(`${name} is not in package-lock.json`)
  const cache = join(root, 'node_modules/.cache/fescue')
  const folder = join(cache, `${name.replace('/', '+')}-${version}`)
  if (await exists(folder)) return folder
  const unpacking = `${folder}.${process.pid}`
  await mkdir(unpacking, { recursive: true })
  try {
    const { stdout } = await run('npm', [
      'pack',
      `${name}@${version}`,
      '--json',
      '--pack-destination',
      unpacking,
    ])
    const tarball = join(unpacking, JSON.parse(stdout)[0].filename)
    check(name, integrity, await readFile(tarball))
    await run('tar', ['-xzf', tarball, '-C', unpacking, '--strip-components=1', '--no-same-owner'])
    await rm(tarball)
    await rename(unpacking, folder).catch(async error => {
      // Another build was faster.
      if (!(await exists(folder))) throw error
    })
  } finally {
    await rm(unpacking, { recursive: true, force: true })
  }
  return folder
}

function check(name: string, integrity: string, tarball: Buffer): void {
  const [algorithm = '', expected] = integrity.split(/-(.*)/s)
  const found = createHash(algorithm).update(tarball).digest('base64')
  if (found !== expected) throw new Error(`${name} is not what package-lock.json says: ${algorithm} ${found}`)
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
