/** The peers that come from npm, in `bench/node_modules` under a lock file of their own. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = join(import.meta.dirname, 'node_modules')

/** What to type when a package is not installed; undefined when it is. */
export function packageMissing(name: string): string | undefined {
  return existsSync(join(folder, name, 'package.json')) ? undefined : 'npm ci --prefix bench'
}

export function packageFile(name: string, file: string): string {
  return join(folder, name, file)
}

export function packageVersion(name: string): string {
  return JSON.parse(readFileSync(packageFile(name, 'package.json'), 'utf8')).version
}
