/**
 * Opens and compacts a database in a process of its own, to see whether LevelDB survives it.
 *
 *   done, or not done in time ──► it does, as far as can be seen
 *   SIGABRT (an assertion), SIGSEGV, SIGBUS ──► it does not: the database is damaged
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { installation } from '#base/installation.ts'

/** Longest that a probe takes. */
export const probeMaxMs = 15_000
/** Kept of what LevelDB says when it ends the process. */
const wordsMaxChars = 1_000

export interface Probe {
  readonly survived: boolean
  /** What the process said, or how it ended. */
  readonly words: string
}

const script = installation.program('store/salvage/probe-child.ts')
const deadly: readonly (string | null)[] = ['SIGABRT', 'SIGSEGV', 'SIGBUS']

export async function probe(folder: string, maxMs: number = probeMaxMs): Promise<Probe> {
  const child = spawn(process.execPath, [script, folder], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: maxMs,
    killSignal: 'SIGKILL',
  })
  let words = ''
  child.stderr.on('data', (bytes: Buffer) => {
    if (words.length < wordsMaxChars) words = (words + bytes.toString()).slice(0, wordsMaxChars)
  })
  try {
    const [code, signal] = await once(child, 'close')
    return { survived: !deadly.includes(signal), words: words.trim() || `ended with ${code ?? signal}` }
  } catch (error) {
    return { survived: true, words: String(error) } // No process to be had: nothing is known.
  }
}
