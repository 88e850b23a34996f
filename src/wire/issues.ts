import type { z } from 'zod'

export interface Issue {
  /** Where, as `permissions[0]`; empty for the whole. */
  path: string
  message: string
}

/** What is wrong with an input, for its sender. Values are not repeated: they may be secrets. */
export function issuesOf(error: z.ZodError): Issue[] {
  return error.issues.slice(0, 10).map((issue) => ({
    path: issue.path.reduce<string>(
      (path, step) =>
        typeof step === 'number'
          ? `${path}[${step}]`
          : path === ''
            ? String(step)
            : `${path}.${String(step)}`,
      '',
    ),
    message: issue.message,
  }))
}
