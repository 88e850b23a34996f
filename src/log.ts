export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Writes one event. Fields are chosen by the caller one by one: never a request, a row or an error object. */
export type Log = (
  level: Exclude<LogLevel, 'silent'>,
  event: string,
  fields?: Record<string, string | number | boolean | undefined>,
) => void

/**
 * A log that writes one JSON object a line, in printable ASCII: JSON leaves C1 controls, line separators and marks of direction as they
 * are, which steer terminals and viewers.
 */
export function openLog(least: LogLevel, write: (line: string) => void, now: () => number): Log {
  const threshold = LOG_LEVELS.indexOf(least)
  return (level, event, fields) => {
    if (LOG_LEVELS.indexOf(level) < threshold) return
    const line = JSON.stringify({ time: new Date(now()).toISOString(), level, event, ...fields })
    write(line.replace(/[^\x20-\x7e]/g, escapeUnit))
  }
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}
