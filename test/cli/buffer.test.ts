/** `fescue buffer`: routes with their rates, the other logs, what was lost; once or again and again. */
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Buffered, RouteInfo } from '#api/backend.ts'
import { type Answer, FakeApi, json } from '../fakes/api-server.ts'
import { command } from './command.ts'

const route: RouteInfo = {
  route: 'alarms',
  filter: 'alarms/#',
  priority: 9,
  uplink: 'cloud',
  log: 'outbox.alarms.9',
  records: 1_200,
  bytes: 4_300_000,
  maxBytes: 2 ** 30,
  overflow: 'drop-oldest',
  oldestAt: Date.now() - 7_300_000,
  appended: 2_000,
  acknowledged: 800,
  perSecond: 40,
  drainMs: 30_000,
  refused: 3,
}
const buffered: Buffered = {
  uplinks: [{ name: 'cloud', state: 'connected', records: 1_200, bytes: 4_300_000 }],
  routes: [
    route,
    {
      ...route,
      route: undefined as never,
      log: 'outbox.old.5',
      records: 0,
      perSecond: 0,
      drainMs: undefined as never,
    },
  ],
  logs: [
    {
      log: 'inbox.f',
      records: 1,
      bytes: 10,
      maxBytes: 2 ** 26,
      overflow: 'block',
      oldestAt: Date.now() - 1_000,
    },
    { log: 'outbox.alarms.9', records: 1_200, bytes: 4_300_000, maxBytes: 2 ** 30, overflow: 'drop-oldest' },
  ],
  ledger: { entries: 2, lost: { overflow: 5_000, expired: 0 } },
}

t.test('a row for each route, the other logs, the links and the ledger', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-buffer-'))
  await using _api = await FakeApi.start({ 'GET /api/v1/buffer': json(buffered) }, folder.path)
  const { code, stdout, stderr } = await command(['buffer', '--data', folder.path])
  t.equal(code, 0)
  t.match(stdout, /^route\tto\twaiting\tsize\tof\twhen full\toldest\tout\/s\tempty in\trefused\n/)
  t.match(stdout, 'alarms\tcloud\t1,200\t4.1 MiB\t1.0 GiB\tdrop-oldest\t2h 1m ago\t40\t30s\t3\n')
  t.match(stdout, /outbox\.old\.5 \(no route any more\)\tcloud\t0\t.*\t–\t0\t–\t3\n/)
  t.match(stdout, /\nlog\trecords\tsize\tof\twhen full\toldest\ninbox\.f\t1\t/, 'outboxes are not told twice')
  t.match(
    stderr,
    /cloud cloud connected[\s\S]*lost {2}5,000 overflow since the start · 2 entries in the loss ledger/,
  )
  const asJson = await command(['buffer', '--json', '--data', folder.path])
  t.same(JSON.parse(asJson.stdout), JSON.parse(JSON.stringify(buffered)))
})

t.test('--watch looks again, with the rates in between, until it is stopped', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-buffer-'))
  const stop = new AbortController()
  let looks = 0
  const answer: Answer = (request, response) => {
    looks += 1
    const moved = { ...route, appended: 2_000 + 100_000 * looks, acknowledged: 800 + 50_000 * looks }
    response.on('finish', () => looks === 3 && stop.abort())
    json({ ...buffered, routes: [moved] })(request, response)
  }
  await using _api = await FakeApi.start({ 'GET /api/v1/buffer': answer }, folder.path)
  const args = ['buffer', '--watch', '0.01', '--data', folder.path]
  const { stdout } = await command(args, { signal: stop.signal })
  t.equal(looks, 3)
  t.match(stdout, /out\/s[\s\S]*oldest\tin\/s\tout\/s/, 'from the second look on what came in, too')
  const rates = /alarms\tcloud\t.*ago\t([\d,]+)\t([\d,]+)\t30s/.exec(stdout.slice(stdout.indexOf('in/s')))
  const [, came = '', left = ''] = rates ?? []
  const number = (text: string) => Number(text.replaceAll(',', ''))
  t.ok(Math.abs(number(came) / number(left) - 2) < 0.01, `${came} in, ${left} out`)
  t.notMatch(stdout, '\u001b', 'no screen is moved in a pipe')
})
