/**
 * Opens and reads damaged stores one after the other, and prints a line of JSON for each when it is closed again.
 * A process of its own, because LevelDB may end the one that it is in: the first folder without a line did it.
 *
 *   node store-judge.ts FOLDER…
 */
import { writeSync } from 'node:fs'
import { judge } from '../fakes/numbered-store.ts'

for (const folder of process.argv.slice(2)) {
  const verdict = await judge(folder).catch(error => ({ error: String(error) }))
  writeSync(1, `${JSON.stringify(verdict)}\n`)
}
