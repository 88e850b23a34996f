import type { DetailsOfReason, RefusalReason } from './errors.ts'

/** A value, or a refusal with a stable reason. Refusals are values, never exceptions. */
export type Result<T, R extends string = string> = Ok<T> | Refused<R>

export interface Ok<T> {
  readonly ok: true
  readonly value: T
}

export interface Refused<R extends string = string> {
  readonly ok: false
  readonly reason: R
  readonly details?: Details
}

/** Facts about a refusal for the caller: JSON, sent as `details`. */
export type Details = Readonly<Record<string, unknown>>

type FactsOf<R extends string> = R extends RefusalReason ? DetailsOfReason<R> : Details

export function ok<T>(value: T): Ok<T> {
  return { ok: true, value }
}

/** Refuses with the facts that `RefusalDetails` of src/errors.ts has for the reason; a room's own reasons have any. */
export function refuse<R extends string>(reason: R, details?: FactsOf<R>): Refused<R> {
  return details === undefined ? { ok: false, reason } : { ok: false, reason, details }
}
