import { createStore } from '../store/observable.ts'
import { en, type FirstTexts } from './texts/en.ts'
import type { ConnectedTexts } from './texts/en-connected.ts'

export type TextName = keyof FirstTexts | keyof ConnectedTexts

export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const
export type Language = keyof typeof LANGUAGES

/** The first texts are there before the page is; the others come with the views that use them. */
const SOURCES: Readonly<
  Record<Language, { first(): Promise<FirstTexts>; connected(): Promise<ConnectedTexts> }>
> = {
  en: {
    first: async () => en,
    connected: async () => (await import('./texts/en-connected.ts')).enConnected,
  },
  de: {
    first: async () => (await import('./texts/de.ts')).de,
    connected: async () => (await import('./texts/de-connected.ts')).deConnected,
  },
}

const KEPT = 'latchkey.language'

let texts: Partial<Record<string, string>> = en
let needsConnected = false
/** Followed by the whole page: a change renders it anew. */
export const language = createStore<Language>('en')

/** Sets the language that the visitor chose before, or the first of the browser's that there is. */
export async function chooseLanguage(): Promise<void> {
  const wanted = [localStorage.getItem(KEPT), ...navigator.languages].map((tag) => tag?.slice(0, 2))
  await applyLanguage(wanted.find(isLanguage) ?? 'en')
}

export async function keepLanguage(next: Language): Promise<void> {
  localStorage.setItem(KEPT, next)
  await applyLanguage(next)
}

/** Loads the texts of the views that need a wallet, now and for every language that is chosen later. */
export async function loadConnectedTexts(): Promise<void> {
  if (needsConnected) return
  texts = { ...texts, ...(await SOURCES[language.get()].connected()) }
  needsConnected = true
}

async function applyLanguage(next: Language): Promise<void> {
  const { first, connected } = SOURCES[next]
  texts = { ...(await first()), ...(needsConnected && (await connected())) }
  document.documentElement.lang = next
  language.set(next)
}

function isLanguage(tag: string | undefined): tag is Language {
  return tag !== undefined && Object.hasOwn(LANGUAGES, tag)
}

/** The text of a name, with values filled in. Numbers are written as the language writes them. */
export function say(name: TextName, values: Record<string, string | number> = {}): string {
  return sayIfKnown(name, values) ?? ''
}

/** As `say`, for a name that is made of data; undefined where there is no such text. */
export function sayIfKnown(
  name: string,
  values: Record<string, string | number> = {},
): string | undefined {
  const forms = Object.hasOwn(texts, name) ? (texts[name] ?? '').split(' | ') : undefined
  if (forms === undefined) return undefined
  const { n } = values
  const isOne = typeof n === 'number' && new Intl.PluralRules(language.get()).select(n) === 'one'
  const form = (isOne ? forms[0] : forms.at(-1)) ?? ''
  return form.replace(/\{(\w+)\}/g, (_, member: string) => {
    const value = values[member] ?? ''
    return typeof value === 'number' ? new Intl.NumberFormat(language.get()).format(value) : value
  })
}
