import { InvalidArgumentError, Option } from 'commander'
import type { KeyChange, NewKey, PublicKey } from '../client/index.ts'
import { KEY_TERMS, TERM_NAMES, type TermForm, type TermName } from '../client/terms.ts'
import { type CliCommand, commaList, wholeNumber } from './command.ts'

/** The terms of a key as options give them. */
export type KeyOptions = Omit<Partial<NewKey>, 'expiresAt'> & {
  expiresAt?: string
  publicKey?: PublicKey
}

interface OptionType<Form> {
  /** What stands for the value in help; absent where the option has none. */
  value?: string
  /** What ends the help. */
  note?: string
  read?(value: string, form: Form): unknown
}

/** How the option of a term is shown and read, by the type of its values. */
const OPTION_TYPES: {
  readonly [Type in TermForm['type']]: OptionType<Extract<TermForm, { type: Type }>>
} = {
  text: { value: '<text>' },
  list: { value: '<list>', note: '; separated by commas', read: readItems },
  ranges: { value: '<list>', note: '; separated by commas', read: readItems },
  integer: {
    value: '<number>',
    read: (value, { min = 1, max = 1_000_000 }) => wholeNumber(min, max)(value),
  },
  time: { value: '<time>' },
  amounts: { value: '<json>', read: readObject },
  flag: {},
  publicKey: { value: '<key>', note: '; of it the key in base64url alone', read: readPublicKey },
  record: { value: '<json>', read: readObject },
}

/** Adds an option for each term of a key, as `--max-amount-in <json>` for maxAmountIn. */
export function addKeyOptions(command: CliCommand): CliCommand {
  for (const name of TERM_NAMES) command.addOption(optionOf(name))
  return command
}

function optionOf(name: TermName): Option {
  const term = KEY_TERMS[name]
  const { value, note = '', read } = OPTION_TYPES[term.type] as OptionType<TermForm>
  const flag = `--${kebabCase(name)}`
  const option = new Option(
    value === undefined ? flag : `${flag} ${value}`,
    term.description + note,
  )
  return read === undefined ? option : option.argParser((text) => read(text, term))
}

/** The terms among the options of a command, and nothing else. */
export function readTerms(options: KeyOptions): Partial<NewKey> & { publicKey?: PublicKey } {
  const given = TERM_NAMES.filter((name) => options[name] !== undefined)
  return Object.fromEntries(given.map((name) => [name, options[name]]))
}

const LIFTABLE = TERM_NAMES.filter((name) => KEY_TERMS[name].isRequired !== true)

/** Reads the names of limits that a key loses; the change of each is null. */
export function liftedTerms(value: string): KeyChange {
  const lifted = commaList(value).map((option) => {
    const term = LIFTABLE.find((name) => kebabCase(name) === option)
    if (term !== undefined) return term
    throw new InvalidArgumentError(`It names some of ${LIFTABLE.map(kebabCase).join(', ')}.`)
  })
  return Object.fromEntries(lifted.map((name) => [name, null]))
}

/** `max-amount-in` for maxAmountIn. */
function kebabCase(name: TermName): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function readItems(value: string, { item }: Extract<TermForm, { type: 'list' | 'ranges' }>) {
  const items = commaList(value)
  if (items.every((text) => item.pattern.test(text))) return items
  throw new InvalidArgumentError(`Each ${item.message}.`)
}

function readPublicKey(
  value: string,
  { key: form }: Extract<TermForm, { type: 'publicKey' }>,
): PublicKey {
  if (form.pattern.test(value)) return { alg: 'ed25519', key: value }
  throw new InvalidArgumentError(`It ${form.message}.`)
}

function readObject(value: string): unknown {
  try {
    return JSON.parse(value)
  } catch {
    throw new InvalidArgumentError('It is JSON, as in the help of the option.')
  }
}
