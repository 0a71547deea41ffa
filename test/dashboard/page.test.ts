/** The page in a real browser, on the real API, over a device whose events the test sends. */
import { existsSync } from 'node:fs'
import { mkdtempDisposable } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startApi } from '#api/api.ts'
import { systemClock } from '#base/clock.ts'
import type { LiveEvent } from '#base/live-event.ts'
import { silentLogger } from '#base/logger.ts'
import { FakeBackend } from '../fakes/backend.ts'

/** What of playwright-core is used here: it is installed apart from the project, in test/browser. */
interface Browser {
  newContext(options: object): Promise<Context>
  close(): Promise<void>
}
interface Context {
  newPage(): Promise<Page>
  close(): Promise<void>
}
interface Page {
  goto(url: string): Promise<unknown>
  url(): string
  on(event: string, listener: (value: { text(): string; type(): string; message: string }) => void): void
  fill(selector: string, text: string): Promise<void>
  click(selector: string): Promise<void>
  evaluate<Value>(script: string): Promise<Value>
  setViewportSize(size: { width: number; height: number }): Promise<void>
  screenshot(options: object): Promise<Buffer>
}

const token = 'a-token-for-the-page-0123'
const browserPath = process.env.FESCUE_TEST_CHROMIUM ?? '/usr/bin/chromium'
const playwrightPath = join(import.meta.dirname, '../browser/node_modules/playwright-core')

function obstacle(): string | undefined {
  if (!existsSync(playwrightPath)) return 'needs playwright-core: npm ci --prefix test/browser'
  return existsSync(browserPath) ? undefined : `needs ${browserPath}: apt install chromium`
}

const skip = obstacle() ?? false
let browser: Browser | undefined
if (skip === false) {
  const { chromium } = createRequire(import.meta.url)(playwrightPath)
  browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] })
  t.teardown(() => browser?.close())
}

