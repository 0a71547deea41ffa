/** Lists as people read them. Machines get `--json`. */
import Table from 'cli-table3'
import { formatPayload } from './format.ts'
import type { Output } from './terminal.ts'

/** Writes rows as a table on a terminal, and as tab-separated lines into a pipe. */
export function writeTable(
  output: Output,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  if (output.isTTY !== true) {
    for (const row of [head, ...rows]) output.write(`${row.join('\t')}\n`)
    return
  }
  const table = new Table({ head: [...head], style: { head: [], border: [] }, chars: lightChars })
  for (const row of rows) table.push(row.map(cell => formatPayload(cell, 80)))
  output.write(`${table.toString()}\n`)
}

/** No lines but one under the head: tables of this kind are easy to read and to copy from. */
const lightChars = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
}
