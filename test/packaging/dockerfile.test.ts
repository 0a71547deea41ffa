/** The Dockerfile, read: what it copies exists and reaches the builder, and what it says fits the package. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { settablePaths, variableName } from '#config/layers.ts'
import { dockerEnvironment, dockerInstructions } from '../../packaging/dockerfile.ts'
import { root } from '../harness/processes.ts'

const file = join(root, 'Dockerfile')
const instructions = await dockerInstructions(file)
const all = (name: string) => instructions.filter(each => each.name === name).map(({ words }) => words)

t.test('what is copied from the checkout exists, and .dockerignore lets it through', async t => {
  const ignored = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n')
  t.equal(ignored[0], '*')
  const sources = all('COPY')
    .filter(([first = '']) => !first.startsWith('--from='))
    .flatMap(words => words.slice(0, -1))
  t.ok(sources.length > 8)
  for (const each of sources) {
    t.ok(existsSync(join(root, each)), each)
    t.ok(ignored.includes(`!${each.replace(/^\.\//, '')}`), `${each} in .dockerignore`)
  }
})

t.test('stages exist, the user is a number, nothing is written outside of the volume', async t => {
  const stages = all('FROM').flatMap(words => (words.at(-2) === 'AS' ? [words.at(-1)] : []))
  for (const [from = ''] of all('COPY'))
    if (from.startsWith('--from=')) t.ok(stages.includes(from.slice('--from='.length)), from)
  t.match(all('USER').flat(), [/^\d+:\d+$/])
  t.same(all('VOLUME').flat(), ['/data'])
  const environment = Object.fromEntries((await dockerEnvironment(file)).map(each => each.split('=')))
  for (const name of ['XDG_CACHE_HOME', 'FESCUE_DATA']) t.match(environment[name], /^\/data/, name)
  const known = settablePaths().map(variableName)
  for (const name of Object.keys(environment))
    if (name.startsWith('FESCUE_')) t.ok(known.includes(name), `${name} is a variable of the config`)
})

t.test('its programs are those of the package', async t => {
  const build = readFileSync(join(root, 'packaging/build.ts'), 'utf8')
  t.match(all('HEALTHCHECK').flat().join(' '), /bin\/healthcheck/)
  t.ok(build.includes("'bin/healthcheck'"))
  t.match(all('ENTRYPOINT').flat().join(' '), '["/usr/lib/fescue/bin/fescue"]')
})
