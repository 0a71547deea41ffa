/**
 * `fescue check`: what would keep a start from working, or surprise after it, found before it is tried. Without a
 * daemon; it changes nothing.
 *
 *   config ─► machine (ports, folders, disk, tools) ─► functions (manifest, bundle, topics)
 */
import { Command } from 'commander'
import { FescueError } from '#base/errors.ts'
import { type Inspection, inspectConfig } from '#config/load-config.ts'
import { type CheckFinding, findingsOf, summaryOf, writeFindings } from './check-finding.ts'
import { type ConfigOptions, configPlaces } from './read-config.ts'
import type { Terminal } from './terminal.ts'

interface CheckOptions extends ConfigOptions {
  readonly strict?: boolean
  readonly json?: boolean
}

const help = `
Examples:
  fescue check                                       here
  fescue check -c /etc/fescue/fescue.yaml --strict   warnings count as failures, for CI
  fescue check --json | jq '.findings[] | select(.verdict != "ok")'

It looks at the configuration, at this machine (ports, folders, free disk, tools) and at the functions: whether their
manifests are right, whether they compile, whether what they publish starts them again. Code 0: nothing failed;
1: something did; 5: the configuration is not valid.`

export function build(terminal: Terminal): Command {
  return new Command('check')
    .description('Checks configuration, machine and functions before a start; changes nothing.')
    .option('-c, --config <file>', 'the config file [env: FESCUE_CONFIG]')
    .option('--data <dir>', 'the data folder [env: FESCUE_DATA]')
    .option('--functions <dir>', 'the folder of functions [env: FESCUE_FUNCTIONS]')
    .option('--strict', 'a warning is a failure too')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
    .action((options: CheckOptions) => check(options, terminal))
}

async function check(options: CheckOptions, terminal: Terminal): Promise<void> {
  const places = configPlaces(options, terminal)
  const inspected = await inspectConfig(places)
  const findings: CheckFinding[] = configFindings(inspected, places.file)
  if (inspected.kind === 'valid') {
    const { config } = inspected.loaded
    const [{ machineFindings }, { functionFindings }] = await Promise.all([
      import('./check-machine.ts'),
      import('./check-functions.ts'),
    ])
    findings.push(...(await machineFindings(config)), ...(await functionFindings(config.functions)))
  }
  const failing = findings.filter(
    ({ verdict }) => verdict === 'failed' || (options.strict && verdict !== 'ok'),
  )
  if (options.json === true)
    terminal.stdout.write(`${JSON.stringify({ ok: failing.length === 0, findings })}\n`)
  else {
    writeFindings(findings, terminal)
    terminal.stderr.write(`\n${summaryOf(findings)}\n`)
  }
  if (failing.length === 0) return
  const code = inspected.kind === 'invalid' ? 'FESCUE_CONFIG_INVALID' : 'FESCUE_CHECK_FAILED'
  throw new FescueError(code, `not ready: ${[...new Set(failing.map(({ id }) => id))].join(', ')}`)
}

function configFindings(inspected: Inspection, file: string | undefined): CheckFinding[] {
  const { ok, failed, warning } = findingsOf('Configuration')
  if (inspected.kind === 'invalid')
    return inspected.problems.map(({ where, message }) =>
      failed('config', `${where}: ${message}`, 'fescue config validate shows the lines around it'),
    )
  const { config, warnings } = inspected.loaded
  return [
    ok('config', file ?? 'no file: defaults and variables'),
    ...warnings.map(text => warning('environment', text, 'rename the service, or leave it as it is')),
    config.uplinks.length === 0
      ? ok('uplinks', 'none: nothing leaves the device')
      : ok('uplinks', config.uplinks.map(({ name, url }) => `${name} ${url}`).join(', ')),
    ...config.uplinks.flatMap(({ name, url, token }) =>
      token !== undefined && isClearText(url)
        ? [warning(`uplink.${name}`, 'its token travels unencrypted', `use https:// in uplinks.${name}.url`)]
        : [],
    ),
    ...config.uplinks.flatMap(({ name }) =>
      config.routes.some(({ to }) => to === name)
        ? []
        : [
            warning(
              `uplink.${name}`,
              'no route leads to it',
              `add one: routes: [{ filter: '#', to: ${name} }]`,
            ),
          ],
    ),
  ]
}

function isClearText(text: string): boolean {
  const url = URL.parse(text)
  return url?.protocol === 'http:' && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname)
}
