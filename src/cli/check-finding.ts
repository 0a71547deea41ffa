/** What `fescue check` found: one line of its list, and how the list is printed. */
import { styleText } from 'node:util'
import { isColourful, type Terminal } from './terminal.ts'

export type Verdict = 'ok' | 'warning' | 'failed'
export type Section = 'Configuration' | 'Machine' | 'Functions'

export interface CheckFinding {
  readonly section: Section
  /** `config`, `port.mqtt`, `function.thermostat` … */
  readonly id: string
  readonly verdict: Verdict
  readonly text: string
  /** What to do about it. */
  readonly mend?: string
}

/** Makes findings of one section. */
export function findingsOf(section: Section) {
  return {
    ok: (id: string, text: string): CheckFinding => ({ section, id, verdict: 'ok', text }),
    warning: (id: string, text: string, mend: string): CheckFinding => ({
      section,
      id,
      verdict: 'warning',
      text,
      mend,
    }),
    failed: (id: string, text: string, mend?: string): CheckFinding => ({
      section,
      id,
      verdict: 'failed',
      text,
      ...(mend !== undefined && { mend }),
    }),
  }
}

const marks: Readonly<Record<Verdict, string>> = { ok: '✔', warning: '⚠', failed: '✖' }
const colours = { ok: 'green', warning: 'yellow', failed: 'red' } as const

export function writeFindings(findings: readonly CheckFinding[], terminal: Terminal): void {
  const colourful = isColourful(terminal, terminal.stdout)
  const paint = (style: 'bold' | 'dim' | (typeof colours)[Verdict], text: string) =>
    colourful ? styleText(style, text, { validateStream: false }) : text
  const width = Math.max(...findings.map(({ id }) => id.length))
  let section: Section | undefined
  for (const finding of findings) {
    if (finding.section !== section) {
      terminal.stdout.write(`${section === undefined ? '' : '\n'}${paint('bold', finding.section)}\n`)
      section = finding.section
    }
    const { id, verdict, text, mend } = finding
    const indent = ' '.repeat(width + 4)
    const lines = text.replaceAll('\n', `\n${indent}`)
    terminal.stdout.write(`${paint(colours[verdict], marks[verdict])} ${id.padEnd(width)}  ${lines}\n`)
    if (mend !== undefined) terminal.stdout.write(`${indent}${paint('dim', '→')} ${mend}\n`)
  }
}

/** `12 ok, 1 warning, 2 failed`. */
export function summaryOf(findings: readonly CheckFinding[]): string {
  const count = (verdict: Verdict) => findings.filter(finding => finding.verdict === verdict).length
  const warnings = count('warning')
  return `${count('ok')} ok, ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}, ${count('failed')} failed`
}
