/**
 * Which tables and logs of a folder are the database, by its manifest: a log of edits.
 *
 *   edit   { tag │ what the tag says } …    tables added and deleted, the number of the oldest log still needed
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ByteReader } from '../bytes.ts'
import { logRecords } from './batch-log.ts'
import type { Findings } from './findings.ts'

export interface TableFile {
  readonly path: string
  /** It belongs to the database for sure; else it may be what a killed process left half written. */
  readonly isNamed: boolean
}

export interface Contents {
  readonly tables: readonly TableFile[]
  /** Paths, in the order of their writing. */
  readonly logs: readonly string[]
  /** Named by the manifest, and not there. */
  readonly missingTables: number
  readonly isManifestDamaged: boolean
}

interface Edits {
  readonly live: Set<number>
  /** Tables whose content is in others that were added in the same edit. */
  readonly replaced: Set<number>
  oldestLog: number
  isDamaged: boolean
}

/**
 * Looks into a folder. A table that the manifest does not name is read all the same, for the manifest may have
 * lost its end; one that it says was replaced is not, as long as all that it names are there.
 */
export async function readContents(folder: string, findings: Findings): Promise<Contents> {
  const names = await readdir(folder)
  const edits = await readEdits(folder, names, findings)
  const tables = numbered(names, /^(\d+)\.(?:ldb|sst)$/)
  const logs = numbered(names, /^(\d+)\.log$/)
  const missingTables = [...edits.live].filter(number => !tables.has(number)).length
  const isReplaced = (number: number) => missingTables === 0 && edits.replaced.has(number)
  return {
    tables: [...tables]
      .filter(([number]) => edits.live.has(number) || !isReplaced(number))
      .map(([number, name]) => ({
        path: join(folder, name),
        isNamed: edits.isDamaged || edits.live.has(number),
      })),
    logs: [...logs]
      .filter(([number]) => number >= edits.oldestLog)
      .sort(([a], [b]) => a - b)
      .map(([, name]) => join(folder, name)),
    missingTables,
    isManifestDamaged: edits.isDamaged,
  }
}

function numbered(names: readonly string[], pattern: RegExp): Map<number, string> {
  const found = new Map<number, string>()
  for (const name of names) {
    const number = pattern.exec(name)?.[1]
    if (number !== undefined) found.set(Number(number), name)
  }
  return found
}

async function readEdits(folder: string, names: readonly string[], findings: Findings): Promise<Edits> {
  const edits: Edits = { live: new Set(), replaced: new Set(), oldestLog: 0, isDamaged: false }
  const damaged = (): void => {
    edits.isDamaged = true
  }
  const name = await manifestName(folder, names, damaged)
  if (name === undefined) return edits
  for await (const record of logRecords(join(folder, name), findings, damaged)) {
    if (!apply(edits, record)) damaged()
  }
  if (edits.isDamaged) edits.oldestLog = 0
  return edits
}

/** The one that CURRENT names, or else the newest. */
async function manifestName(
  folder: string,
  names: readonly string[],
  damaged: () => void,
): Promise<string | undefined> {
  const current = (await readFile(join(folder, 'CURRENT'), 'latin1').catch(() => '')).trimEnd()
  if (/^MANIFEST-\d+$/.test(current) && names.includes(current)) return current
  const manifests = names.filter(each => /^MANIFEST-\d+$/.test(each)).sort()
  // Where there is but one, it is the one that CURRENT named.
  if (manifests.length !== 1) damaged()
  return manifests.at(-1)
}

/** LevelDB's tags; 8 is not in use any more. */
const tag = { comparator: 1, log: 2, nextFile: 3, sequence: 4, pointer: 5, deleted: 6, added: 7, oldLog: 9 }

/** False when the record is no edit. */
function apply(edits: Edits, record: Buffer): boolean {
  const reader = new ByteReader(record)
  const deleted: number[] = []
  try {
    while (!reader.atEnd) {
      switch (reader.varint()) {
        case tag.comparator:
          reader.blob()
          break
        case tag.log:
          edits.oldestLog = reader.varint()
          break
        case tag.nextFile:
        case tag.sequence:
        case tag.oldLog:
          reader.varint()
          break
        case tag.pointer:
          reader.varint()
          reader.blob()
          break
        case tag.deleted:
          reader.varint()
          deleted.push(reader.varint())
          break
        case tag.added:
          reader.varint()
          deleteLast(edits, deleted)
          edits.live.add(reader.varint())
          reader.varint()
          reader.blob()
          reader.blob()
          break
        default:
          return false
      }
    }
  } catch {
    return false
  }
  deleteLast(edits, deleted)
  return true
}

/** Deletions come first in an edit; a table that only moves to another level is deleted and added. */
function deleteLast(edits: Edits, deleted: number[]): void {
  for (const number of deleted.splice(0)) {
    edits.live.delete(number)
    edits.replaced.add(number)
  }
}
