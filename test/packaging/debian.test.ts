/** What the Debian package brings besides the program: units, scripts and config. (test/install/ installs it.) */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { loadConfig } from '#config/load-config.ts'
import { need } from '../harness/need.ts'
import { root } from '../harness/processes.ts'

const run = promisify(execFile)
/** Tenths of systemd's exposure level, 0 to 100. MemoryDenyWriteExecute and PrivateNetwork cannot be had. */
const exposureMax = 20

t.test('the units are fenced in', { skip: need('systemd-analyze') }, async t => {
  for (const unit of ['fescue', 'fescue-first-boot']) {
    const file = join(root, 'device-config', `${unit}.service`)
    await t.resolves(
      run('systemd-analyze', ['security', '--offline=true', `--threshold=${exposureMax}`, file]),
      unit,
    )
    const verified = await run('systemd-analyze', ['verify', file]).catch(
      error => error as { stderr: string },
    )
    const problems = verified.stderr
      .split('\n')
      .filter(line => line !== '' && !/fescue is not executable/.test(line))
    t.same(
      problems.filter(line => line.includes(unit)),
      [],
      'systemd knows every word of it',
    )
  }
})

t.test('the daemon is told of by systemd-notify, a child: the unit lets it', async t => {
  const unit = await readFile(join(root, 'device-config/fescue.service'), 'utf8')
  for (const line of ['Type=notify', 'NotifyAccess=all', 'WatchdogSec=60'])
    t.ok(unit.includes(`\n${line}\n`), line)
  t.notMatch(unit, /^MemoryDenyWriteExecute=yes/m, 'V8 compiles')
})

t.test('its config is valid, and keeps data and functions where the package has them', async t => {
  const file = join(root, 'packaging/debian/fescue.yaml')
  const { config } = await loadConfig({ file, environment: {}, cwd: '/' })
  t.equal(config.data, '/var/lib/fescue')
  t.equal(config.functions, '/etc/fescue/functions')
  t.equal(config.mqtt.host, '127.0.0.1', 'nobody on the network can connect yet')
  t.same(config.uplinks, [], 'there is a cloud when somebody names one')
})

t.test('the scripts are shell that a shell can read', async t => {
  for (const script of ['debian/postinst', 'debian/prerm', 'debian/postrm', 'launcher.sh'])
    await t.resolves(run('sh', ['-n', join(root, 'packaging', script)]), script)
  await t.resolves(run('bash', ['-n', join(root, 'packaging/healthcheck.sh')]))
})
