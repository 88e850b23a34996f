import { createStore } from '../store/observable.ts'

export const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

const KEPT = 'latchkey.theme'

export const theme = createStore<Theme>(kept())

/** `system` leaves `color-scheme` to the browser. */
export function applyTheme(): void {
  const chosen = theme.get()
  if (chosen === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = chosen
}

export function keepTheme(next: Theme): void {
  localStorage.setItem(KEPT, next)
  theme.set(next)
  applyTheme()
}

function kept(): Theme {
  const text = localStorage.getItem(KEPT)
  return THEMES.find((one) => one === text) ?? 'system'
}
