/**
 * A new user's path from the tarball of `npm pack`: installed outside of a checkout, on a machine whose own Node is too old or
 * absent, without a script run or anything compiled; then a message through a function.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtempDisposable, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { buildPackage } from '../../packaging/build.ts'

const run = promisify(execFile)

interface Ready {
  readonly msg: 'ready'
  readonly mqtt: number
  readonly http: number
}

/** A folder with programs of the system but no Node, for PATH. */
async function withoutNode(folder: string): Promise<string> {
  const bin = join(folder, 'system')
  await mkdir(bin)
  for (const name of ['sh', 'dirname', 'realpath', 'uname', 'prlimit', 'setpriv', 'env'])
    await symlink(join('/usr/bin', name), join(bin, name))
  return bin
}

async function start(t: Test, args: readonly string[], cwd: string) {
  const child = spawn('env', args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(async () => {
    if (child.exitCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
  const lines: string[] = []
  const ready = Promise.withResolvers<Ready>()
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', line => {
      lines.push(line)
      if (line.includes('"msg":"ready"')) ready.resolve(JSON.parse(line))
    })
  child.on('exit', code => ready.reject(new Error(`it ended with ${code}:\n${lines.join('\n')}`)))
  return { ready: await ready.promise, lines, child }
}

t.test('from the tarball to a message through a function', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-npm-'))
  const dist = join(folder.path, 'dist')
  await buildPackage(dist)
  const packed = await run('npm', ['pack', dist, '--json', '--pack-destination', folder.path])
  const [{ filename, files }] = JSON.parse(packed.stdout)
  t.ok(files.length < 120, `${files.length} files: an SD card pays for each`)
  const prefix = join(folder.path, 'prefix')
  await run('npm', [
    'install',
    '--global',
    '--prefix',
    prefix,
    '--ignore-scripts',
    '--prefer-offline',
    join(folder.path, filename),
  ])
  const installed = join(prefix, 'lib/node_modules/fescue')
  const fescue = join(prefix, 'bin/fescue')
  const home = join(folder.path, 'home')
  await mkdir(home)
  // By `env -i`: the test runner adds NODE_OPTIONS to whatever is started.
  const path = await withoutNode(folder.path)
  const clean = ['-i', `HOME=${home}`, `PATH=${path}`, fescue]
  const call = (...args: string[]) => run('env', [...clean, ...args], { cwd: home })

  const { stdout: version } = await call('--version')
  t.match(version, /^fescue \d\S+ \(node 24\./, 'the Node that came along runs it')

  // `dev` in an empty folder: the samples.
  const dev = await start(
    t,
    [...clean, 'dev', '--mqtt-port', '0', '--http-port', '0', '--cloud-port', '0'],
    home,
  )
  const heard = call('sub', 'averages/#', '-C', '1', '-W', '60')
  t.match(JSON.parse((await heard).stdout), { celsius: Number, readings: Number }, 'the samples run')
  dev.child.kill('SIGTERM')
  await once(dev.child, 'exit')

  // `start` with a function of one's own.
  const functions = join(home, 'functions/double')
  await mkdir(functions, { recursive: true })
  await writeFile(join(functions, 'function.yaml'), 'triggers:\n  - topic: in/#\n')
  await writeFile(join(functions, 'index.ts'), 'export const handler = (n: number): number => n * 2\n')
  const args = ['start', '--mqtt-port', '0', '--http-port', '0', '--data', 'data']
  const daemon = await start(t, [...clean, ...args], home)
  const invoked = await call('invoke', 'double', '21', '--data', 'data')
  t.equal(invoked.stdout.trim(), '42')
  daemon.child.kill('SIGTERM')
  const [code] = await once(daemon.child, 'exit')
  t.equal(code, 0)

  // Without esbuild: what was built before runs on, what is TypeScript says what to do.
  const esbuild = [join(installed, 'node_modules/esbuild'), join(dirname(installed), 'esbuild')].filter(
    existsSync,
  )
  t.equal(esbuild.length, 1)
  for (const each of esbuild) await rm(each, { recursive: true })
  await rm(join(home, 'data'), { recursive: true })
  const bare = await start(t, [...clean, ...args], home)
  const refused = await call('functions', 'list', '--json', '--data', 'data')
  t.match(refused.stdout, /esbuild is not installed: install it \(npm install esbuild\)/)
  bare.child.kill('SIGTERM')
  await once(bare.child, 'exit')

  const manifest = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
  t.equal(manifest.scripts, undefined, 'nothing runs at installation')
  t.equal(manifest.dependencies, undefined, 'nothing is compiled at installation')
})
