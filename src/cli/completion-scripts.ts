/**
 * The scripts that make a shell complete `fescue`: each asks `fescue __complete WORD…` at every TAB, so that commands,
 * options and names of functions are those of the fescue that is there. An answer is a line per candidate, with a
 * description after a tab; the line `:files` asks the shell for file names.
 */

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

const bash = `# fescue completion for bash: source <(fescue completion bash)
_fescue() {
  local line
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o default
      COMPREPLY=()
      return
    fi
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <("\${COMP_WORDS[0]}" __complete "\${words[@]}" 2>/dev/null)
}
complete -F _fescue fescue
`

const zsh = `#compdef fescue
# fescue completion for zsh: source <(fescue completion zsh)
_fescue() {
  local line name
  local -a candidates
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      _files
      return
    fi
    name=\${line%%$'\\t'*}
    if [[ $line == *$'\\t'* ]]; then
      candidates+=("\${name//:/\\\\:}:\${line#*$'\\t'}")
    else
      candidates+=("\${name//:/\\\\:}")
    fi
  done < <("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe fescue candidates
}
if [[ $funcstack[1] == _fescue ]]; then
  _fescue "$@"
else
  compdef _fescue fescue
fi
`

const fish = `# fescue completion for fish: fescue completion fish | source
function __fescue_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  for line in ($words[1] __complete $words[2..] "$current" 2>/dev/null)
    if test "$line" = ":files"
      __fish_complete_path "$current"
      return
    end
    echo $line
  end
end
complete -c fescue -f -a '(__fescue_complete)'
`

const scripts: Readonly<Record<Shell, string>> = { bash, zsh, fish }

export function completionScript(shell: Shell): string {
  return scripts[shell]
}
