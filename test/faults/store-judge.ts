/**
 * Opens and reads damaged stores one after the other, and prints a line of JSON for each when it is closed again.
 * A process of its own, because LevelDB may end the one that it is in: the first folder without a line did it.
 *
 *   node store-judge.ts [--compact] FOLDER…      --compact: LevelDB meets all damage that there is
 */
import { writeSync } from 'node:fs'
import { judge } from '../fakes/numbered-store.ts'

// A store that waits for its disk keeps no process alive.
const alive = setInterval(() => {}, 60_000)
const compact = process.argv[2] === '--compact'
for (const folder of process.argv.slice(compact ? 3 : 2)) {
  const verdict = await judge(folder, { compact }).catch(error => ({ error: String(error) }))
  writeSync(1, `${JSON.stringify(verdict)}\n`)
}
clearInterval(alive)
