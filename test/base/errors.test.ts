/** The table of error codes and its page for readers say the same; errors keep their code, status and cause. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { asFescueError, errorTable, FescueError } from '#base/errors.ts'

const file = join(import.meta.dirname, '../../src/base/errors.md')

function page(): string {
  const rows = Object.entries(errorTable).map(
    ([code, { status, retryable, doc }]) =>
      `| \`${code}\` | ${status} | ${retryable ? 'yes' : 'no'} | ${doc.replaceAll('|', '\\|')} |`,
  )
  return `# Errors

Every failure carries one of these codes: in the CLI's message, in the log (\`code\`), and in the problem documents
of the API (RFC 9457), whose HTTP status is the one here. *Retryable* means that the same call may succeed later
without anything being changed. The table is made from \`errors.ts\`; \`TAP_SNAPSHOT=1 node test/base/errors.test.ts\`
writes it anew.

| code | status | retryable | meaning and mend |
|---|---|---|---|
${rows.join('\n')}
`
}

/** Table rows without the alignment that a formatter gives them. */
function rowsOf(text: string): string[] {
  return text
    .split('\n')
    .filter(line => line.startsWith('| `FESCUE_'))
    .map(line => line.replace(/ +/g, ' '))
}

t.test('errors.md has every code with its status, and no other', async t => {
  if (process.env.TAP_SNAPSHOT === '1') writeFileSync(file, page())
  t.same(
    rowsOf(readFileSync(file, 'utf8')),
    rowsOf(page()),
    'TAP_SNAPSHOT=1 node test/base/errors.test.ts writes it anew',
  )
})

t.test('codes and texts keep their form', async t => {
  for (const [code, { status, doc }] of Object.entries(errorTable)) {
    t.match(code, /^FESCUE_[A-Z]+(_[A-Z]+)*$/)
    t.ok(status >= 400 && status < 600, code)
    t.match(doc, /^[^\n]{20,}\.$/, code)
  }
})

t.test('an error knows its status and whether to try again', async t => {
  const error = new FescueError('FESCUE_STORE_FULL', 'the disk is full')
  t.match(error, { name: 'FescueError', code: 'FESCUE_STORE_FULL', status: 503, retryable: true })
})

t.test('anything thrown becomes a FescueError with its cause; a FescueError stays itself', async t => {
  const known = new FescueError('FESCUE_NOT_FOUND', 'gone')
  t.equal(asFescueError(known), known)
  const cause = new RangeError('odd')
  t.match(asFescueError(cause), { code: 'FESCUE_INTERNAL', message: 'odd', cause })
  t.match(asFescueError('text', 'FESCUE_BUSY'), { code: 'FESCUE_BUSY', message: 'text' })
})
