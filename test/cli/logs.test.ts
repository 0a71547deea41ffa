/** `fescue logs`: what it asks for, one line a line, and the seam between what was and what comes. */
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { LogEntry } from '#api/backend.ts'
import { logLine, parseSince } from '#cli/logs.ts'
import { type Answer, FakeApi, json } from '../fakes/api-server.ts'
import { command } from './command.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'fescue-logs-'))
const entries: LogEntry[] = [
  { seq: 7, time: 0, level: 'info', part: 'broker', message: 'sessions loaded', fields: { sessions: 2 } },
  { seq: 8, time: 1, level: 'error', part: 'invoker', function: 'f', invocationId: 'i-1', message: 'a\nb' },
]

t.test('recent lines: by default 100, or as the options say', async t => {
  await using folder = await temporary()
  await using api = await FakeApi.start({ 'GET /api/v1/logs': json(entries) }, folder.path)
  const input = { env: { FESCUE_DATA: folder.path } }
  const plain = await command(['logs'], input)
  t.equal(plain.code, 0)
  t.match(
    plain.stdout,
    /^\S+ {2}INFO {3}broker {2}sessions loaded {2}sessions=2\n\S+ {2}ERROR {2}f {2}a\\nb {2}\[i-1\]\n$/,
  )
  t.equal(api.requests[0]?.path, '/api/v1/logs?limit=100')
  await command(['logs', '-n', '5', '--function', 'f', '--level', 'warn', '--since', '2026-01-31'], input)
  t.equal(
    api.requests[1]?.path,
    `/api/v1/logs?limit=5&function=f&level=warn&since=${Date.parse('2026-01-31')}`,
  )
  const asJson = await command(['logs', '--json'], input)
  t.same(
    asJson.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line)),
    entries,
  )
  for (const wrong of [
    ['--level', 'loud'],
    ['--since', 'yesterday'],
    ['-n', '0'],
  ])
    t.equal((await command(['logs', ...wrong], input)).code, 2, wrong.join(' '))
})

t.test(
  '--follow goes on after the last line that was shown, until it is stopped or the daemon is',
  async t => {
    await using folder = await temporary()
    const stop = new AbortController()
    const more = { seq: 9, time: 2, level: 'warn', part: 'store', message: 'the disk is full' }
    const answer: Answer = (request, response) => {
      if (!request.path.includes('follow')) return json(entries)(request, response)
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      response.write(`${JSON.stringify(more)}\n${JSON.stringify({ type: 'skipped', time: 3, count: 4 })}\n`)
      if (request.path.includes('level')) response.end()
      else setImmediate(() => stop.abort())
    }
    await using api = await FakeApi.start({ 'GET /api/v1/logs': answer }, folder.path)
    const input = { env: { FESCUE_DATA: folder.path } }
    const ended = await command(['logs', '-f', '--level', 'info'], input)
    t.match(api.requests[1]?.path, /follow=1&after=8/)
    t.match(ended.stdout, /sessions loaded[\s\S]*the disk is full\n$/)
    t.match(ended.stderr, /4 lines were too fast[\s\S]*the daemon ended the stream/)
    t.equal(ended.code, 1)
    const stopped = await command(['logs', '-f'], { ...input, signal: stop.signal })
    t.equal(stopped.stderr.includes('ended'), false, 'asked for, so no failure')
  },
)

t.test('no line is said to be none', async t => {
  await using folder = await temporary()
  await using _api = await FakeApi.start({ 'GET /api/v1/logs': json([]) }, folder.path)
  t.match(await command(['logs', '--data', folder.path]), { code: 0, stdout: '', stderr: /no such lines/ })
})

t.test('a line steers no terminal, and colours are asked for', async t => {
  const entry: LogEntry = {
    seq: 1,
    time: 0,
    level: 'warn',
    message: '\u001b[2J',
    fields: { err: { message: 'no "x"' }, text: 'two words', list: [1] },
  }
  const line = logLine(entry, false)
  t.match(line, 'daemon  \\u001b[2J  err="no \\"x\\"" text="two words" list=[1]')
  t.notMatch(line, '\u001b')
  t.match(logLine(entry, true), '\u001b[33mWARN \u001b[39m')
})

t.test('since: a span before now, or a moment', async t => {
  t.equal(parseSince('2026-01-31T12:00:00Z'), Date.UTC(2026, 0, 31, 12))
  const before = Date.now() - 600_000
  t.ok(Math.abs(parseSince('10m') - before) < 10_000)
})
