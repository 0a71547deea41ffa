/** What the tests read from the Dockerfile: there is not everywhere a Docker to run it. */
import { readFile } from 'node:fs/promises'

export interface Instruction {
  readonly name: string
  readonly words: readonly string[]
}

/** Instructions with their words; comments gone, continued lines joined. */
export async function dockerInstructions(file: string): Promise<readonly Instruction[]> {
  const text = await readFile(file, 'utf8')
  return text
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter(line => line.trim() !== '')
    .map(line => {
      const [name = '', ...words] = line.trim().split(/\s+/)
      return { name, words }
    })
}

/** `NAME=VALUE` of every ENV of the last stage. */
export async function dockerEnvironment(file: string): Promise<readonly string[]> {
  const instructions = await dockerInstructions(file)
  const last = instructions.findLastIndex(({ name }) => name === 'FROM')
  return instructions.slice(last).flatMap(({ name, words }) => (name === 'ENV' ? words : []))
}
