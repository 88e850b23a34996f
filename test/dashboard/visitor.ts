import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from '../node/chromium.ts'

export const DESKTOP = { width: 1280, height: 900 }
export const PHONE = { width: 360, height: 740 }

/** What a visitor does: finds things by what is written on them, waits until they are there, and uses them. */
export interface Visitor {
  page: Page
  /** Clicks the button, link, radio button or tab with this name: in the dialog that is open, where one is. */
  press(name: string): Promise<void>
  /** Types into the field with this label. */
  fill(label: string, text: string): Promise<void>
  choose(label: string, option: string): Promise<void>
  tick(label: string): Promise<void>
  /** Waits until the page shows a text. */
  sees(text: string): Promise<void>
  /** Waits until it does not. */
  missesText(text: string): Promise<void>
  go(hash: string): Promise<void>
  text(): Promise<string>
  /** Presses something that saves a file. Resolves with the file. */
  saves(name: string): Promise<SavedFile>
  /** Presses something that asks for a file, and chooses this one. */
  chooses(name: string, path: string): Promise<void>
}

export interface SavedFile {
  name: string
  path: string
  text: string
}

/** The functions that run in the page. The outermost open dialog is all that can be used. */
const HELPERS = `
globalThis.visitor = (() => {
  const root = () => [...document.querySelectorAll('dialog[open]')].at(-1) ?? document
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true })
  const nameOf = (element) =>
    (element.getAttribute('aria-label') ?? element.innerText ?? '').replaceAll(/\\s+/g, ' ').trim()
  const labelled = (label) => {
    const found = [...root().querySelectorAll('label')].find(
      (one) => one.innerText.replaceAll(/\\s+/g, ' ').trim().startsWith(label))
    if (found === undefined) return undefined
    return found.control ?? found.querySelector('input, select')
  }
  const named = (name) => {
    const all = [...root().querySelectorAll('button, a, summary, .segments label')]
    const able = all.filter((one) => isSeen(one) && !one.disabled && one.getAttribute('aria-busy') !== 'true')
    return able.find((one) => nameOf(one) === name) ?? able.find((one) => nameOf(one).startsWith(name))
  }
  return {
    isThere: (name) => named(name) !== undefined,
    press(name) {
      const found = named(name)
      found?.click()
      return found !== undefined
    },
    fill(label, text) {
      const field = labelled(label)
      if (field == null) return false
      field.focus()
      Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value').set.call(field, text)
      field.dispatchEvent(new InputEvent('input', { bubbles: true }))
      field.dispatchEvent(new Event('change', { bubbles: true }))
      field.blur()
      return true
    },
    choose(label, option) {
      const field = labelled(label)
      const found = [...(field?.options ?? [])].find((one) => one.text.startsWith(option))
      return found === undefined ? false : this.fill(label, found.value)
    },
    tick(label) {
      const field = labelled(label)
      if (field == null) return false
      field.click()
      return true
    },
    text: () => root() === document ? document.body.innerText : root().innerText,
  }
})()`

const PATIENCE_MS = 70_000

/** Opens the page for a visitor. */
export async function visit(page: Page, url: string): Promise<Visitor> {
  await page.ask('Page.addScriptToEvaluateOnNewDocument', { source: HELPERS })
  await page.open(url)
  await page.evaluate(HELPERS)
  const quote = (...texts: string[]) => texts.map((text) => JSON.stringify(text)).join(', ')

  async function until(expression: string, what: string): Promise<void> {
    const isTrue = await page.evaluate<boolean>(`new Promise((done) => {
      const end = Date.now() + ${PATIENCE_MS}
      const look = () => (${expression}) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 30)
      look()
    })`)
    if (isTrue) return
    throw new Error(
      `The page never had ${what}. It shows:\n${await page.evaluate<string>('document.body.innerText')}`,
    )
  }

  async function saves(name: string): Promise<SavedFile> {
    const folder = mkdtempSync(join(tmpdir(), 'latchkey-saved-'))
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
    await page.ask('Page.setDownloadBehavior', { behavior: 'allow', downloadPath: folder })
    const saved = new Promise<void>((resolve) =>
      page.on('Page.downloadProgress', ({ state }) => state === 'completed' && resolve()),
    )
    await until(`visitor.press(${quote(name)})`, `something to press: ${name}`)
    await saved
    const file = readdirSync(folder)[0] ?? ''
    const path = join(folder, file)
    return { name: file, path, text: readFileSync(path, 'utf8') }
  }

  async function chooses(name: string, path: string): Promise<void> {
    await page.ask('Page.setInterceptFileChooserDialog', { enabled: true })
    const opened = new Promise<number>((resolve) =>
      page.on('Page.fileChooserOpened', ({ backendNodeId }) => resolve(backendNodeId)),
    )
    await until(`visitor.isThere(${quote(name)})`, `something to press: ${name}`)
    // A browser opens a file chooser for what a person did only.
    const press = { expression: `visitor.press(${quote(name)})`, userGesture: true }
    await page.ask('Runtime.evaluate', press)
    await page.ask('DOM.setFileInputFiles', { files: [path], backendNodeId: await opened })
  }

  return {
    page,
    saves,
    chooses,
    press: (name) => until(`visitor.press(${quote(name)})`, `something to press: ${name}`),
    fill: (label, text) => until(`visitor.fill(${quote(label, text)})`, `a field: ${label}`),
    choose: (label, option) =>
      until(`visitor.choose(${quote(label, option)})`, `an option: ${label}, ${option}`),
    tick: (label) => until(`visitor.tick(${quote(label)})`, `a box: ${label}`),
    sees: (text) => until(`visitor.text().includes(${quote(text)})`, `the text: ${text}`),
    missesText: (text) =>
      until(`!visitor.text().includes(${quote(text)})`, `no more the text: ${text}`),
    go: (hash) => page.evaluate<void>(`void (location.hash = ${quote(hash)})`),
    text: () => page.evaluate<string>('document.body.innerText'),
  }
}

/** Connects with a throw-away wallet, which signs in the page. */
export async function connectThrowaway(visitor: Visitor): Promise<void> {
  await visitor.press('Use a throw-away wallet')
  await visitor.sees('The exact message')
  await visitor.press('Sign')
  await visitor.sees('What your bots may do')
}
