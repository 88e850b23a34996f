import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Where a Chromium is installed, if one is. */
export const CHROMIUM = PATHS.find((path) => existsSync(path))

/** A browser that talks to nobody of its own accord, and whose profile goes with it. */
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--window-size=1280,900',
  '--remote-debugging-port=0',
]

// biome-ignore lint/suspicious/noExplicitAny: the protocol's own types are a package of 20,000 lines
type Message = any

export interface Page {
  open(url: string): Promise<void>
  /** Runs an expression in the page; answers its value as JSON carries it. */
  evaluate<T>(expression: string): Promise<T>
  /** Waits until an expression is true. */
  until(expression: string): Promise<void>
  screenshot(): Promise<Uint8Array>
  /** Gives the page a window of a size, with the given colours preferred. */
  show(size: { width: number; height: number }, scheme?: 'light' | 'dark'): Promise<void>
  /** Calls a method of the DevTools protocol. */
  ask(method: string, parameters?: Record<string, unknown>): Promise<Message>
  /** Follows an event of the DevTools protocol. */
  on(event: string, listener: (parameters: Message) => void): void
  /** Every address that the page asked for. */
  requests: string[]
  /** What the console and the browser complained of: errors, blocked resources, failed requests. */
  complaints: string[]
  close(): Promise<void>
}

/** Starts Chromium and drives one page of it over the DevTools protocol. */
export async function openPage(chromium: string): Promise<Page> {
  const profile = await mkdtemp(join(tmpdir(), 'latchkey-chromium-'))
  const child = spawn(chromium, [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const browserUrl = await new Promise<string>((resolve, reject) => {
    createInterface(child.stderr).on('line', (line) => {
      const url = /^DevTools listening on (ws:\S+)/.exec(line)?.[1]
      if (url !== undefined) resolve(url)
    })
    ended.then(() => reject(new Error(`${chromium} ended before it began`)))
  })
  const targets = await fetch(`http://${new URL(browserUrl).host}/json/list`)
  const [target] = (await targets.json()) as { webSocketDebuggerUrl: string }[]
  const devtools = await connect(target?.webSocketDebuggerUrl ?? '')

  const requests: string[] = []
  const complaints: string[] = []
  devtools.on('Network.requestWillBeSent', ({ request }) => requests.push(request.url))
  devtools.on('Network.webSocketCreated', ({ url }) => requests.push(url))
  devtools.on('Network.loadingFailed', ({ errorText, blockedReason }) =>
    complaints.push(`${errorText} ${blockedReason ?? ''}`),
  )
  devtools.on('Log.entryAdded', ({ entry }) => {
    if (entry.level !== 'info' && entry.level !== 'verbose') complaints.push(entry.text)
  })
  devtools.on('Runtime.exceptionThrown', ({ exceptionDetails }) =>
    complaints.push(exceptionDetails.exception?.description ?? exceptionDetails.text),
  )
  devtools.on('Runtime.consoleAPICalled', ({ type, args }) => {
    if (type === 'error' || type === 'warning')
      complaints.push(args.map((one: { value?: unknown }) => String(one.value)).join(' '))
  })
  for (const domain of ['Network', 'Log', 'Runtime', 'Page']) await devtools.ask(`${domain}.enable`)

  const page: Page = {
    requests,
    complaints,
    async open(url) {
      const loaded = devtools.next('Page.loadEventFired')
      await devtools.ask('Page.navigate', { url })
      await loaded
    },
    async evaluate(expression) {
      const { result, exceptionDetails } = await devtools.ask('Runtime.evaluate', {
        expression,
        awaitPromise: true,
        returnByValue: true,
      })
      if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception.description)
      return result.value
    },
    async until(expression) {
      const isTrue = `new Promise((done) => {
        const look = () => ((${expression}) ? done(true) : setTimeout(look, 50))
        look()
      })`
      await page.evaluate(isTrue)
    },
    async screenshot() {
      const { data } = await devtools.ask('Page.captureScreenshot', { captureBeyondViewport: true })
      return Buffer.from(data, 'base64')
    },
    ask: devtools.ask,
    on: devtools.on,
    async show({ width, height }, scheme = 'light') {
      const mobile = width < 640
      await devtools.ask('Emulation.setDeviceMetricsOverride', {
        ...{ width, height, mobile },
        deviceScaleFactor: 1,
      })
      await devtools.ask('Emulation.setEmulatedMedia', {
        features: [{ name: 'prefers-color-scheme', value: scheme }],
      })
    },
    async close() {
      devtools.close()
      child.kill('SIGKILL')
      await ended
      await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
  return page
}

/** The DevTools protocol: questions with numbers, and events. */
async function connect(url: string) {
  const socket = new WebSocket(url)
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = () => reject(new Error(`no DevTools at ${url}`))
  })
  const asked = new Map<number, (answer: Message) => void>()
  const heard = new Map<string, ((parameters: Message) => void)[]>()
  const on = (event: string, listener: (parameters: Message) => void) =>
    void heard.set(event, [...(heard.get(event) ?? []), listener])
  socket.onmessage = ({ data }) => {
    const { id, method, params, ...answer } = JSON.parse(String(data))
    if (id !== undefined) asked.get(id)?.(answer)
    for (const listener of heard.get(method) ?? []) listener(params)
  }
  let last = 0
  return {
    on,
    next: (event: string) => new Promise<void>((resolve) => on(event, () => resolve())),
    async ask(method: string, params: Record<string, unknown> = {}): Promise<Message> {
      const id = ++last
      socket.send(JSON.stringify({ id, method, params }))
      const { result, error } = await new Promise<Message>((resolve) => asked.set(id, resolve))
      if (error !== undefined) throw new Error(`${method}: ${error.message}`)
      return result
    },
    close: () => socket.close(),
  }
}
