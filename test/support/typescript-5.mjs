/* Loaded before a generator that builds its output with TypeScript's own API, which TypeScript 7 has no more: it gets TypeScript 5. */
import { registerHooks } from 'node:module'

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'typescript'
      ? next('typescript-5', { ...context, parentURL: import.meta.url })
      : next(specifier, context),
})
