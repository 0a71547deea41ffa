/** The lines around an error, with the place marked: what compilers print. */

/** Lines shown before and after the marked one. */
const around = 2
/** Characters of a line that are shown; minified code has lines of megabytes. */
const lineMaxChars = 160

/** `line` counts from 1, `column` (of UTF-16 units) from 0. */
export function codeFrame(lines: readonly string[], line: number, column: number, length = 1): string {
  const first = Math.max(1, line - around)
  const last = Math.min(lines.length, line + around)
  const width = String(last).length
  const out: string[] = []
  for (let n = first; n <= last; n++) {
    const text = (lines[n - 1] ?? '').slice(0, lineMaxChars)
    out.push(`${n === line ? '>' : ' '} ${String(n).padStart(width)} | ${text}`.trimEnd())
    if (n !== line || column >= lineMaxChars) continue
    // Tabs stay tabs, so that the mark stands under its letter whatever their width.
    const indent = text.slice(0, column).replace(/[^\t]/g, ' ')
    out.push(
      `  ${' '.repeat(width)} | ${indent}${'^'.repeat(Math.max(1, Math.min(length, lineMaxChars - column)))}`,
    )
  }
  return out.join('\n')
}
