/**
 * The Debian packages and the image, on a bare Debian 12 in a folder (debootstrap): no Node, no npm, no checkout. It is booted
 * too, for the units. Docker is not run here; its file is checked in test/packaging.
 */
import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { cp, mkdir, mkdtempDisposable, open, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { buildPackage } from '../../packaging/build.ts'
import { buildDeb } from '../../packaging/deb.ts'
import { dockerEnvironment } from '../../packaging/dockerfile.ts'
import { need } from '../harness/need.ts'
import { root } from '../harness/processes.ts'

const run = promisify(execFile)
const skip =
  need('debootstrap', 'dpkg-deb', 'unshare', 'chroot', 'ip', 'mosquitto_pub') ||
  (process.getuid?.() !== 0 && 'needs root')

/** Quick to pack and large; what is shipped is packed better. */
const compression = 1
const elfMachines = { x64: 0x3e, arm64: 0xb7 }
const steps = join(import.meta.dirname, '.')
/** The test runner adds NODE_OPTIONS to whatever is started, and those name files that are not in there. */
const cleanEnvironment = ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin']
/** Boots without a systemd of the host's, on a network of its own. */
const nspawnOptions = ['--register=no', '--keep-unit', '--private-network', '--console=pipe']
const bootMaxMs = 300_000
const stepsUnit = `[Unit]
After=fescue.service
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStart=/bin/sh /root/steps.sh /root/after.deb
StandardOutput=file:/root/steps.out
StandardError=inherit
`
const cannotBoot =
  need('systemd-nspawn') || (!cgroupsWritable() && 'needs control groups that it may write to')

function cgroupsWritable(): boolean {
  return ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup'].some(folder => {
    try {
      accessSync(join(folder, 'cgroup.procs'), constants.W_OK)
      return true
    } catch {
      return false
    }
  })
}

const namespaces = ['--mount', '--pid', '--net', '--fork', '--kill-child']

/** Says each step; fails with what was printed when one did not hold. */
async function inNamespaces(t: Test, script: string, wanted: number): Promise<void> {
  const { stdout } = await run('unshare', [...namespaces, ...cleanEnvironment, 'sh', '-c', script]).catch(
    error => {
      t.comment(error.stdout, error.stderr)
      return error as { stdout: string }
    },
  )
  held(t, stdout, wanted)
}

function held(t: Test, output: string, wanted: number): void {
  const found = output.split('\n').filter(line => line.startsWith('ok '))
  for (const each of found) t.pass(each.slice(3))
  if (found.length !== wanted) t.comment(output)
  t.equal(found.length, wanted, 'every step held')
}

t.test('Debian packages and the image', { skip }, async t => {
  await using work = await mkdtempDisposable(join(tmpdir(), 'fescue-debian-'))
  const bare = join(work.path, 'bare')
  const dist = join(work.path, 'dist')
  const options = { dist, out: work.path, compression }
  await Promise.all([
    run('debootstrap', ['--variant=minbase', '--include=systemd,systemd-sysv', 'bookworm', bare], {
      maxBuffer: 64 * 1024 * 1024,
    }),
    buildPackage(dist),
  ])
  const before = await buildDeb({ ...options, arch: 'x64' })
  const after = await buildDeb({ ...options, arch: 'x64', version: '999.0.0' })
  const arm = await buildDeb({ ...options, arch: 'arm64' })

  await t.test('every program of a package is for its processor', async t => {
    for (const [arch, deb] of [
      ['x64', before],
      ['arm64', arm],
    ] as const) {
      const tree = join(work.path, `tree-${arch}`)
      await run('dpkg-deb', ['-x', deb, tree])
      const machines = await elfFiles(tree)
      t.match(
        [...machines.keys()].sort().join(' '),
        /native\/.*classic-level.*isolated-vm.*lib\/node .*esbuild/,
      )
      for (const [file, machine] of machines) t.equal(machine, elfMachines[arch], `${arch}: ${file}`)
    }
  })

  await t.test('the image: read-only, a volume, a password printed once', async t => {
    const image = join(work.path, 'image')
    const volume = join(work.path, 'volume')
    await run('cp', ['-a', bare, image])
    const lib = join(image, 'usr/lib/fescue')
    await run('cp', ['-a', join(work.path, 'tree-x64/usr/lib/fescue'), lib])
    await mkdir(join(image, 'data'))
    await cp(join(root, 'functions/thermostat'), join(image, 'functions/thermostat'), { recursive: true })
    await mkdir(volume)
    await run('chown', ['1000:1000', volume])
    const environment = join(work.path, 'environment')
    await writeFile(environment, (await dockerEnvironment(join(root, 'Dockerfile'))).join('\n'))
    await inNamespaces(t, `sh ${steps}/container-steps.sh ${image} ${volume} ${environment}`, 4)
  })

  await t.test('under systemd: ready, fenced, watched, upgraded, stopped', { skip: cannotBoot }, async t => {
    const machine = join(work.path, 'machine')
    await run('cp', ['-a', bare, machine])
    await run('mount', ['-t', 'proc', 'proc', join(machine, 'proc')])
    try {
      await cp(before, join(machine, 'root/before.deb'))
      await cp(after, join(machine, 'root/after.deb'))
      await run('env', [...cleanEnvironment.slice(1), 'chroot', machine, 'dpkg', '-i', '/root/before.deb'])
    } finally {
      await run('umount', [join(machine, 'proc')])
    }
    await cp(join(root, 'functions/thermostat'), join(machine, 'etc/fescue/functions/thermostat'), {
      recursive: true,
    })
    await writeFile(
      join(machine, 'boot/fescue.yaml'),
      'device: greenhouse-7\nurl: http://127.0.0.1:9/v1/events\ntoken: s3cret\n',
    )
    await cp(join(steps, 'systemd-steps.sh'), join(machine, 'root/steps.sh'))
    const units = join(machine, 'etc/systemd/system')
    await mkdir(join(units, 'fescue.service.d'))
    await writeFile(join(units, 'fescue.service.d/watchdog.conf'), '[Service]\nWatchdogSec=20\n')
    await writeFile(join(units, 'steps.service'), stepsUnit)
    await symlink('../steps.service', join(units, 'multi-user.target.wants/steps.service'))
    await run('systemd-nspawn', ['-D', machine, '--boot', ...nspawnOptions], { timeout: bootMaxMs }).catch(
      error => t.comment(error.message, error.stderr),
    )
    const output = await readFile(join(machine, 'root/steps.out'), 'utf8')
    held(t, output, 6)
  })

  await t.test('install, first message, upgrade, remove, purge', async t => {
    await cp(join(steps, 'debian-steps.sh'), join(bare, 'tmp/steps.sh'))
    for (const [deb, name] of [
      [before, 'before.deb'],
      [after, 'after.deb'],
    ] as const)
      await cp(deb, join(bare, 'tmp', name))
    await inNamespaces(
      t,
      `ip link set lo up && mount -t proc proc ${bare}/proc && mount --bind /dev ${bare}/dev &&
       exec chroot ${bare} env NEW_VERSION=999.0.0 sh /tmp/steps.sh /tmp/before.deb /tmp/after.deb`,
      6,
    )
  })
})

/** Processor of each ELF file below a folder, by its path. */
async function elfFiles(tree: string): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>()
  for (const entry of await readdir(tree, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = join(entry.parentPath, entry.name)
    await using handle = await open(file)
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(20), 0, 20, 0)
    if (bytesRead === 20 && buffer.toString('latin1', 0, 4) === '\x7fELF')
      found.set(file.slice(tree.length), buffer.readUInt16LE(18))
  }
  return found
}
