import type { ErrorBody } from '../errors.ts'

/** An error response as problem details (RFC 9457): today's members are extension members of it. */
export interface ProblemDetails extends ErrorBody {
  /** A reference to the description of the code. */
  type: string
  title: string
  status: number
  /** What is wrong with this request, where the refusal has a sentence about it. */
  detail?: string
}

const TYPE = 'application/problem+json'

/** Whether an Accept header names problem details, and nothing that also covers JSON with a higher weight. */
export function wantsProblemDetails(accept: string | undefined): boolean {
  if (accept === undefined || !accept.toLowerCase().includes(TYPE)) return false
  const weights = new Map(accept.toLowerCase().split(',').map(weightOf))
  const weight = weights.get(TYPE) ?? 0
  return weight > 0 && weight >= (weights.get('application/json') ?? 0)
}

/** The media type of one part of an Accept header, and its weight (RFC 9110 s12.4.2): 1 unless it says another. */
function weightOf(part: string): [type: string, weight: number] {
  const [type = '', ...parameters] = part.split(';').map((text) => text.trim())
  const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
  return [type, weight === undefined ? 1 : Number(weight) || 0]
}

export function withProblemDetails(body: ErrorBody, status: number): ProblemDetails {
  const detail = sentenceOf(body.details)
  return {
    type: problemType(body.code),
    title: body.error,
    status,
    ...(detail !== undefined && { detail }),
    ...body,
  }
}

/** The page at /docs describes each code there. Relative to the origin: the service does not know what it is called outside. */
export function problemType(code: string): string {
  return `/docs#${code}`
}

function sentenceOf(details: ErrorBody['details']): string | undefined {
  if (typeof details?.problem === 'string') return details.problem
  return typeof details?.reason === 'string' ? details.reason : undefined
}
