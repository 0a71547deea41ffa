/** Reads all tables of a closed database and says what is wrong with them. Changes nothing. */
import type { Clock } from '#base/clock.ts'
import { FileWindow } from './file-window.ts'
import { Findings } from './findings.ts'
import { readContents } from './manifest.ts'
import { checkFilter } from './table-index.ts'
import { TableReader } from './table-reader.ts'

/** Longest look: half a GiB took 10 s on two busy cores; an SD card gives 20 to 90 MB a second. */
export const examineMaxMs = 90_000

export interface Examination {
  readonly findings: Findings
  /** Damage beyond single bits. */
  readonly isBeyondBits: boolean
  /** All of it was looked at. */
  readonly isFinished: boolean
}

/**
 * Tables and the manifest only: LevelDB syncs them before it relies on them, so that each checksum that does not
 * fit is damage. Its logs are written without a sync, and may end in anything after a loss of power.
 */
export async function examine(folder: string, clock: Clock): Promise<Examination> {
  const findings = new Findings()
  const { tables, missingTables, isManifestDamaged } = await readContents(folder, findings)
  const until = clock.monotonic() + examineMaxMs
  let isBeyondBits = missingTables > 0 || isManifestDamaged
  for (const { path } of tables.filter(table => table.isNamed)) {
    if (clock.monotonic() > until) return { findings, isBeyondBits, isFinished: false }
    if (!(await isReadable(path, findings))) isBeyondBits = true
  }
  return { findings, isBeyondBits, isFinished: true }
}

async function isReadable(path: string, findings: Findings): Promise<boolean> {
  const lostBefore = findings.lostBlocks
  const table = await TableReader.open(path, findings)
  try {
    while ((await table.next()) !== undefined);
  } finally {
    await table.close()
  }
  const file = await FileWindow.open(path)
  try {
    // The footer and its flipped bit were seen once.
    const others = new Findings()
    const isFilterWhole = await checkFilter(file, others)
    for (const flip of others.flips) {
      if (!findings.flips.some(known => known.path === path && known.at === flip.at)) {
        findings.flipped(flip.path, flip.at, flip.mask)
      }
    }
    return isFilterWhole && table.isIndexed && findings.lostBlocks === lostBefore
  } finally {
    await file.close()
  }
}
