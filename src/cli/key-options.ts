import { InvalidArgumentError } from 'commander'
import type { KeyChange, NewKey } from '../client/index.ts'
import { KEY_TERMS, TERM_NAMES, type TermForm, type TermName } from '../client/terms.ts'
import { type CliCommand, commaList } from './command.ts'

/** The terms of a key as options give them; each was read by the type of its values. */
export type KeyOptions = Partial<Record<TermName, unknown>>

interface OptionType {
  /** The placeholder of its value in the help; a flag has none. */
  value?: string
  /** What ends its help. */
  note?: string
  read(text: string, form: TermForm): unknown
}

/** How the option of a term is declared and read. */
const OPTION_TYPES: Readonly<Record<TermForm['type'], OptionType>> = {
  text: { value: 'text', read: (text) => text },
  list: { value: 'list', note: '; separated by commas', read: readItems },
  ranges: { value: 'list', note: '; separated by commas', read: readItems },
  integer: { value: 'number', read: readWholeNumber },
  time: { value: 'time', read: (text) => text },
  amounts: { value: 'json', read: readJson },
  flag: { read: () => true },
}

/** Adds an option for each term of a key, as `--max-amount-in` for maxAmountIn. */
export function addKeyOptions(command: CliCommand): CliCommand {
  for (const name of TERM_NAMES) {
    const form = KEY_TERMS[name]
    const { value, note = '', read } = OPTION_TYPES[form.type]
    const flags = `--${optionOf(name)}`
    if (value === undefined) command.option(flags, form.description)
    else
      command.option(`${flags} <${value}>`, form.description + note, (text: string) =>
        read(text, form),
      )
  }
  return command
}

/** The terms among the options of a command, and nothing else. */
export function readTerms(options: KeyOptions): Partial<NewKey> {
  const given = TERM_NAMES.filter((name) => options[name] !== undefined)
  return Object.fromEntries(given.map((name) => [name, options[name]]))
}

/** Reads the options whose terms a key loses; the change of each is null. */
export function liftedTerms(value: string): KeyChange {
  const liftable = TERM_NAMES.filter((name) => KEY_TERMS[name].isRequired !== true)
  const lifted = commaList(value).map((option) => {
    const term = liftable.find((name) => optionOf(name) === option)
    if (term !== undefined) return term
    throw new InvalidArgumentError(`It names some of ${liftable.map(optionOf).join(', ')}.`)
  })
  return Object.fromEntries(lifted.map((name) => [name, null]))
}

/** `max-amount-in` for maxAmountIn. */
function optionOf(name: TermName): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function readItems(text: string, form: TermForm): string[] {
  const items = commaList(text)
  const item = 'item' in form ? form.item : undefined
  if (item !== undefined && !items.every((one) => item.pattern.test(one)))
    throw new InvalidArgumentError(`Each ${item.message}.`)
  return items
}

/** A number that is none would become null in JSON, which lifts a limit. */
function readWholeNumber(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError('It is a whole number.')
  return Number(text)
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new InvalidArgumentError('It is JSON.')
  }
}
