import { VERSION } from '../version.ts'
import { latchkeyError } from './errors.ts'

/** As much of the platforms' globals as tells them apart. None of them has a type here: the client compiles on web standards. */
interface Platform {
  document?: unknown
  navigator?: { userAgent?: string }
  Deno?: { version?: { deno?: string } }
  Bun?: { version?: string }
  process?: {
    env?: Record<string, string | undefined>
    versions?: { node?: string }
    platform?: string
    arch?: string
  }
}

const platform = globalThis as unknown as Platform

/** Names the program that uses the client, in its user agent. */
export interface AppInfo {
  name: string
  version?: string
  url?: string
}

/** The runtime as a user agent names it; undefined in browsers and where it is not known. */
function runtimeName(): string | undefined {
  const { document, navigator, Deno, Bun, process } = platform
  if (document !== undefined) return undefined
  if (navigator?.userAgent === 'Cloudflare-Workers') return 'workerd'
  if (Deno?.version?.deno !== undefined) return `deno/${Deno.version.deno}`
  if (Bun?.version !== undefined) return `bun/${Bun.version}`
  const node = process?.versions?.node
  return node === undefined ? undefined : `node/${node} (${process?.platform}; ${process?.arch})`
}

/**
 * Returns the user agent of the client; undefined in browsers, which send their own: a header of a script would need a preflight
 * there. Throws `INVALID_ARGUMENT` for an app that no header can name.
 */
export function userAgent({ name, version, url }: Partial<AppInfo> = {}): string | undefined {
  const runtime = runtimeName()
  if (runtime === undefined) return undefined
  for (const part of [name, version, url])
    if (part !== undefined && !/^[\x21-\x7e]*$/.test(part))
      throw latchkeyError('INVALID_ARGUMENT', 'appInfo is printable ASCII without spaces')
  const app = name && `${name}${version === undefined ? '' : `/${version}`}`
  return [`latchkey-js/${VERSION}`, runtime, app, app && url && `(${url})`]
    .filter(Boolean)
    .join(' ')
}

/** Reads a variable of the environment. Undefined in browsers, also where a bundler imitates `process`, and where Deno forbids it. */
export function environment(name: string): string | undefined {
  if (runtimeName() === undefined) return undefined
  try {
    return platform.process?.env?.[name] || undefined
  } catch {
    return undefined
  }
}
