import { REFUSALS } from '../errors.ts'
import type { Endpoint } from './endpoint.ts'
import { openApiDocument } from './openapi.ts'

type JsonObject = Record<string, unknown>

interface Operation {
  operationId: string
  summary: string
  description: string
  tags: string[]
  deprecated?: boolean
  parameters?: Parameter[]
  requestBody?: { content: Record<string, { schema: JsonObject }> }
  responses: Record<string, { $ref?: string; description?: string; content?: JsonObject }>
}
interface Parameter {
  $ref?: string
  name: string
  in: string
  required?: boolean
  schema: JsonObject
}
interface Document {
  info: { version: string; description: string }
  tags: { name: string; description: string }[]
  paths: Record<string, Record<string, Operation>>
  components: {
    schemas: Record<string, JsonObject>
    parameters: Record<string, Parameter>
    responses: Record<string, { description: string }>
  }
}

/**
 * The page at /docs: every operation, code and schema of the OpenAPI document as HTML, readable without scripts. The script beside
 * it fills in examples that work, signs them and sends them.
 */
export function referencePage(endpoints: readonly Endpoint[]): string {
  const document = openApiDocument(endpoints) as unknown as Document
  const { info, tags, components } = document
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
  const sections = tags.map(({ name, description }) => {
    const own = operations.filter(({ operation }) => operation.tags.includes(name))
    return `<section><h2 id="${name}">${escapeHtml(name)}</h2><p>${escapeHtml(description)}</p>
${own.map((one) => operationHtml(one, components)).join('\n')}</section>`
  })
  const links = [...tags.map(({ name }) => name), 'errors', 'schemas']
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Latchkey API</title>
<link rel="icon" href="/docs/icon.svg">
<link rel="stylesheet" href="/docs/style.css">
<script type="module" src="/docs/try.js"></script>
</head>
<body>
<header>
<h1>Latchkey API <small>${escapeHtml(info.version)}</small></h1>
<p>${escapeHtml(info.description)} <a href="/openapi.json">OpenAPI 3.1</a></p>
<nav aria-label="Sections">${links.map((name) => `<a href="#${name}">${name}</a>`).join(' ')}</nav>
</header>
<main>
<aside id="credentials" hidden aria-label="Credentials">
<p id="wallet"></p>
<label>API key <input id="api-key" autocomplete="off" spellcheck="false"></label>
<label>Session <input id="session" autocomplete="off" spellcheck="false"></label>
</aside>
${sections.join('\n')}
<section><h2 id="errors">errors</h2>
<p>Every refusal has the form <code>{error, code, details?, timestamp, requestId}</code>; with <code>Accept: application/problem+json</code> also that of RFC 9457.</p>
<div class="wide"><table><thead><tr><th>code</th><th>status</th><th>error</th></tr></thead><tbody>
${errorRows()}
</tbody></table></div></section>
<section><h2 id="schemas">schemas</h2>
${Object.entries(components.schemas)
  .map(
    ([name, schema]) =>
      `<details id="schema-${name}"><summary><code>${escapeHtml(name)}</code></summary>${jsonHtml(schema)}</details>`,
  )
  .join('\n')}
</section>
</main>
</body>
</html>
`
}

function errorRows(): string {
  const byCode = Map.groupBy(Object.values(REFUSALS), ({ code }) => code)
  return [...byCode]
    .sort(([, [a]], [, [b]]) => (a?.status ?? 0) - (b?.status ?? 0))
    .map(
      ([code, those]) =>
        `<tr id="${code}"><td><code>${code}</code></td><td>${those[0]?.status}</td><td>${escapeHtml([...new Set(those.map(({ error }) => error))].join('; '))}</td></tr>`,
    )
    .join('\n')
}

function operationHtml(
  { path, method, operation }: { path: string; method: string; operation: Operation },
  components: Document['components'],
): string {
  const parameters = (operation.parameters ?? []).map((one) => resolved(one, components))
  const schema = operation.requestBody?.content['application/json']?.schema
  const message = messageOf(parameters, schema, components)
  const visible = parameters.filter(
    ({ name }) => !/^X-(Message|Signature|Wallet|Public)/.test(name),
  )
  const plain = message === undefined ? schema : undefined
  return `<details class="operation" id="${operation.operationId}">
<summary><span class="method ${method}">${method.toUpperCase()}</span> <code>${escapeHtml(path)}</code> <span class="summary">${escapeHtml(operation.summary)}${operation.deprecated === true ? ' (deprecated)' : ''}</span></summary>
${operation.description
  .split('\n\n')
  .map((text) => `<p>${escapeHtml(text).replace(/`(\w+)`/g, '<code>$1</code>')}</p>`)
  .join('')}
<form data-method="${method}" data-path="${escapeHtml(path)}">
${visible.map(fieldHtml).join('\n')}
${message === undefined ? '' : textHtml('message', `Message to sign: <a href="#schema-${message}">${message}</a>`, exampleOf(components.schemas[message]))}
${plain === undefined ? '' : textHtml('body', bodyLabel(plain), exampleOf(schemaOf(plain, components)))}
<button type="submit" disabled>${message === undefined ? 'Send' : 'Sign and send'}</button>
<output></output>
</form>
<dl>${Object.entries(operation.responses)
    .map(([status, response]) => responseHtml(status, response, components))
    .join('')}</dl>
</details>`
}

function resolved(parameter: Parameter, { parameters }: Document['components']): Parameter {
  const name = parameter.$ref?.replace('#/components/parameters/', '')
  return name === undefined ? parameter : (parameters[name] ?? parameter)
}

function schemaOf(schema: JsonObject, { schemas }: Document['components']): JsonObject | undefined {
  const name = nameOf(schema)
  return name === undefined ? schema : schemas[name]
}

function nameOf(schema: JsonObject): string | undefined {
  return typeof schema.$ref === 'string'
    ? schema.$ref.replace('#/components/schemas/', '')
    : undefined
}

/** The name of the message that a wallet signs for the operation; undefined where it signs none. */
function messageOf(
  parameters: readonly Parameter[],
  body: JsonObject | undefined,
  components: Document['components'],
): string | undefined {
  const header = parameters.find(({ name }) => name === 'X-Message')?.schema
  const text = JSON.stringify(header ?? (body && schemaOf(body, components)) ?? {})
  const isSigned = header !== undefined || (body && nameOf(body)?.startsWith('signed_') === true)
  return isSigned === true ? /"#\/components\/schemas\/(\w+_message)"/.exec(text)?.[1] : undefined
}

function bodyLabel(schema: JsonObject): string {
  const name = nameOf(schema)
  return name === undefined ? 'Body' : `Body: <a href="#schema-${name}">${name}</a>`
}

function exampleOf(schema: JsonObject | undefined): unknown {
  const [example] = (schema?.examples as unknown[] | undefined) ?? []
  if (example !== undefined) return example
  const required = (schema?.required as string[] | undefined) ?? []
  return Object.fromEntries(required.map((name) => [name, '']))
}

function fieldHtml({ name, in: where, required, schema }: Parameter): string {
  const { description, examples } = schema as { description?: string; examples?: unknown[] }
  const value = String((schema.example as string | undefined) ?? examples?.[0] ?? '')
  const hint = [schemaHint(schema), description].filter(Boolean).join('. ')
  return `<label>${escapeHtml(name)} <small>${where}${required === true ? ', required' : ''}${hint === '' ? '' : `: ${escapeHtml(hint)}`}</small>
<input name="${escapeHtml(name)}" data-in="${where}" value="${escapeHtml(value)}"${required === true ? ' required' : ''} autocomplete="off" spellcheck="false"></label>`
}

function schemaHint({
  type,
  enum: values,
  minimum,
  maximum,
  default: byDefault,
}: JsonObject): string {
  const range = minimum === undefined ? '' : ` ${minimum} to ${maximum}`
  const choice = Array.isArray(values) ? values.join(', ') : `${type ?? ''}${range}`
  return byDefault === undefined ? choice : `${choice}, ${byDefault} by default`
}

function textHtml(name: string, label: string, example: unknown): string {
  const text = JSON.stringify(example, null, 2)
  return `<label>${label}<textarea name="${name}" rows="${text.split('\n').length}" spellcheck="false">${escapeText(text)}</textarea></label>`
}

function responseHtml(
  status: string,
  { $ref, description, content }: Operation['responses'][string],
  { responses }: Document['components'],
): string {
  const name = $ref?.replace('#/components/responses/', '')
  const text = description ?? (name && responses[name]?.description) ?? ''
  const schema = JSON.stringify(content ?? {}).match(/#\/components\/schemas\/(\w+)/)?.[1]
  const codes = escapeHtml(text).replace(
    /\b[A-Z]{2,}(_[A-Z]+)+\b/g,
    (code) => `<a href="#${code}">${code}</a>`,
  )
  return `<dt>${status}</dt><dd>${codes}${schema === undefined ? '' : ` <a href="#schema-${schema}"><code>${schema}</code></a>`}</dd>`
}

/** JSON with links from references to their schemas. */
function jsonHtml(value: unknown): string {
  const text = escapeText(JSON.stringify(value, null, 1))
  const linked = text.replace(/"#\/components\/schemas\/(\w+)"/g, '"<a href="#schema-$1">$1</a>"')
  return `<pre>${linked}</pre>`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character)
}

/** For the content of an element, where a quotation mark needs no escape: JSON has thousands. */
function escapeText(text: string): string {
  return text.replace(/[&<>]/g, (character) => ENTITIES[character] ?? character)
}
