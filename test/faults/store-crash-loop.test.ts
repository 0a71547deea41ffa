/**
 * A daemon that its database ends at every start: started again and again, as systemd would, it heals itself.
 *
 *   daemon with a queue of messages, stopped ─► a bit flipped in a key ─► starts … ─► ready, with all of it
 */
import { cp, mkdtempDisposable, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mqtt, { connectAsync } from 'mqtt'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { openStore } from '#store/open.ts'
import { FileWindow } from '#store/salvage/file-window.ts'
import { Findings } from '#store/salvage/findings.ts'
import { findBlocks } from '#store/salvage/table-index.ts'
import { suspectAfterDeaths } from '#store/starts.ts'
import { ConsoleProcess } from '../e2e/console-process.ts'
import { mainFile, type RunningProcess, root, startFescue } from '../harness/processes.ts'

const messages = 200
const topic = 'sensors/kitchen/temperature'

/** Starts a daemon; undefined when it ends before it is ready. */
async function start(data: string, functions: string): Promise<RunningProcess | undefined> {
  const ports = ['--mqtt-port', '0', '--http-port', '0']
  return startFescue(['start', '--data', data, '--functions', functions, ...ports]).catch(() => undefined)
}

const connect = (daemon: RunningProcess, clean: boolean) =>
  connectAsync(`mqtt://127.0.0.1:${daemon.ready.mqtt}`, { clientId: clean ? 'sensor' : 'away', clean })

/** A data folder whose tables hold messages that wait for a client. */
async function prepare(data: string, functions: string): Promise<void> {
  const daemon = await startFescue(
    ['start', '--data', data, '--functions', functions, '--mqtt-port', '0', '--http-port', '0'],
    [],
  )
  const away = await connect(daemon, false)
  await away.subscribeAsync(topic, { qos: 1 })
  await away.endAsync()
  const sensor = await connect(daemon, true)
  await Promise.all(
    Array.from({ length: messages }, (_, index) => sensor.publishAsync(topic, String(index), { qos: 1 })),
  )
  await sensor.endAsync()
  await daemon.stop()
  // LevelDB writes its log into a table when it opens.
  const folder = join(data, 'store')
  await using _store = await openStore({
    folder,
    clock: systemClock,
    logger: silentLogger,
    freeDiskMinBytes: 0,
  })
}

/** In the first entry of each block of the tables: the bit that makes LevelDB take the key for a very short one. */
async function shortKeys(level: string): Promise<{ name: string; at: number; mask: number }[]> {
  const found: { name: string; at: number; mask: number }[] = []
  for (const name of (await readdir(level)).filter(each => each.endsWith('.ldb'))) {
    const path = join(level, name)
    const file = await FileWindow.open(path)
    const { blocks } = await findBlocks(file, new Findings())
    await file.close()
    const bytes = await readFile(path)
    for (const { offset, size } of blocks) {
      const isPacked = bytes[offset + size] === 1
      // Of a packed block first its length (two bytes here), then the tag of a literal.
      const literal = (bytes[offset + 2] ?? 0) >>> 2
      const at = offset + 1 + (isPacked ? 3 + Math.max(0, literal - 59) : 0)
      const mask = [32, 16, 8].find(bit => ((bytes[at] ?? 0) ^ bit) < 8)
      if (mask !== undefined) found.push({ name, at, mask })
    }
  }
  return found
}

t.test('a flipped bit that ends the daemon at every start is set right at the fourth', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-crash-loop-'))
  const [whole, data, functions] = [join(dir.path, 'whole'), join(dir.path, 'data'), join(dir.path, 'f')]
  await prepare(whole, functions)
  let daemon: RunningProcess | undefined
  for (const { name, at, mask } of await shortKeys(join(whole, 'store', 'level'))) {
    await daemon?.stop()
    await rm(data, { recursive: true, force: true })
    await cp(whole, data, { recursive: true })
    const path = join(data, 'store', 'level', name)
    const bytes = await readFile(path)
    bytes[at] = (bytes[at] ?? 0) ^ mask
    await writeFile(path, bytes)
    daemon = await start(data, functions)
    if (daemon !== undefined) continue
    t.comment(`${name} byte ${at} bit ${mask}`)
    break
  }
  t.equal(daemon, undefined, 'LevelDB ended it')
  let deaths = 1
  while (daemon === undefined && deaths < 10) {
    daemon = await start(data, functions)
    if (daemon === undefined) deaths += 1
  }
  if (daemon === undefined) return t.fail('it never came up')
  t.equal(deaths, suspectAfterDeaths)
  const said = /1 flipped bit was set right, nothing was lost\. The damaged files are in .*level\.damaged-/
  t.match(daemon.output.join('\n'), said, 'the log says what happened')
  const health = await fetch(`http://127.0.0.1:${daemon.ready.http}/healthz`)
  t.match(await health.json(), { status: 'ok', message: said })
  await using status = new ConsoleProcess(process.execPath, [mainFile, 'status', '--data', data], {
    cwd: root,
  })
  t.equal(await status.exited, 0)
  t.match(status.text, said)
  const received: string[] = []
  const away = mqtt.connect(`mqtt://127.0.0.1:${daemon.ready.mqtt}`, { clientId: 'away', clean: false })
  await new Promise<void>(resolve => {
    away.on('message', (_, payload) => {
      received.push(payload.toString())
      if (received.length === messages) resolve()
    })
  })
  t.same(
    received,
    Array.from({ length: messages }, (_, index) => String(index)),
  )
  await away.endAsync()
  t.equal(await daemon.stop(), 0)
})
