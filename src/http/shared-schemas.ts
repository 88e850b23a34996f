type JsonObject = Record<string, unknown>

/** What is shorter is as long as a reference to it. */
const LEAST_LENGTH = 55

/**
 * Moves schemas of properties that are equal in several places into `components`, under the name of their property: the document
 * has each once, and a generator makes one type of it. Where a name stands for several schemas, the most used one gets it.
 */
export function shareSchemas(document: JsonObject, schemas: JsonObject): void {
  const uses = new Map<string, Map<string, JsonObject[]>>()
  visit(document, undefined, (name, schema) => {
    const text = JSON.stringify(schema)
    if (text.length < LEAST_LENGTH) return
    const byText = uses.get(name) ?? new Map<string, JsonObject[]>()
    uses.set(name, byText.set(text, [...(byText.get(text) ?? []), schema]))
  })
  for (const [name, byText] of [...uses].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [most] = [...byText].sort(([, a], [, b]) => b.length - a.length)
    if (most === undefined || most[1].length < 2 || name in schemas) continue
    schemas[name] = JSON.parse(most[0])
    for (const schema of most[1]) replace(schema, { $ref: `#/components/schemas/${name}` })
  }
}

/** Visits the schema of each property, and the alternatives of one that may also be null. */
function visit(
  value: unknown,
  property: string | undefined,
  see: (name: string, schema: JsonObject) => void,
): void {
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (const inner of value) visit(inner, property, see)
    return
  }
  if (property !== undefined && isSchema(value)) see(pascal(property), value as JsonObject)
  for (const [name, inner] of Object.entries(value)) {
    if (name === 'examples' || name === 'example') continue
    if (name === 'properties')
      for (const [member, schema] of Object.entries(inner)) visit(schema, member, see)
    else visit(inner, name === 'anyOf' ? property : undefined, see)
  }
}

function isSchema(value: object): boolean {
  return 'type' in value || 'anyOf' in value
}

function replace(target: JsonObject, by: JsonObject): void {
  for (const name of Object.keys(target)) delete target[name]
  Object.assign(target, by)
}

function pascal(name: string): string {
  return name.replace(/^./, (first) => first.toUpperCase())
}
