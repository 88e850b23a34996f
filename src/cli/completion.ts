import type { Argument, Option } from 'commander'
import type { CliCommand } from './command.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

export type Shell = (typeof SHELLS)[number]

interface Word {
  text: string
  description: string
}

type Values = 'none' | 'file' | 'any' | readonly string[]

interface Flag extends Word {
  /** What follows it. */
  values: Values
}

/** A place on the command line: behind the names of a command, or behind none. */
interface Place {
  /** `keys create`; empty at the top. */
  at: string
  words: Word[]
  flags: Flag[]
  takesFile: boolean
}

/** Writes the script that completes the command lines of a program, made of its tree of commands. */
export function completionScript(program: CliCommand, shell: Shell): string {
  const places = placesOf(program, [])
  const shared = flagsOf(program.createHelp().visibleOptions(program))
  return WRITERS[shell](program.name(), places, shared)
}

function placesOf(command: CliCommand, names: readonly string[]): Place[] {
  const children = command.commands as CliCommand[]
  const [argument] = command.registeredArguments
  const place: Place = {
    at: names.join(' '),
    words: [
      ...children.map((child) => ({ text: child.name(), description: child.summary() })),
      ...(argument?.argChoices ?? []).map((text) => ({ text, description: '' })),
    ],
    flags: names.length === 0 ? [] : flagsOf(command.options),
    takesFile: argument !== undefined && isFile(argument),
  }
  return [place, ...children.flatMap((child) => placesOf(child, [...names, child.name()]))]
}

function flagsOf(options: readonly Option[]): Flag[] {
  return options.flatMap((option) => {
    const { long, description } = option
    return long === undefined ? [] : [{ text: long, description, values: valuesOf(option) }]
  })
}

function valuesOf(option: Option): Values {
  if (!option.required && !option.optional) return 'none'
  return option.argChoices ?? (option.flags.endsWith('<file>') ? 'file' : 'any')
}

function isFile(argument: Argument): boolean {
  return argument.name() === 'file'
}

type Writer = (name: string, places: readonly Place[], shared: readonly Flag[]) => string

const WRITERS: Readonly<Record<Shell, Writer>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
}

function bashScript(name: string, places: readonly Place[], shared: readonly Flag[]): string {
  const wordsAt = places.map(
    ({ at, words, flags, takesFile }) => `    ${quoted(at)})
      words=${quoted(words.map(({ text }) => text).join(' '))}
      flags=${quoted([...flags, ...shared].map(({ text }) => text).join(' '))}${takesFile ? '\n      files=1' : ''}
      ;;`,
  )
  const file = 'compopt -o default 2>/dev/null; return'
  const choose = (choices: readonly string[]) =>
    `COMPREPLY=($(compgen -W ${quoted(choices.join(' '))} -- "$current")); return`
  return `# Completions of ${name} for bash. Load them with: source <(${name} completion bash)
_${name}() {
  local current=\${COMP_WORDS[COMP_CWORD]} at='' previous='' word words flags files='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $previous in
      ${valuedFlags(places, shared).join('|')}) previous=''; continue ;;
    esac
    previous=$word
    case "\${at:+$at }$word" in
      ${knownPlaces(places)}) at="\${at:+$at }$word" ;;
    esac
  done
  case "$at $previous" in
${valueCases(places, shared, { file, choose, any: 'return' }, (pattern) => pattern)}
  esac
  case $at in
${wordsAt.join('\n')}
  esac
  case $current in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
    *)
      COMPREPLY=($(compgen -W "$words" -- "$current"))
      if [ -n "$files" ]; then compopt -o default 2>/dev/null; fi
      ;;
  esac
}
complete -F _${name} ${name}`
}

