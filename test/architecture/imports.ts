import { posix } from 'node:path'
import { CLI_ROOMS, CLIENT_PACKAGES, OPERATOR_FILES, ROOMS } from './rooms.ts'

/** Sources by their path under src. */
export type Sources = ReadonlyMap<string, string>

interface Import {
  /** As it is written. */
  specifier: string
  isTypeOnly: boolean
}

const STATEMENT =
  /^[ \t]*(?:import|export)\b(?<type>\s+type\b(?!\s*,))?(?<names>[\s\w$*{},]*?\bfrom)?\s*'(?<path>[^']+)'/gm
const CALL = /\bimport\(\s*'(?<path>[^']+)'/g

const MACHINE: readonly [RegExp, string][] = [
  [/\bDate\.now\b/, 'Date.now'],
  [/\bnew Date\(\s*\)/, 'new Date()'],
  [/\bperformance\.now\b/, 'performance.now'],
  [/\bMath\.random\b/, 'Math.random'],
  [/\b(getRandomValues|randomUUID)\b/, 'randomness'],
  [/\bprocess\b\s*[.[]/, 'process'],
  [/\bset(Timeout|Interval|Immediate)\b/, 'a timer'],
]

/** Every breach of the table of rooms, as a sentence that names the file, what it does and the rule. */
export function breaches(sources: Sources): string[] {
  return [...sources].flatMap(([file, source]) => {
    const room = roomOf(file)
    if (room === undefined) return [`src/${file} belongs to no room of the table`]
    return [
      ...importsOf(source).flatMap((one) => breachOf(file, room, one, sources)),
      ...machineReads(file, room, source),
    ]
  })
}

function breachOf(file: string, room: string, one: Import, sources: Sources): string[] {
  const { specifier, isTypeOnly } = one
  const { imports, packages = [], rule } = ROOMS[room] ?? { imports: [], rule: '' }
  const says = (what: string) => [`src/${file} imports ${specifier}, ${what}`]
  if (!specifier.startsWith('.'))
    return packages.some((name) => isOf(name, specifier)) ? [] : says(`but ${rule}`)
  if (specifier.endsWith('.css')) return []
  const target = resolve(file, specifier)
  if (!sources.has(target)) return says('and there is no such file in src')
  const other = roomOf(target)
  if (isTypeOnly || other === undefined || other === room) return []
  if (!imports.includes(other)) return says(`which is in ${other}, but ${rule}`)
  const isClientOnly = room === 'cli' && !OPERATOR_FILES.includes(file)
  return isClientOnly && !CLI_ROOMS.includes(other) ? says(`which is in ${other}, but ${rule}`) : []
}

function machineReads(file: string, room: string, source: string): string[] {
  const { readsMachine, rule } = ROOMS[room] ?? {}
  if (readsMachine === true || readsMachine?.includes(posix.basename(file))) return []
  const code = source
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/'(?:[^'\\\n]|\\.)*'/g, "''")
    .replace(/\/\/.*$/gm, '')
  return MACHINE.filter(([pattern]) => pattern.test(code)).map(
    ([, what]) => `src/${file} reads ${what}, but ${rule}`,
  )
}

/** The first edge that closes a ring of rooms, with a file that draws it; imports of types do not count. */
export function ringEdge(sources: Sources): string | undefined {
  const edges = new Map<string, Map<string, string>>()
  const reaches = (from: string, to: string, seen = new Set<string>()): boolean => {
    if (from === to) return true
    if (seen.has(from)) return false
    seen.add(from)
    return [...(edges.get(from)?.keys() ?? [])].some((next) => reaches(next, to, seen))
  }
  for (const [file, source] of sources)
    for (const { specifier, isTypeOnly } of importsOf(source)) {
      if (isTypeOnly || !specifier.startsWith('.')) continue
      const target = resolve(file, specifier)
      const [room, other] = [roomOf(file), roomOf(target)]
      if (room === undefined || other === undefined || room === other) continue
      if (edges.get(room)?.has(other)) continue
      if (reaches(other, room))
        return `${room} -> ${other} closes a ring: src/${file} imports ${specifier}`
      const known = edges.get(room) ?? new Map<string, string>()
      known.set(other, file)
      edges.set(room, known)
    }
  return undefined
}

