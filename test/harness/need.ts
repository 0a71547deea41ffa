/** Tools of the system that a test needs. Absent, the test is skipped with its reason; CI counts a skip as a failure. */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** `false` when all are there, else the reason to skip: what tap takes as `skip`. */
export function need(...programs: readonly string[]): string | false {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  const missing = programs.filter(program => !folders.some(folder => existsSync(join(folder, program))))
  return missing.length > 0 && `needs ${missing.join(', ')}`
}
