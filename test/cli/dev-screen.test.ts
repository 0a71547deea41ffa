import { stripVTControlCharacters as plainText } from 'node:util'
import t from 'tap'
import { DevScreen } from '#cli/dev-screen.ts'
import type { Terminal } from '#cli/terminal.ts'

function screenOn(isTTY: boolean, env: Record<string, string> = {}) {
  const written: string[] = []
  const stdout = {
    isTTY,
    columns: 20,
    write(chunk: unknown) {
      written.push(String(chunk))
      return true
    },
  }
  const terminal: Terminal = {
    stdin: () => t.fail('no key is read') as never,
    stdout,
    stderr: stdout,
    env,
    cwd: '/',
    signal: new AbortController().signal,
    onHangUp: () => ({ [Symbol.dispose]() {} }),
  }
  return { screen: new DevScreen(terminal), written }
}

for (const [name, isTTY, env] of [
  ['a pipe', false, {}],
  ['NO_COLOR', true, { NO_COLOR: '1' }],
  ['a dumb terminal', true, { TERM: 'dumb' }],
] as const) {
  t.test(`plain lines only with ${name}`, async t => {
    const { screen, written } = screenOn(isTTY, env)
    screen.status('status')
    screen.line(screen.style('red', 'text'))
    t.same(written, ['text\n'])
    t.equal(screen.interactive, false)
  })
}

t.test('the status line stays below the lines and never wraps', async t => {
  const { screen, written } = screenOn(true)
  screen.status('a status line longer than the screen')
  const plain = plainText(written.join(''))
  t.equal(plain.length, 19)
  written.length = 0
  screen.line('text')
  t.ok(written.join('').startsWith('\r\u001b[2Ktext\n\u001b[7m a status'))
  written.length = 0
  screen.status('')
  t.equal(written.join(''), '\r\u001b[2K', 'an empty status goes away, and leaves no bar')
  written.length = 0
  screen.line('last')
  t.same(written, ['last\n'])
})
