import type { AlertAction, Alerts, Heartbeat, Key } from '../client/index.ts'
import { readAmount } from './format.ts'

/** The alerts of a key, in the order of the form. */
export const ALERT_NAMES = [
  'newAddress',
  'newNetwork',
  'errorRate',
  'requestsPerMinute',
  'spendPerHour',
  'expiring',
] as const satisfies readonly (keyof Alerts)[]
export type AlertName = (typeof ALERT_NAMES)[number]

/** What is watched of a key, as the form has it: texts as typed. */
export interface RulesDraft {
  /** What a silence does; empty for nothing. */
  onSilence: '' | Heartbeat['then']
  silence: string
  /** What follows each alert; empty for one that is off. */
  actions: Readonly<Record<AlertName, '' | AlertAction>>
  percent: string
  requests: string
  perMinute: string
  /** What may be spent in an hour, by token, in its own units. */
  spend: Readonly<Record<string, string>>
}

export const NO_RULES: RulesDraft = {
  onSilence: '',
  silence: '60',
  actions: {
    newAddress: '',
    newNetwork: '',
    errorRate: '',
    requestsPerMinute: '',
    spendPerHour: '',
    expiring: '',
  },
  percent: '50',
  requests: '20',
  perMinute: '60',
  spend: {},
}

/** The draft of what is watched of a key. */
export function rulesOfKey(
  { heartbeat, alerts = {} }: Key,
  write: (token: string, amount: string) => string,
): RulesDraft {
  const { errorRate, requestsPerMinute, spendPerHour } = alerts
  const textOf = (value: number | undefined, otherwise: string) =>
    value === undefined ? otherwise : String(value)
  const spend = Object.entries(spendPerHour?.above ?? {})
  return {
    onSilence: heartbeat?.then ?? '',
    silence: textOf(heartbeat?.seconds, NO_RULES.silence),
    actions: Object.fromEntries(
      ALERT_NAMES.map((name) => [name, alerts[name]?.action ?? '']),
    ) as RulesDraft['actions'],
    percent: textOf(errorRate?.percent, NO_RULES.percent),
    requests: textOf(errorRate?.requests, NO_RULES.requests),
    perMinute: textOf(requestsPerMinute?.above, NO_RULES.perMinute),
    spend: Object.fromEntries(spend.map(([token, amount]) => [token, write(token, amount)])),
  }
}

export function readHeartbeat({ onSilence, silence }: RulesDraft): Heartbeat | null {
  return onSilence === '' ? null : { seconds: wholeOf(silence), then: onSilence }
}

/**
 * The alerts of a draft. `daily` are the tokens with an amount of the day, whose spending is known. Numbers that are none are NaN, and an
 * amount that is none is empty: neither has the form of a term.
 */
export function readAlerts(
  { actions, percent, requests, perMinute, spend }: RulesDraft,
  daily: readonly string[],
  decimalsOf: (token: string) => number | undefined,
): Alerts | null {
  const above = daily
    .filter((token) => (spend[token] ?? '').trim() !== '')
    .map((token) => [token, readAmount(spend[token] ?? '', decimalsOf(token) ?? 0) ?? ''])
  const numbers: { [Name in AlertName]: object } = {
    newAddress: {},
    newNetwork: {},
    errorRate: { percent: wholeOf(percent), requests: wholeOf(requests) },
    requestsPerMinute: { above: wholeOf(perMinute) },
    spendPerHour: { above: Object.fromEntries(above) },
    expiring: {},
  }
  const chosen = ALERT_NAMES.filter((name) => actions[name] !== '')
  return chosen.length === 0
    ? null
    : (Object.fromEntries(
        chosen.map((name) => [name, { ...numbers[name], action: actions[name] }]),
      ) as Alerts)
}

function wholeOf(text: string): number {
  return /^\d{1,9}$/.test(text.trim()) ? Number(text) : Number.NaN
}