/** Opens the page of a fresh device; problems of the console are collected. */
async function openPage(options: { hash?: string; colorScheme?: 'light' | 'dark' } = {}) {
  const folder = await mkdtempDisposable(join(tmpdir(), 'fescue-page-'))
  const backend = new FakeBackend()
  const api = await startApi({
    backend,
    dataFolder: folder.path,
    http: { host: '127.0.0.1', port: 0, hosts: [] },
    token,
    metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
    pages: join(import.meta.dirname, '../../src/dashboard'),
    clock: systemClock,
    logger: silentLogger,
  })
  const context = await browser!.newContext({
    colorScheme: options.colorScheme ?? 'light',
    viewport: { width: 1200, height: 760 },
  })
  const page = await context.newPage()
  const problems: string[] = []
  page.on('pageerror', error => problems.push(error.message))
  page.on('console', message => {
    if (message.type() === 'error') problems.push(message.text())
  })
  await page.goto(`http://127.0.0.1:${api.port}/${options.hash ?? `#token=${token}`}`)
  return {
    page,
    backend,
    problems,
    async [Symbol.asyncDispose]() {
      await context.close()
      await api[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

/** Resolves when the expression holds in the page. (Playwright's own wait needs eval, which the page's policy denies.) */
function until(page: Page, expression: string): Promise<unknown> {
  return page.evaluate(
    `new Promise(resolve => { const look = () => (${expression}) ? resolve() : setTimeout(look, 20); look() })`,
  )
}

const showsText = (selector: string, text: string) =>
  `document.querySelector(${JSON.stringify(selector)})?.textContent.includes(${JSON.stringify(text)})`

function invocation(more: Partial<Extract<LiveEvent, { type: 'invocation' }>> = {}): LiveEvent {
  return {
    type: 'invocation',
    time: Date.now(),
    function: 'thermostat',
    topic: 'sensors/kitchen/temperature',
    payload: '{"celsius":31}',
    outcome: 'ok',
    attempt: 1,
    durationMs: 0.8,
    published: [{ topic: 'actuators/kitchen/fan', payload: '{"on":true}' }],
    ...more,
  }
}

function message(topic: string, payload: string, origin = 'mqtt:a'): LiveEvent {
  return {
    type: 'message',
    time: Date.now(),
    topic,
    payload,
    bytes: payload.length,
    qos: 1,
    retain: false,
    origin,
  }
}

t.test('a message, its function and the effect are one row', { skip }, async t => {
  await using opened = await openPage()
  const { page, backend, problems } = opened
  await until(page, showsText('#link', 'cloud connected'))
  t.notMatch(page.url(), /token/, 'the token is out of the address')
  backend.emit(message('sensors/kitchen/temperature', '{"celsius":31}'))
  backend.emit(invocation())
  backend.emit(message('actuators/kitchen/fan', '{"on":true}', 'function:thermostat'))
  backend.emit(message('sensors/cellar/humidity', '81'))
  await until(page, showsText('#events', 'sensors/cellar/humidity'))
  const rows = await page.evaluate<string[]>(
    '[...document.querySelectorAll("#events > li")].map(row => row.innerText)',
  )
  t.equal(rows.length, 2, 'what no function took has a row of its own')
  t.match(
    rows[1],
    /sensors\/kitchen\/temperature \{"celsius":31\}\s+thermostat 0\.8 ms\s+actuators\/kitchen\/fan \{"on":true\}/,
  )
  t.same(problems, [])
})

t.test('what comes over MQTT is text, in messages, errors, functions and logs', { skip }, async t => {
  await using opened = await openPage()
  const { page, backend, problems } = opened
  const evil = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
  backend.functionList = [
    {
      name: 'thermostat',
      state: 'failed',
      reason: evil,
      description: evil,
      triggers: [{ topic: evil }],
      inbox: { records: 1, bytes: 1 },
      deadLetters: 1,
      invocations: { ok: 0, error: 1, timeout: 0 },
    },
  ]
  backend.logs = [{ log: evil, records: 1, bytes: 1, maxBytes: 1, overflow: 'block' }]
  await until(page, showsText('#functions', 'img src'))
  backend.emit(message(evil, evil))
  backend.emit(
    invocation({
      topic: evil,
      payload: evil,
      outcome: 'error',
      error: evil,
      published: [{ topic: evil, payload: evil }],
    }),
  )
  await until(page, 'document.querySelectorAll("#events .error").length === 1')
  t.equal(await page.evaluate('document.querySelectorAll("main img, main script").length'), 0)
  t.match(await page.evaluate('document.title'), /greenhouse-1/)
  t.same(problems, [])
})

t.test('the link, the buffer and a failing function are seen', { skip }, async t => {
  await using opened = await openPage()
  const { page, backend } = opened
  backend.uplink = { name: 'default', state: 'offline', records: 1_234, bytes: 5_000_000 }
  backend.logs = [
    { log: 'outbox.alarms', records: 1_234, bytes: 5_000_000, maxBytes: 10_000_000, overflow: 'drop-oldest' },
  ]
  await until(page, showsText('#link', 'offline'))
  t.equal(await page.evaluate('document.querySelector("#link").dataset.state'), 'warn')
  t.equal(await page.evaluate('document.querySelector("#waiting").textContent'), '1,234')
  t.match(
    await page.evaluate('document.querySelector("#buffer").innerText'),
    /outbox\.alarms\s+1,234\s+4\.8 MiB/,
  )
  backend.emit(invocation({ outcome: 'timeout', attempt: 2, published: [] }))
  await until(page, showsText('#events', 'ran too long'))
  t.match(await page.evaluate('document.querySelector("#events").innerText'), /✖|attempt 2/)
})

t.test('without the token the page asks for it, and takes the right one', { skip }, async t => {
  await using opened = await openPage({ hash: '' })
  const { page } = opened
  await until(page, '!document.querySelector("#unlock").hidden')
  await page.fill('#token', 'a-wrong-token-01234567')
  await page.click('#unlock button')
  await until(page, showsText('#notice', 'not the one'))
  await page.fill('#token', token)
  await page.click('#unlock button')
  await until(page, showsText('#device', 'greenhouse-1'))
  t.equal(await page.evaluate('document.querySelector("#unlock").hidden'), true)
})

t.test('a flood leaves a bounded page, and the count of what is not shown', { skip }, async t => {
  await using opened = await openPage()
  const { page, backend } = opened
  await until(page, showsText('#link', 'cloud connected'))
  for (let i = 0; i < 3_000; i++) backend.emit(message(`flood/${i}`, String(i)))
  for (let i = 0; i < 300; i++) backend.emit(invocation({ topic: `other/${i}` }))
  await until(page, 'document.querySelector("#skipped").textContent !== ""')
  t.ok((await page.evaluate<number>('document.querySelectorAll("#events > li").length')) <= 200)
  await page.click('#pause')
  t.equal(await page.evaluate('document.querySelector("#pause").getAttribute("aria-pressed")'), 'true')
})

t.test('light and dark are two looks, and nothing is wider than a phone', { skip }, async t => {
  const colours = []
  for (const colorScheme of ['light', 'dark'] as const) {
    await using opened = await openPage({ colorScheme })
    const { page, backend } = opened
    await until(page, showsText('#link', 'cloud connected'))
    backend.emit(invocation())
    colours.push(await page.evaluate<string>('getComputedStyle(document.body).backgroundColor'))
    backend.logs = [{ log: `inbox.${'a'.repeat(64)}`, records: 1, bytes: 1, maxBytes: 1, overflow: 'block' }]
    backend.emit(message(`long/${'topic/'.repeat(40)}`, 'x'.repeat(1_000)))
    await until(page, showsText('#events', 'long/'))
    await until(page, showsText('#buffer', 'inbox.'))
    const pictures = process.env.FESCUE_TEST_PICTURES
    if (pictures !== undefined) await page.screenshot({ path: join(pictures, `page-${colorScheme}.png`) })
    await page.setViewportSize({ width: 360, height: 700 })
    const tooWide = 'document.documentElement.scrollWidth > document.documentElement.clientWidth'
    t.equal(await page.evaluate(tooWide), false, colorScheme)
  }
  t.not(colours[0], colours[1])
})
