/** `fescue completion`: the script that makes a shell complete commands, options and names. */
import { Argument, Command } from 'commander'
import { completionScript, type Shell, shells } from './completion-scripts.ts'
import type { Terminal } from './terminal.ts'

const help = `
Examples:
  fescue completion bash > /etc/bash_completion.d/fescue
  fescue completion zsh > "\${fpath[1]}/_fescue"
  fescue completion fish > ~/.config/fish/completions/fescue.fish

For one shell alone: source <(fescue completion bash)
Names of functions and devices are those of the running daemon; without one there are none.`

export function build(terminal: Terminal): Command {
  return new Command('completion')
    .description('Prints the script that makes a shell complete fescue.')
    .addArgument(new Argument('<shell>', 'the shell').choices(shells))
    .addHelpText('after', help)
    .action((shell: Shell) => {
      terminal.stdout.write(completionScript(shell))
    })
}