/** The first cycle of files, `a.ts -> b.ts -> a.ts`; imports of types count. */
export function cycleIn(sources: Sources): string | undefined {
  const done = new Set<string>()
  const path: string[] = []
  function visit(file: string): string | undefined {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file].join(' -> ')
    if (done.has(file)) return undefined
    path.push(file)
    for (const { specifier } of importsOf(sources.get(file) ?? '')) {
      if (!specifier.startsWith('.')) continue
      const cycle = visit(resolve(file, specifier))
      if (cycle !== undefined) return cycle
    }
    path.pop()
    done.add(file)
    return undefined
  }
  for (const file of sources.keys()) {
    const cycle = visit(file)
    if (cycle !== undefined) return cycle
  }
  return undefined
}

/** Packages beyond `CLIENT_PACKAGES` that a bundle of the SDK would contain, with the file that imports each. */
export function clientBreaches(sources: Sources): string[] {
  const found: string[] = []
  const seen = new Set<string>()
  function visit(file: string): void {
    if (seen.has(file)) return
    seen.add(file)
    for (const { specifier, isTypeOnly } of importsOf(sources.get(file) ?? '')) {
      if (isTypeOnly) continue
      if (specifier.startsWith('.')) visit(resolve(file, specifier))
      else if (!CLIENT_PACKAGES.some((name) => isOf(name, specifier)))
        found.push(`src/${file} brings ${specifier} into the SDK`)
    }
  }
  for (const file of sources.keys()) if (file.startsWith('client/')) visit(file)
  return found
}

/** Exported names that are defined in two files, with both. */
export function namesDefinedTwice(sources: Sources): string[] {
  const files = new Map<string, string[]>()
  for (const [file, source] of sources)
    for (const [, name = ''] of source.matchAll(
      /^export (?:default )?(?:async )?(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm,
    ))
      files.set(name, [...(files.get(name) ?? []), file])
  return [...files]
    .filter(([, all]) => new Set(all).size > 1)
    .map(([name, all]) => `${name}: ${all.join(', ')}`)
}

export function importsOf(source: string): Import[] {
  return [
    ...[...source.matchAll(STATEMENT)].map(({ groups }) => ({
      specifier: groups?.path ?? '',
      isTypeOnly: groups?.type !== undefined || namesTypesOnly(groups?.names ?? ''),
    })),
    ...[...source.matchAll(CALL)].map(({ groups }) => ({
      specifier: groups?.path ?? '',
      isTypeOnly: false,
    })),
  ]
}

/** Whether a list in braces has nothing but `type` members. */
function namesTypesOnly(names: string): boolean {
  const list = /^\s*\{([^}]*)\}\s*from$/.exec(names)?.[1]
  const members = list?.split(',').filter((name) => name.trim() !== '') ?? []
  return members.length > 0 && members.every((name) => name.trim().startsWith('type '))
}

/** The room of a file: its folder, or its own name at the top of src. */
export function roomOf(file: string): string | undefined {
  const [first = '', second] = file.split('/')
  const names = second === undefined ? [first, first.replace(/\.ts$/, '')] : [first]
  return names.find((name) => Object.hasOwn(ROOMS, name))
}

/** The file behind a specifier; `?worker&url` says how the page's builder bundles it. */
function resolve(file: string, specifier: string): string {
  return posix.join(posix.dirname(file), specifier.replace(/\?.*$/, ''))
}

/** `node:` stands for all that begins with it; a package stands for its subpaths too. */
function isOf(name: string, specifier: string): boolean {
  return name.endsWith(':')
    ? specifier.startsWith(name)
    : specifier === name || specifier.startsWith(`${name}/`)
}
