/** The files that are delivered beside the code: config, samples, systemd unit, Dockerfile, editor settings. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { glob, readdir, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { loadConfig } from '#config/load-config.ts'
import { manifestReader } from '#invoker/manifest.ts'
import { root } from '../harness/processes.ts'

const run = promisify(execFile)
const configFile = join(root, 'device-config/fescue.yaml')

t.test('the config works as it is: loopback, the endpoint of this machine, two routes', async t => {
  const { config } = await loadConfig({ file: configFile, environment: {}, cwd: root })
  t.match(config, {
    mqtt: { host: '127.0.0.1', port: 1883 },
    http: { host: '127.0.0.1' },
    uplinks: [{ name: 'default', url: 'http://127.0.0.1:8585/v1/events' }],
    data: join(root, 'data'),
    functions: join(root, 'functions'),
  })
  t.same(
    config.routes.map(({ filter }) => filter),
    ['alarms/#', 'averages/#'],
  )
  t.ok((config.routes[0]?.priority ?? 0) > (config.routes[1]?.priority ?? 9), 'alarms go first')
})

t.test('what the config shows in comments is valid too', async t => {
  const text = await readFile(configFile, 'utf8')
  const document = text.replace(
    /^( *)# (?=(data|functions|durability|tokenFile):| {2}- filter| {4}class)/gm,
    '$1',
  )
  t.not(document, text)
  const { parseDocument } = await import('#base/yaml-document.ts')
  const { compileSchema } = await import('#base/schema.ts')
  const { configSchema } = await import('#config/config-schema.ts')
  const parsed = parseDocument(configFile, document)
  t.same(parsed.problems, [])
  t.same((await compileSchema(configSchema))(parsed.value as Record<string, unknown>), [])
})

const parseManifest = await manifestReader()
const functionsFolder = join(root, 'functions')
for (const name of await readdir(functionsFolder)) {
  t.test(`the sample ${name} has a valid manifest, and readings that do not outlive their use`, async t => {
    const file = join(functionsFolder, name, 'function.yaml')
    const manifest = parseManifest(name, await readFile(file, 'utf8'), file)
    t.not(manifest.description, '')
    for (const topic of manifest.topics) {
      if (topic.topic.endsWith('/temperature')) t.ok((topic.ttlMs ?? 0) > 0, topic.topic)
    }
  })
}

t.test('schemas that files name for editors exist', async t => {
  const settings = JSON.parse(await readFile(join(root, '.vscode/settings.json'), 'utf8'))
  for (const path of Object.keys(settings['yaml.schemas'])) t.ok(existsSync(join(root, path)), path)
  const named: string[] = []
  for await (const file of glob(['functions/*/function.yaml', 'device-config/*.yaml'], { cwd: root })) {
    const [, schema = ''] =
      /yaml-language-server: \$schema=(\S+)/.exec(await readFile(join(root, file), 'utf8')) ?? []
    named.push(schema)
    t.ok(existsSync(resolve(root, dirname(file), schema)), file)
  }
  t.ok(named.length >= 5)
})

const unit = join(root, 'device-config/fescue.service')

t.test('the systemd unit is fenced in, and leaves V8 its compiler', async t => {
  const text = await readFile(unit, 'utf8')
  for (const line of ['ProtectSystem=strict', 'StateDirectory=fescue', 'NoNewPrivileges=yes'])
    t.ok(text.includes(`\n${line}\n`), line)
  t.notMatch(text, /^MemoryDenyWriteExecute=(yes|true|1)/m)
})

const analysis = await run('systemd-analyze', ['security', '--offline=yes', unit]).catch(error => error)
const skip = analysis.code === 'ENOENT' ? 'needs systemd-analyze' : false
t.test('systemd finds little of the system exposed to the daemon', { skip }, async t => {
  const [, exposure = '10'] = /Overall exposure level for .*?: ([\d.]+)/.exec(analysis.stdout) ?? []
  t.ok(Number(exposure) <= 2, `exposure ${exposure}`)
})

t.test('what the Dockerfile copies exists and is let in', async t => {
  const text = await readFile(join(root, 'Dockerfile'), 'utf8')
  const ignored = await readFile(join(root, '.dockerignore'), 'utf8')
  const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths = '']) =>
    paths.split(' '),
  )
  t.ok(copied.length >= 6)
  for (const path of copied) {
    t.ok(existsSync(join(root, path)), path)
    t.ok(ignored.includes(`\n!${path}\n`), `${path} is not ignored`)
  }
})
