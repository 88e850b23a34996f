import type { Deprecation, Endpoint } from './endpoint.ts'

/** The endpoint with the headers of its deprecation (RFC 9745, RFC 8594) on its responses; one without deprecation unchanged. */
export function announceDeprecation(endpoint: Endpoint): Endpoint {
  const { deprecation, handle } = endpoint
  if (deprecation === undefined) return endpoint
  const headers = headersOf(deprecation)
  return {
    ...endpoint,
    async handle(c) {
      const response = await handle(c)
      for (const [name, value] of Object.entries(headers)) response.headers.set(name, value)
      return response
    },
  }
}

function headersOf({ since, sunset, see }: Deprecation): Record<string, string> {
  return {
    Deprecation: `@${Date.parse(since) / 1000}`,
    ...(sunset !== undefined && { Sunset: new Date(sunset).toUTCString() }),
    Link: `<${see}>; rel="deprecation"`,
  }
}