function zshScript(name: string, places: readonly Place[], shared: readonly Flag[]): string {
  const described = (words: readonly Word[]) =>
    words.map(({ text, description }) => quoted(`${text}:${description}`)).join(' ')
  const offersAt = places.map(
    ({ at, words, flags, takesFile }) => `    (${quoted(at)})
      offers=(${described(words)})
      flags=(${described([...flags, ...shared])})${takesFile ? '\n      files=1' : ''}
      ;;`,
  )
  const choose = (choices: readonly string[]) => `compadd -- ${choices.join(' ')}; return`
  return `#compdef ${name}
# Completions of ${name} for zsh. Load them with: source <(${name} completion zsh)
_${name}() {
  local at='' previous='' word files=''
  local -a offers flags
  for word in \${words[2,CURRENT-1]}; do
    case $previous in
      (${valuedFlags(places, shared).join('|')}) previous=''; continue ;;
    esac
    previous=$word
    case "\${at:+$at }$word" in
      (${knownPlaces(places)}) at="\${at:+$at }$word" ;;
    esac
  done
  case "$at $previous" in
${valueCases(places, shared, { file: '_files; return', choose, any: 'return' }, (pattern) => `(${pattern}`)}
  esac
  case $at in
${offersAt.join('\n')}
  esac
  if [[ $PREFIX == -* ]]; then
    _describe option flags
  elif [[ -n $files ]]; then
    _files
  else
    _describe command offers
  fi
}
if [[ $funcstack[1] == _${name} ]]; then
  _${name} "$@"
else
  compdef _${name} ${name}
fi`
}

function fishScript(name: string, places: readonly Place[], shared: readonly Flag[]): string {
  const complete = `complete -c ${name}`
  const flag = ({ text, description, values }: Flag) =>
    `-l ${text.slice(2)} ${fishValues(values)}-d ${fishQuoted(description)}`
  const lines = places.flatMap(({ at, words, flags, takesFile }) => {
    const here = `${complete} -n ${fishQuoted(`__${name}_at ${fishQuoted(at)}`)}`
    return [
      ...words.map(({ text, description }) => `${here} -a ${text} -d ${fishQuoted(description)}`),
      ...flags.map((one) => `${here} ${flag(one)}`),
      ...(takesFile ? [`${here} -F`] : []),
    ]
  })
  return `# Completions of ${name} for fish. Load them with: ${name} completion fish | source
function __${name}_at
  set -l at ''
  set -l previous ''
  set -l given (commandline -opc)
  for word in $given[2..]
    if contains -- "$previous" ${valuedFlags(places, shared).join(' ')}
      set previous ''
      continue
    end
    set previous $word
    set -l longer (string trim "$at $word")
    switch "$longer"
      case ${places.flatMap(({ at }) => (at === '' ? [] : [fishQuoted(at)])).join(' ')}
        set at $longer
    end
  end
  test "$at" = "$argv[1]"
end
${complete} -f
${shared.map((one) => `${complete} ${flag(one)}`).join('\n')}
${lines.join('\n')}`
}

function fishValues(values: Values): string {
  if (values === 'none') return ''
  if (values === 'file') return '-r -F '
  return values === 'any' ? '-x ' : `-x -a ${fishQuoted(values.join(' '))} `
}

/** The cases in which a word is the value of the flag before it: `at flag` in the shells of the Bourne family. */
function valueCases(
  places: readonly Place[],
  shared: readonly Flag[],
  actions: { file: string; any: string; choose(choices: readonly string[]): string },
  open: (pattern: string) => string,
): string {
  const act = (values: Values) =>
    typeof values === 'string'
      ? actions[values === 'file' ? 'file' : 'any']
      : actions.choose(values)
  const cases = [
    ...shared.map(({ text, values }) => ({ pattern: `*${quoted(` ${text}`)}`, values })),
    ...places.flatMap(({ at, flags }) =>
      flags.map(({ text, values }) => ({ pattern: quoted(`${at} ${text}`), values })),
    ),
  ].filter(({ values }) => values !== 'none')
  const byAction = Map.groupBy(cases, ({ values }) => act(values))
  return [...byAction]
    .map(([action, all]) => {
      const patterns = all.map(({ pattern }) => pattern).join('|')
      return `    ${open(patterns)}) ${action} ;;`
    })
    .join('\n')
}

function valuedFlags(places: readonly Place[], shared: readonly Flag[]): string[] {
  const flags = [...shared, ...places.flatMap((place) => place.flags)]
  return [...new Set(flags.filter(({ values }) => values !== 'none').map(({ text }) => text))]
}

function knownPlaces(places: readonly Place[]): string {
  return places.flatMap(({ at }) => (at === '' ? [] : [quoted(at)])).join('|')
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
