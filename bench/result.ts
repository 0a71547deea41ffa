/** The result file of a bench: everything that was measured, and all that is needed to measure it again. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import type { DiskReport } from './disk.ts'
import type { ProfileName } from './profile.ts'
import type { Findings } from './rounds.ts'

export interface Result extends Findings {
  readonly profile: ProfileName
  /** What the profile has put in force. */
  readonly limits: readonly string[]
  readonly date: string
  readonly commit: string
  /** Of the choices of the kills scenario: `SEED=… npm run bench`. */
  readonly seed: number
  /** How long the whole took. */
  readonly seconds: number
  readonly rounds: number
  readonly secondsPerMeasurement: number
  readonly machine: Machine
  readonly disk: DiskReport
  readonly peers: readonly { readonly name: string; readonly does: string; readonly version: string }[]
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryMb: number
  readonly kernel: string
  readonly node: string
}

export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryMb: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    node: process.version,
  }
}

/** The commit that is checked out; with a plus when sources, of Fescue or of the bench, differ from it. */
export function thisCommit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim()
  try {
    const changed =
      git('status', '--porcelain', '--untracked-files=no', 'src', 'bench', ':!bench/results') !== ''
    return `${git('rev-parse', '--short', 'HEAD')}${changed ? '+' : ''}`
  } catch {
    return 'unknown'
  }
}

export function readResult(file: string): Result {
  return JSON.parse(readFileSync(file, 'utf8'))
}
