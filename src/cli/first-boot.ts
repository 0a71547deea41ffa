/** `fescue first-boot`: gives a device the identity that a file on the boot partition names. Run by its systemd unit. */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { adoptBootFile } from '#config/identity.ts'
import { readConfig } from './read-config.ts'
import type { Terminal } from './terminal.ts'

/** Where Raspberry Pi OS (since Bookworm, and before) shows the boot partition. */
const bootFiles: readonly string[] = ['/boot/firmware/fescue.yaml', '/boot/fescue.yaml']

interface FirstBootOptions {
  readonly config?: string
  readonly data?: string
}

const help = `
The file has up to three lines:
  device: greenhouse-7
  url: https://cloud.example/v1/events
  token: …

They move into the data folder, and the token leaves the file. A device that has an identity keeps it.

Examples:
  fescue first-boot                          looks for ${bootFiles.join(', then ')}
  fescue first-boot /mnt/fescue.yaml --data /var/lib/fescue`

export function build(terminal: Terminal): Command {
  return new Command('first-boot')
    .description('Takes name, cloud and token of this device from a file on the boot partition.')
    .argument('[file]', `the file [default: ${bootFiles.join(', ')}]`)
    .option('-c, --config <file>', 'the config file that names the data folder')
    .option('--data <dir>', 'the data folder [env: FESCUE_DATA]')
    .addHelpText('after', help)
    .action((file: string | undefined, options: FirstBootOptions) => firstBoot(file, options, terminal))
}

async function firstBoot(
  named: string | undefined,
  options: FirstBootOptions,
  terminal: Terminal,
): Promise<void> {
  const file = named === undefined ? bootFiles.find(existsSync) : resolve(terminal.cwd, named)
  const say = (text: string) => terminal.stderr.write(`${text}\n`)
  if (file === undefined) return void say('No boot file: nothing to do.')
  const { data } = await readConfig(options, terminal)
  await mkdir(data, { recursive: true, mode: 0o700 })
  const adoption = await adoptBootFile(file, data)
  switch (adoption.kind) {
    case 'adopted':
      return void say(
        `This device is now ${adoption.device ?? 'what its host is called'}, by ${file}.${moved(adoption.tokenMoved)}`,
      )
    case 'known':
      return void say(`${file} says nothing new.${moved(adoption.tokenMoved)}`)
    case 'refused':
      return void say(
        `${file} is not followed: this device has an identity already (${adoption.identityFile}). Remove one of the two files.`,
      )
  }
}

function moved(tokenMoved: boolean): string {
  return tokenMoved ? ' The token was moved into the data folder and removed from that file.' : ''
}
