/** Completion: what may stand next, asked directly and from a real bash, which runs a real fescue. */
import { execFile } from 'node:child_process'
import { chmod, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { FakeApi, json } from '../fakes/api-server.ts'
import { need } from '../harness/need.ts'
import { mainFile } from '../harness/processes.ts'
import { command } from './command.ts'

const run = promisify(execFile)
const temporary = () => mkdtempDisposable(join(tmpdir(), 'fescue-complete-'))
const functions = ['room-average', 'thermostat'].map(name => ({ name }))

async function candidates(words: readonly string[], env: Record<string, string> = {}) {
  const { code, stdout } = await command(['__complete', ...words], { env })
  t.equal(code, 0)
  return stdout
    .split('\n')
    .filter(line => line !== '')
    .map(line => line.split('\t')[0])
}

t.test('commands, subcommands, options and their values', async t => {
  t.same(await candidates(['sta']), ['start', 'status'])
  t.ok((await candidates([''])).includes('dead-letters'))
  t.same(await candidates(['help', 'log']), ['logs'])
  t.same(await candidates(['config', '']), ['show', 'validate', 'explain', 'reload'])
  t.same(await candidates(['dead-letters', 're']), ['retry'])
  t.same(await candidates(['logs', '--fo']), ['--follow'])
  t.ok((await candidates(['config', 'show', '--'])).includes('--offline'))
  t.same(await candidates(['logs', '--level', 'w']), ['warn'])
  t.same(await candidates(['logs', '--level=w']), ['warn'])
  t.same(await candidates(['logs', '--level', '=', 'w']), ['warn'], 'as bash splits it')
  t.same(await candidates(['config', 'explain', 'limits.in']), ['limits.inbox'])
  t.same(await candidates(['completion', 'z']), ['zsh'])
  t.same(await candidates(['start', '--data', '']), [':files'])
  t.same(await candidates(['config', 'validate', 'x']), [':files'])
})

t.test('names come from the daemon that the line means; without one there are none', async t => {
  await using folder = await temporary()
  await using api = await FakeApi.start(
    { 'GET /api/v1/functions': json(functions), 'GET /api/v1/devices': json([{ name: 'kitchen' }]) },
    folder.path,
  )
  const env = { FESCUE_DATA: folder.path }
  t.same(await candidates(['invoke', ''], env), ['room-average', 'thermostat'])
  t.same(await candidates(['invoke', 'th'], env), ['thermostat'])
  t.same(await candidates(['logs', '-f', '--function', 'r'], env), ['room-average'])
  t.same(await candidates(['dead-letters', 'retry', ''], env), ['room-average', 'thermostat'])
  t.same(await candidates(['devices', 'revoke', ''], env), ['kitchen'])
  t.same(await candidates(['invoke', '--data', folder.path, '']), ['room-average', 'thermostat'])
  const asked = api.requests.length
  t.same(await candidates(['invoke', '--data', '/nonexistent', ''], env), [])
  t.same(await candidates(['invoke', 'thermostat', ''], env), [], 'a payload has no candidates')
  t.equal(api.requests.length, asked, 'and nobody is asked')
})

t.test('what makes no sense has no candidates and is no error', async t => {
  for (const words of [[], ['nope', ''], ['logs', '--nope', ''], ['status', 'x', 'y', ''], ['sub', '--', '']])
    t.same(
      (await candidates(words)).filter(word => word !== undefined && /nope/.test(word)),
      [],
      words.join(' '),
    )
})

t.test('an unknown shell is a usage error that names those there are', async t => {
  t.match(await command(['completion', 'tcsh']), { code: 2, stderr: /bash, zsh, fish/ })
})

/** A `fescue` in the PATH, as an installed one. */
async function installed(folder: string): Promise<NodeJS.ProcessEnv> {
  const file = join(folder, 'fescue')
  await writeFile(file, `#!/bin/sh\nexec '${process.execPath}' '${mainFile}' "$@"\n`)
  await chmod(file, 0o755)
  return { ...process.env, PATH: `${folder}:${process.env.PATH}`, FESCUE_DATA: folder }
}

t.test('bash completes commands, options, names of functions and files', { skip: need('bash') }, async t => {
  await using folder = await temporary()
  await using _api = await FakeApi.start({ 'GET /api/v1/functions': json(functions) }, folder.path)
  const env = await installed(folder.path)
  // The function is called as bash's completion calls it; compopt knows that it is not, and says so on stderr.
  const script = `source <(fescue completion bash)
complete -p fescue
try() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  _fescue 2>&3
  echo "$*: \${COMPREPLY[*]}"
}
exec 3>&1
try fescue config ex
try fescue invoke ''
try fescue start --data ''
`
  const { stdout } = await run('bash', ['--norc', '-c', script], { env })
  t.match(stdout, /^complete -F _fescue fescue\n/)
  t.match(stdout, /\nfescue config ex: explain\n/)
  t.match(stdout, /\nfescue invoke : room-average thermostat\n/)
  t.match(stdout, /compopt/, 'file names are left to the shell')
})

t.test('fish completes with its descriptions', { skip: need('fish') }, async t => {
  await using folder = await temporary()
  await using _api = await FakeApi.start({ 'GET /api/v1/functions': json(functions) }, folder.path)
  const env = await installed(folder.path)
  const ask = async (line: string) => {
    const script = `fescue completion fish | source; complete -C '${line}'`
    return (await run('fish', ['--no-config', '-c', script], { env })).stdout
  }
  t.match(await ask('fescue con'), /^config\tShow, check, explain and reload the configuration\n$/)
  t.equal(await ask('fescue invoke '), 'room-average\nthermostat\n')
  t.match(await ask(`fescue start --data ${folder.path}/fes`), /fescue\n/, 'files')
})

t.test('zsh completes with its descriptions', { skip: need('zsh') }, async t => {
  await using folder = await temporary()
  await using _api = await FakeApi.start({ 'GET /api/v1/functions': json(functions) }, folder.path)
  const env = await installed(folder.path)
  // `_describe` is what shows candidates; here it prints them.
  const script = `
compdef() { print -r -- "compdef $*" }
source <(fescue completion zsh)
_describe() { print -rl -- "\${candidates[@]}" }
_files() { print files }
try() { words=("$@"); CURRENT=$#; _fescue }
try fescue con
try fescue start --data ''
`
  const { stdout } = await run('zsh', ['-f', '-c', script], { env })
  t.equal(stdout, 'compdef _fescue fescue\nconfig:Show, check, explain and reload the configuration\nfiles\n')
})
