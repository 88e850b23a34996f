import { posix } from 'node:path'
import { PARTS, type Part, ROOMS } from './table.ts'

/** Sources by their path under src. */
export type Sources = ReadonlyMap<string, string>

interface Import {
  /** As it is written. */
  specifier: string
  typeOnly: boolean
}

const STATEMENT =
  /^[ \t]*(?:import|export)\b(?<type>\s+type\b(?!\s*,))?(?:[\s\w$*{},]*?\bfrom)?\s*'(?<path>[^']+)'/gm
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

/** Every breach of the table, as a sentence that names the file, the import and the rule. */
export function breaches(sources: Sources): string[] {
  return [...sources].flatMap(([file, source]) => {
    const part = partOf(file)
    if (part === undefined) return [`src/${file} belongs to no part of the table`]
    return [
      ...importsOf(source).flatMap((one) => breachOf(file, part, one, sources)),
      ...(part.touchesMachine ? [] : machineReads(file, part, source)),
    ]
  })
}

function breachOf(file: string, part: Part, one: Import, sources: Sources): string[] {
  const { specifier, typeOnly } = one
  const says = (what: string) => [`src/${file} imports ${specifier}, ${what}`]
  if (!specifier.startsWith('.'))
    return part.packages?.some((name) => isOf(name, specifier)) ? [] : says(`but ${part.rule}`)

  const target = posix.join(posix.dirname(file), specifier)
  if (!sources.has(target)) return says('and there is no such file in src')
  const other = partOf(target)
  if (other === undefined) return []
  if (!part.imports.includes(other.name) && !(typeOnly && part.types?.includes(other.name)))
    return says(
      part.types?.includes(other.name)
        ? `which is of part ${other.name}, without saying \`import type\`: ${part.rule}`
        : `which is of part ${other.name}, but ${part.rule}`,
    )

  const [room, otherRoom] = [roomOf(file), roomOf(target)]
  if (room === undefined || otherRoom === undefined || room === otherRoom) return []
  if (ROOMS[room]?.includes(otherRoom)) return []
  return says(`but ${room} may know ${ROOMS[room]?.join(', ') || 'no other room'}`)
}

function machineReads(file: string, part: Part, source: string): string[] {
  const code = source
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/'(?:[^'\\\n]|\\.)*'/g, "''")
    .replace(/\/\/.*$/gm, '')
  return MACHINE.filter(([pattern]) => pattern.test(code)).map(
    ([, what]) => `src/${file} reads ${what}, but ${part.rule}`,
  )
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
      const cycle = visit(posix.join(posix.dirname(file), specifier))
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

export function importsOf(source: string): Import[] {
  return [
    ...[...source.matchAll(STATEMENT)].map(({ groups }) => ({
      specifier: groups?.path ?? '',
      typeOnly: groups?.type !== undefined,
    })),
    ...[...source.matchAll(CALL)].map(({ groups }) => ({
      specifier: groups?.path ?? '',
      typeOnly: false,
    })),
  ]
}

export function partOf(file: string): Part | undefined {
  return PARTS.find((part) => part.files.test(file))
}

function roomOf(file: string): string | undefined {
  const room = file.includes('/') ? file.slice(0, file.indexOf('/')) : undefined
  return room !== undefined && room in ROOMS && !file.endsWith('/routes.ts') ? room : undefined
}

/** `node:` stands for all that begins with it; a package stands for its subpaths too. */
function isOf(name: string, specifier: string): boolean {
  return name.endsWith(':')
    ? specifier.startsWith(name)
    : specifier === name || specifier.startsWith(`${name}/`)
}
